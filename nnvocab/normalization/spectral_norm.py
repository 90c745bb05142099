"""Spectral normalization: a weight is divided by its largest singular value."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nnvocab.vocabulary import Example, entry


def _matrix(weight: Tensor, dim: int) -> Tensor:
    if weight.dim() < 2:
        raise ValueError(f"the weight has the shape {tuple(weight.shape)}; singular values need two axes or more")
    if not -weight.dim() <= dim < weight.dim():
        raise ValueError(f"dim is {dim}, but the weight has {weight.dim()} axes; give one of them")
    return weight.movedim(dim, 0).flatten(1)  # (n, everything else)


def spectral_norm(weight: Tensor, dim: int = 0, *, steps: int = 0) -> Tensor:
    r"""Divide a weight by its largest singular value, as the equation is written, by a full decomposition.

    .. math::
        \bar W = W / \sigma(W), \qquad \sigma(W) = \max_{v \ne 0} \frac{\lVert W v \rVert}{\lVert v \rVert}

    Args:
        weight: any tensor of two axes or more, read as the matrix (n, everything else).
        dim: the axis of its n rows.
        steps: ignored: nothing is approximated.

    Shapes:
        weight: any of two axes or more. Returns the same shape; a weight of zeros, which has no such value, becomes NaN.

    Raises:
        ValueError: if the weight has fewer than two axes, or not the axis ``dim``.
    """
    return weight / torch.linalg.matrix_norm(_matrix(weight, dim), 2)


def spectral_norm_power(weight: Tensor, dim: int = 0, *, steps: int = 100) -> Tensor:
    """The same function by power iteration from a fixed start: two products of a matrix and a vector for each step."""
    matrix = _matrix(weight, dim)
    start = torch.ones(len(matrix), dtype=weight.dtype, device=weight.device)
    start = F.normalize(start + torch.linspace(0, 1, len(start), dtype=weight.dtype, device=weight.device), dim=0)
    u, v = power_iteration(matrix, start, steps)
    return weight / torch.dot(u, matrix @ v)


@torch.no_grad()
def power_iteration(matrix: Tensor, u: Tensor, steps: int = 1, *, eps: float = 1e-12) -> tuple[Tensor, Tensor]:
    r"""Turn u and v towards the singular vectors of the largest singular value.

    .. math::
        v \leftarrow \frac{W^\top u}{\lVert W^\top u \rVert}, \qquad u \leftarrow \frac{W v}{\lVert W v \rVert}

    Each step shrinks the part along the other singular vectors by :math:`(\sigma_2 / \sigma_1)^2` or better.

    Args:
        matrix: W.
        u: where to start, of length 1.
        steps: how often both are computed; at least 1.
        eps: the smallest length that is divided by.

    Shapes:
        matrix: (n, m); u: (n,). Returns u (n,) and v (m,).

    Raises:
        ValueError: if ``steps`` is below 1.

    >>> u, v = power_iteration(torch.diag(torch.tensor([3.0, 1.0])), torch.tensor([0.6, 0.8]), steps=20)
    >>> u.round(decimals=3)
    tensor([1., 0.])
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, but at least 1 is needed: v is computed from u")
    for _ in range(steps):
        v = F.normalize(matrix.mT @ u, dim=0, eps=eps)
        u = F.normalize(matrix @ v, dim=0, eps=eps)
    return u, v


@entry(
    name="Spectral normalization",
    page="of_the_weights",
    aliases=("SN", "SpectralNorm"),
    ids=("spectral_norm",),
    paper="miyato2018spectral",
    peer="torch.nn.utils.parametrizations.spectral_norm",
    example=lambda: Example(add_spectral_norm(nn.Linear(4, 3)), (torch.randn(2, 4),)),
    related=("Weight normalization",),
)
class SpectralNorm(nn.Module):
    r"""Parametrization that divides a weight by its largest singular value; ``add_spectral_norm`` puts it on a layer.

    .. math::
        \bar W = \frac{W}{\sigma}, \qquad \sigma = u^\top W v \approx \max_{\lVert x \rVert = 1} \lVert W x \rVert

    u and v are buffers: each forward pass in training turns them a little further towards the true singular vectors.

    Args:
        weight: the weight that will be normalized; u and v are started on it with 15 steps.
        n_power_iterations: steps at each forward pass in training.
        eps: the smallest length that is divided by.
        dim: the axis of the outputs: 0, but 1 for transposed convolutions.

    Shapes:
        weight: any shape of two axes or more. Returns the same shape.

    Notice:
        A linear layer then stretches no difference between two inputs, up to the error of the iteration. For a
        convolution the bound is on the reshaped kernel, which is not the convolution's own norm: see
        ``conv_operator_norm``.

    Raises:
        ValueError: if the weight has fewer than two axes, not the axis ``dim``, or is 0; if ``n_power_iterations`` is
            below 1.

    Source: Miyato et al. 2018, section 2.1 and appendix A.

    >>> layer = add_spectral_norm(nn.Linear(4, 3), n_power_iterations=50)
    >>> _ = layer(torch.zeros(1, 4))
    >>> torch.linalg.matrix_norm(layer.weight, 2).round(decimals=3).item()
    1.0
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, eps: float = 1e-12, dim: int = 0) -> None:
        super().__init__()
        matrix = _matrix(weight.detach(), dim)
        if not weight.is_meta and not bool(weight.detach().any()):
            raise ValueError("the weight is 0 and cannot be divided by its norm; initialize it before normalizing it")
        if n_power_iterations < 1:
            raise ValueError(f"n_power_iterations is {n_power_iterations}, but at least 1 is needed")
        self.n_power_iterations, self.eps, self.dim = n_power_iterations, eps, dim
        u, v = power_iteration(matrix, F.normalize(torch.randn_like(matrix[:, 0]), dim=0), 15, eps=eps)
        self.register_buffer("u", u)
        self.register_buffer("v", v)

    def forward(self, weight: Tensor) -> Tensor:
        matrix = _matrix(weight, self.dim)
        u, v = self.u, self.v
        if self.training:
            u, v = power_iteration(matrix, u, self.n_power_iterations, eps=self.eps)
            with torch.no_grad():
                self.u.copy_(u)
                self.v.copy_(v)
        return weight / torch.dot(u, torch.mv(matrix, v))


def add_spectral_norm(
    layer: nn.Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int = 0
) -> nn.Module:
    """Divide a layer's weight by its largest singular value from now on, in place. Returns the layer.

    >>> sorted(n for n, _ in add_spectral_norm(nn.Linear(2, 2)).named_parameters())
    ['bias', 'parametrizations.weight.original']
    """
    made = SpectralNorm(getattr(layer, name), n_power_iterations, eps, dim)
    parametrize.register_parametrization(layer, name, made)
    return layer


def remove_spectral_norm(layer: nn.Module, name: str = "weight") -> nn.Module:
    """Keep the divided weight as it stands now, in place.

    Raises:
        ValueError: if the layer's weight is not normalized.

    >>> sorted(n for n, _ in remove_spectral_norm(add_spectral_norm(nn.Linear(2, 2))).named_parameters())
    ['bias', 'weight']
    """
    if not parametrize.is_parametrized(layer, name) or not isinstance(layer.parametrizations[name][0], SpectralNorm):
        raise ValueError(
            f"{name!r} of this {type(layer).__name__} has no spectral normalization; add_spectral_norm adds it"
        )
    return parametrize.remove_parametrizations(layer, name, leave_parametrized=True)
