"""Activation: the bends between linear maps, and the ways to turn scores into weights."""

from nnvocab.activation._shared import require_finite
from nnvocab.activation.adaptive_softmax import AdaptiveSoftmax, adaptive_log_softmax, adaptive_softmax
from nnvocab.activation.elu import ELU, elu, elu_fused
from nnvocab.activation.entmax import alpha_slope, entmax, entmax15, entmax_bisect
from nnvocab.activation.gated_linear import GatedLinear
from nnvocab.activation.geglu import GEGLU, geglu
from nnvocab.activation.gelu import GELU, gelu, gelu_fused
from nnvocab.activation.glu import GLU, glu, split_halves
from nnvocab.activation.grid_softmax import grid_softmax, grid_softmax_fused
from nnvocab.activation.gumbel_softmax import gumbel_noise, gumbel_softmax
from nnvocab.activation.hardsigmoid import Hardsigmoid, hardsigmoid, hardsigmoid_fused
from nnvocab.activation.hardswish import Hardswish, hardswish, hardswish_fused
from nnvocab.activation.hierarchical_softmax import (
    balanced_tree,
    hierarchical_log_softmax,
    hierarchical_softmax,
    hierarchical_softmax_fused,
    read_tree,
)
from nnvocab.activation.leaky_relu import LeakyReLU, leaky_relu, leaky_relu_fused
from nnvocab.activation.masked_softmax import masked_softmax, masked_softmax_fused
from nnvocab.activation.mish import Mish, mish, mish_fused
from nnvocab.activation.mixture_of_softmaxes import MixtureOfSoftmaxes, mixture_of_log_softmaxes, mixture_of_softmaxes
from nnvocab.activation.prelu import PReLU, prelu, prelu_fused
from nnvocab.activation.reglu import ReGLU, reglu
from nnvocab.activation.relu import ReLU, dead_units, relu, relu_fused, scaled_relu
from nnvocab.activation.selu import SELU, AlphaDropout, alpha_dropout, lecun_normal_, selu, selu_constants, selu_fused
from nnvocab.activation.sigmoid import Sigmoid, sigmoid, sigmoid_fused
from nnvocab.activation.silu import SiLU, silu, silu_fused
from nnvocab.activation.softmax import log_softmax, log_softmax_fused, softmax, softmax_fused
from nnvocab.activation.softmax_layer import SoftmaxLayer
from nnvocab.activation.sparsemax import sparsemax, sparsemax_fused
from nnvocab.activation.swiglu import SwiGLU, gated_hidden_width, swiglu
from nnvocab.activation.tanh import Tanh, tanh, tanh_fused
from nnvocab.activation.temperature_softmax import fit_temperature, temperature_softmax, temperature_softmax_fused

__all__ = [
    "ELU",
    "GEGLU",
    "GELU",
    "GLU",
    "SELU",
    "AdaptiveSoftmax",
    "AlphaDropout",
    "GatedLinear",
    "Hardsigmoid",
    "Hardswish",
    "LeakyReLU",
    "Mish",
    "MixtureOfSoftmaxes",
    "PReLU",
    "ReGLU",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "SoftmaxLayer",
    "SwiGLU",
    "Tanh",
    "adaptive_log_softmax",
    "adaptive_softmax",
    "alpha_dropout",
    "alpha_slope",
    "balanced_tree",
    "dead_units",
    "elu",
    "elu_fused",
    "entmax",
    "entmax15",
    "entmax_bisect",
    "fit_temperature",
    "gated_hidden_width",
    "geglu",
    "gelu",
    "gelu_fused",
    "glu",
    "grid_softmax",
    "grid_softmax_fused",
    "gumbel_noise",
    "gumbel_softmax",
    "hardsigmoid",
    "hardsigmoid_fused",
    "hardswish",
    "hardswish_fused",
    "hierarchical_log_softmax",
    "hierarchical_softmax",
    "hierarchical_softmax_fused",
    "leaky_relu",
    "leaky_relu_fused",
    "lecun_normal_",
    "log_softmax",
    "log_softmax_fused",
    "masked_softmax",
    "masked_softmax_fused",
    "mish",
    "mish_fused",
    "mixture_of_log_softmaxes",
    "mixture_of_softmaxes",
    "prelu",
    "prelu_fused",
    "read_tree",
    "reglu",
    "relu",
    "relu_fused",
    "require_finite",
    "scaled_relu",
    "selu",
    "selu_constants",
    "selu_fused",
    "sigmoid",
    "sigmoid_fused",
    "silu",
    "silu_fused",
    "softmax",
    "softmax_fused",
    "sparsemax",
    "sparsemax_fused",
    "split_halves",
    "swiglu",
    "tanh",
    "tanh_fused",
    "temperature_softmax",
    "temperature_softmax_fused",
]
