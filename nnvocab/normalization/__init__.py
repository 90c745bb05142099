"""Normalization: keep the scale of activations and weights in hand."""

from nnvocab.normalization.batch_norm import BatchNorm, batch_norm, batch_norm_fused
from nnvocab.normalization.depth import activation_scales, gradient_scales
from nnvocab.normalization.group_norm import GroupNorm, group_norm, group_norm_fused
from nnvocab.normalization.instance_norm import InstanceNorm, instance_norm, instance_norm_fused
from nnvocab.normalization.layer_norm import LayerNorm, layer_norm, layer_norm_fused
from nnvocab.normalization.lipschitz import conv_operator_norm, lipschitz_bound
from nnvocab.normalization.norm_choice import NORM_CHOICES, NormChoice, published_norm
from nnvocab.normalization.partial_rms_norm import PartialRMSNorm, partial_rms_norm, partial_rms_norm_by_length
from nnvocab.normalization.rms_norm import RMSNorm, rms_norm, rms_norm_fused
from nnvocab.normalization.spectral_norm import (
    SpectralNorm,
    add_spectral_norm,
    power_iteration,
    remove_spectral_norm,
    spectral_norm,
    spectral_norm_power,
)
from nnvocab.normalization.weight_norm import (
    WeightNorm,
    add_weight_norm,
    initialize_from_batch,
    remove_weight_norm,
    weight_norm,
    weight_norm_fused,
)

__all__ = [
    "NORM_CHOICES",
    "BatchNorm",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "NormChoice",
    "PartialRMSNorm",
    "RMSNorm",
    "SpectralNorm",
    "WeightNorm",
    "activation_scales",
    "add_spectral_norm",
    "add_weight_norm",
    "batch_norm",
    "batch_norm_fused",
    "conv_operator_norm",
    "gradient_scales",
    "group_norm",
    "group_norm_fused",
    "initialize_from_batch",
    "instance_norm",
    "instance_norm_fused",
    "layer_norm",
    "layer_norm_fused",
    "lipschitz_bound",
    "partial_rms_norm",
    "partial_rms_norm_by_length",
    "power_iteration",
    "published_norm",
    "remove_spectral_norm",
    "remove_weight_norm",
    "rms_norm",
    "rms_norm_fused",
    "spectral_norm",
    "spectral_norm_power",
    "weight_norm",
    "weight_norm_fused",
]
