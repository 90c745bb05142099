"""The capsule network: a convolution finds parts, routing by agreement finds the wholes, a decoder draws them again."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.layers.capsules import CapsuleLayer, margin_loss, squash
from nnvocab.vocabulary import Example, entry


class CapsuleOutput(NamedTuple):
    """What the network says of B pictures.

    Fields: ``lengths`` (B, J), how sure it is of each class; ``capsules`` (B, J, D), the pose of each;
    ``reconstruction`` (B, C, height, width), drawn from one capsule; ``couplings`` (B, I, J), from parts to classes.
    """

    lengths: Tensor
    capsules: Tensor
    reconstruction: Tensor
    couplings: Tensor


class CapsuleDecoder(nn.Module):
    """Draw a picture from the capsule of one class, all others set to 0.

    Args:
        num_classes: classes J.
        capsule_dim: width D of a capsule.
        image_shape: channels, height and width of the picture.
        hidden_dim: width of the first hidden layer; the second is twice as wide.

    Shapes:
        capsules: (B, J, D); target: (B,). Returns (B, channels, height, width), between 0 and 1.

    Source: Sabour et al. 2017, figure 2.

    >>> CapsuleDecoder(10, 16, (1, 8, 8))(torch.randn(2, 10, 16), torch.tensor([3, 7])).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self, num_classes: int, capsule_dim: int, image_shape: tuple[int, int, int], *, hidden_dim: int = 64
    ) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        self.layers = nn.Sequential(
            nn.Linear(num_classes * capsule_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, 2 * hidden_dim),
            nn.ReLU(),
            nn.Linear(2 * hidden_dim, math.prod(image_shape)),
            nn.Sigmoid(),
        )

    def forward(self, capsules: Tensor, target: Tensor) -> Tensor:
        chosen = F.one_hot(target, capsules.shape[1]).to(capsules.dtype).unsqueeze(-1)  # (B, J, 1)
        return self.layers((capsules * chosen).flatten(1)).unflatten(1, self.image_shape)


@entry(
    name="Capsule network",
    aliases=("CapsNet", "dynamic routing", "routing by agreement"),
    page="capsules",
    kind="model",
    ids=("capsule_network",),
    paper="sabour2017dynamic",
    evidence="contested",
    example=lambda: Example(
        CapsuleNetwork((1, 6, 6), 3, channels=4, capsule_types=2, primary_dim=4, capsule_dim=5),
        (torch.rand(2, 1, 6, 6),),
    ),
)
class CapsuleNetwork(nn.Module):
    r"""Classifier in which the length of a class's capsule is its probability, and its direction the pose.

    .. math::
        u = \operatorname{squash}(\operatorname{Conv}(\operatorname{ReLU}(\operatorname{Conv}(x)))), \qquad
        v = \operatorname{route}(W u), \qquad p_j = \lVert v_j \rVert

    Args:
        image_shape: channels, height and width of the picture.
        num_classes: classes J.
        channels: feature maps of the first convolution.
        capsule_types: kinds of parts; each is looked for at every place.
        primary_dim: width of a part's capsule.
        capsule_dim: width D of a class's capsule.
        kernel_size: of both convolutions; the second takes every second place.
        num_iterations: rounds of routing.

    Shapes:
        x: (B, channels, height, width); target: (B,). Returns a CapsuleOutput.

    Notice:
        While training, the decoder draws from the capsule of the true class, ``target``; without one from the
        longest. The lengths need not sum to 1: two things may be there at once.

    Raises:
        ValueError: if the picture does not fit, has no three sizes, or is too small for two convolutions.

    Source: Sabour et al. 2017, section 4 (there 28 x 28 pixels, kernels of 9, 256 maps and 32 kinds of width 8).

    >>> network = CapsuleNetwork((1, 8, 8), 10)
    >>> out = network(torch.rand(2, 1, 8, 8))
    >>> out.lengths.shape, out.capsules.shape, out.reconstruction.shape
    (torch.Size([2, 10]), torch.Size([2, 10, 16]), torch.Size([2, 1, 8, 8]))
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        channels: int = 32,
        capsule_types: int = 8,
        primary_dim: int = 8,
        capsule_dim: int = 16,
        kernel_size: int = 3,
        num_iterations: int = 3,
    ) -> None:
        super().__init__()
        if len(image_shape) != 3:
            raise ValueError(f"image_shape is {tuple(image_shape)}, but must be (channels, height, width)")
        self.image_shape, self.primary_dim = tuple(image_shape), primary_dim
        self.places = tuple((side - 2 * (kernel_size - 1) - 1) // 2 + 1 for side in image_shape[1:])
        if min(self.places) < 1:
            raise ValueError(
                f"pictures of {image_shape[1]} x {image_shape[2]} are too small for two convolutions with kernel_size "
                f"{kernel_size}: at least {2 * kernel_size - 1} pixels a side are needed"
            )
        self.first = nn.Conv2d(image_shape[0], channels, kernel_size)
        self.primary = nn.Conv2d(channels, capsule_types * primary_dim, kernel_size, stride=2)
        parts = capsule_types * math.prod(self.places)
        self.classes = CapsuleLayer(parts, num_classes, primary_dim, capsule_dim, num_iterations=num_iterations)
        self.decoder = CapsuleDecoder(num_classes, capsule_dim, image_shape)

    def parts(self, x: Tensor) -> Tensor:
        """Find the capsules of the parts, kind by kind and in each kind row by row: (B, I, primary_dim)."""
        if x.ndim != 4 or tuple(x.shape[1:]) != self.image_shape:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, but needs (batch, {', '.join(map(str, self.image_shape))})"
            )
        maps = self.primary(F.relu(self.first(x)))  # (B, types*primary_dim, height', width')
        u = maps.unflatten(1, (-1, self.primary_dim)).movedim(2, -1)  # (B, types, height', width', primary_dim)
        return squash(u.flatten(1, 3))

    def forward(self, x: Tensor, target: Tensor | None = None) -> CapsuleOutput:
        capsules, couplings = self.classes(self.parts(x), need_couplings=True)
        lengths = (capsules.square().sum(dim=-1) + 1e-12).sqrt()
        drawn = self.decoder(capsules, lengths.argmax(dim=1) if target is None else target)
        return CapsuleOutput(lengths, capsules, drawn, couplings)

    def loss(self, x: Tensor, target: Tensor, *, reconstruction_weight: float = 0.0005) -> Tensor:
        """Sum the margin loss and the squared error of the drawing, summed over its pixels and weighed down.

        Source: Sabour et al. 2017, section 4.1.
        """
        out = self(x, target)
        error = (out.reconstruction - x).square().flatten(1).sum(dim=1).mean()
        return margin_loss(out.lengths, target) + reconstruction_weight * error
