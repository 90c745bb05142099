"""The widgets: figures to play with, in a notebook with a kernel and on a page without one."""

from nnvocab.widgets.activation_explorer import ActivationExplorer
from nnvocab.widgets.attention_maps import AttentionMaps
from nnvocab.widgets.base import Widget
from nnvocab.widgets.convolution_strides import ConvolutionStrides
from nnvocab.widgets.expert_routing import ExpertRouting
from nnvocab.widgets.lstm_gates import LSTMGates
from nnvocab.widgets.mask_patterns import MaskPatterns
from nnvocab.widgets.normalization_axes import NormalizationAxes
from nnvocab.widgets.parallel_combine import ParallelCombine
from nnvocab.widgets.softmax_family import SoftmaxFamily
from nnvocab.widgets.som_training import SOMTraining

__all__ = [
    "ActivationExplorer",
    "AttentionMaps",
    "ConvolutionStrides",
    "ExpertRouting",
    "LSTMGates",
    "MaskPatterns",
    "NormalizationAxes",
    "ParallelCombine",
    "SOMTraining",
    "SoftmaxFamily",
    "Widget",
]
