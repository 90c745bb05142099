"""Feature maps of linear attention: what turns a query or a key into numbers whose products stand for the weights."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.attention.qkv import check_at_least


class EluPlusOne(nn.Module):
    r""":math:`\varphi(x) = \operatorname{elu}(x) + 1`: positive, and another kernel than the softmax's.

    Shapes:
        x: (..., D). Returns (..., D).
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x) + 1


class ReluFeatures(nn.Module):
    r""":math:`\varphi(x) = \max(x, 0)`: cheap, and zero for many; a query with no positive feature gets output 0.

    Shapes:
        x: (..., D). Returns (..., D).
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


class LearnedFeatures(nn.Module):
    r""":math:`\varphi(x) = \operatorname{softmax}([Wx; -Wx])`: positive and spiky, with a learned W in each layer.

    Args:
        dim: width D of a head.
        num_features: features F, an even number.

    Shapes:
        x: (..., D). Returns (..., F).

    Source: Zhang et al. 2024, section 4.2.
    """

    def __init__(self, dim: int, num_features: int) -> None:
        super().__init__()
        if num_features < 2 or num_features % 2:
            raise ValueError(f"num_features is {num_features}, but learned features come in pairs: give an even number")
        self.weight = nn.Parameter(torch.eye(num_features // 2, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x @ self.weight.T
        return torch.cat([x, -x], dim=-1).softmax(dim=-1)


class RandomFeatures(nn.Module):
    r"""FAVOR+: positive random features whose products are, on average, the softmax's exponentials.

    .. math::
        \varphi(x) = \frac{1}{\sqrt F}\, e^{\,Wx' - \|x'\|^2 / 2}, \quad x' = x / D^{1/4}, \qquad
        \mathbb{E}[\varphi(q)^{\top} \varphi(k)] = e^{q^{\top} k / \sqrt D}

    Args:
        dim: width D of a head.
        num_features: features F; more are nearer to the softmax.
        generator: draws the directions.

    Shapes:
        x: (..., D). Returns (..., F).

    Notice:
        The rows of W are orthogonal in blocks of D and as long as Gaussian rows, which lowers the variance. They are a
        buffer: drawn once, not learned. For long vectors the exponentials leave the range of floats; ``log`` returns
        the exponents, and who divides one sum of features by another first takes the largest off, as the layer does.

    Source: Choromanski et al. 2021, sections 2.3 and 2.4.
    """

    def __init__(self, dim: int, num_features: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        check_at_least(1, dim=dim, num_features=num_features)
        blocks = []
        for _ in range(-(-num_features // dim)):
            Q, R = torch.linalg.qr(torch.randn(dim, dim, generator=generator))
            blocks.append(Q * R.diagonal().sign())  # signs make the rotation uniform
        lengths = torch.randn(num_features, dim, generator=generator).norm(dim=1, keepdim=True)
        self.register_buffer("weight", torch.cat([Q.T for Q in blocks])[:num_features] * lengths)

    def log(self, x: Tensor) -> Tensor:
        """The logarithms of the features, in float32 at least: (..., D) -> (..., F)."""
        x = x.to(torch.promote_types(x.dtype, torch.float32)) * x.shape[-1] ** -0.25
        log = x @ self.weight.T.to(x.dtype) - x.square().sum(dim=-1, keepdim=True) / 2  # (..., F)
        return log - math.log(self.weight.shape[0]) / 2

    def forward(self, x: Tensor) -> Tensor:
        return self.log(x).exp().to(x.dtype)


KERNELS = ("elu+1", "relu", "learned", "favor")


def features_of(
    feature_map: nn.Module, q: Tensor, k: Tensor, top: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Turn queries and keys into features; from the exponents of random ones the largest are taken off.

    Each feature is divided by its largest value among the keys and, in return, multiplied by it in the queries; then
    each query's features are divided by their largest. All of it cancels in linear attention, and no exponential is
    above 1. If all keys are summed, each sum of features holds a 1, so none is lost. If a query may see only a part of
    them, what that part weighs is lost where a key outside of it would weigh more than e^87 times as much.

    Args:
        feature_map: one of those that ``make_feature_map`` makes.
        q, k: queries and keys.
        top: the largest exponent of each feature among the keys that were read before.

    Shapes:
        q, k: (B, H, T, D); top: (B, H, 1, F). Returns (B, H, T, F) twice, and the largest exponents of all keys so
        far, None for features that are no exponentials.
    """
    if not isinstance(feature_map, RandomFeatures):
        return feature_map(q), feature_map(k), None
    q, k = feature_map.log(q), feature_map.log(k)
    new = k.detach().amax(dim=-2, keepdim=True)
    top = new if top is None else torch.maximum(top, new)
    q = q + top
    return torch.exp(q - q.detach().amax(dim=-1, keepdim=True)), torch.exp(k - top), top


def make_feature_map(kernel_function: str, dim: int, num_features: int | None = None) -> nn.Module:
    """Make a feature map by name.

    Args:
        kernel_function: "elu+1", "relu", "learned" or "favor".
        dim: width D of a head.
        num_features: features of "learned" (2 D if not given) or "favor" (2 D if not given).
    """
    if kernel_function not in KERNELS:
        raise ValueError(f"kernel_function is {kernel_function!r}, but must be one of {', '.join(KERNELS)}")
    if kernel_function in ("elu+1", "relu"):
        if num_features is not None:
            raise ValueError(f"num_features is {num_features}, but {kernel_function} has as many as a head is wide")
        return EluPlusOne() if kernel_function == "elu+1" else ReluFeatures()
    made = LearnedFeatures if kernel_function == "learned" else RandomFeatures
    return made(dim, 2 * dim if num_features is None else num_features)
