"""The exercises of the convolution chapter: each judges an answer and hints at the usual mistakes."""

from nnvocab.convolution.exercises import axes, cheaper, one_kernel, wider_and_back

__all__ = ["axes", "cheaper", "one_kernel", "wider_and_back"]
