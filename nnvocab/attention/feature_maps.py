"""Feature maps of linear attention: what turns a query or a key into numbers whose products stand for the weights."""

from __future__ import annotations

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
        buffer: drawn once, not learned.

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

    def forward(self, x: Tensor) -> Tensor:
        x = x * x.shape[-1] ** -0.25
        log = x @ self.weight.T - x.square().sum(dim=-1, keepdim=True) / 2  # (..., F)
        return log.exp() * self.weight.shape[0] ** -0.5


KERNELS = ("elu+1", "relu", "learned", "favor")


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
