"""Convolution: a few weights that look at every position the same way."""

from nnvocab.convolution.conv1d import Conv1d, conv1d, conv1d_torch
from nnvocab.convolution.conv2d import Conv2d, conv2d, conv2d_torch
from nnvocab.convolution.conv3d import Conv3d, conv3d, conv3d_torch
from nnvocab.convolution.conv4d import Conv4d, conv4d, conv4d_slices
from nnvocab.convolution.deformable import DeformConv2d, deform_conv2d, deform_conv2d_gather
from nnvocab.convolution.dendrite import DendriteBranches, soma_sum, soma_sum_stacked
from nnvocab.convolution.dendritic_hypergraph import DendriticHypergraph4DConv
from nnvocab.convolution.depthwise import DepthwiseConv2d, depthwise_conv2d, depthwise_conv2d_torch
from nnvocab.convolution.dilated import DilatedConv2d, dilated_conv2d, dilated_conv2d_torch
from nnvocab.convolution.feature_maps import FeatureMapRow, feature_map_report
from nnvocab.convolution.grouped import GroupedConv2d, channel_shuffle, grouped_conv2d, grouped_conv2d_torch
from nnvocab.convolution.hypergraph import (
    Hyperedges,
    HypergraphMessagePassing,
    hyperedges,
    hypergraph_pool,
    hypergraph_pool_sparse,
    hypergraph_spread,
    line_hyperedges,
)
from nnvocab.convolution.kernel import equivariance_gap
from nnvocab.convolution.matrix import convolution_matrix, convolution_matrix_columns
from nnvocab.convolution.octave import OctaveConv2d, octave_conv2d, octave_conv2d_torch, octave_multiply_adds
from nnvocab.convolution.output_size import conv_output_size, conv_transpose_output_size
from nnvocab.convolution.padding import pad, pad_torch
from nnvocab.convolution.pointwise import PointwiseConv2d, pointwise_conv2d, pointwise_conv2d_torch
from nnvocab.convolution.receptive_field import measured_receptive_field, receptive_field
from nnvocab.convolution.separable import DepthwiseSeparableConv2d, separable_conv2d, separable_conv2d_factored
from nnvocab.convolution.stride import window_positions
from nnvocab.convolution.transposed import TransposedConv2d, conv_transpose2d, conv_transpose2d_torch

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "Conv4d",
    "DeformConv2d",
    "DendriteBranches",
    "DendriticHypergraph4DConv",
    "DepthwiseConv2d",
    "DepthwiseSeparableConv2d",
    "DilatedConv2d",
    "FeatureMapRow",
    "GroupedConv2d",
    "Hyperedges",
    "HypergraphMessagePassing",
    "OctaveConv2d",
    "PointwiseConv2d",
    "TransposedConv2d",
    "channel_shuffle",
    "conv1d",
    "conv1d_torch",
    "conv2d",
    "conv2d_torch",
    "conv3d",
    "conv3d_torch",
    "conv4d",
    "conv4d_slices",
    "conv_output_size",
    "conv_transpose2d",
    "conv_transpose2d_torch",
    "conv_transpose_output_size",
    "convolution_matrix",
    "convolution_matrix_columns",
    "deform_conv2d",
    "deform_conv2d_gather",
    "depthwise_conv2d",
    "depthwise_conv2d_torch",
    "dilated_conv2d",
    "dilated_conv2d_torch",
    "equivariance_gap",
    "feature_map_report",
    "grouped_conv2d",
    "grouped_conv2d_torch",
    "hyperedges",
    "hypergraph_pool",
    "hypergraph_pool_sparse",
    "hypergraph_spread",
    "line_hyperedges",
    "measured_receptive_field",
    "octave_conv2d",
    "octave_conv2d_torch",
    "octave_multiply_adds",
    "pad",
    "pad_torch",
    "pointwise_conv2d",
    "pointwise_conv2d_torch",
    "receptive_field",
    "separable_conv2d",
    "separable_conv2d_factored",
    "soma_sum",
    "soma_sum_stacked",
    "window_positions",
]
