"""The widgets: figures to play with, in a notebook with a kernel and on a page without one."""

from nnvocab.widgets.attention_maps import AttentionMaps
from nnvocab.widgets.base import Widget
from nnvocab.widgets.convolution_strides import ConvolutionStrides
from nnvocab.widgets.lstm_gates import LSTMGates
from nnvocab.widgets.som_training import SOMTraining

__all__ = ["AttentionMaps", "ConvolutionStrides", "LSTMGates", "SOMTraining", "Widget"]
