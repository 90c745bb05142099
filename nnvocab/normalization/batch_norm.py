"""Batch normalization: each channel is centred and scaled over the batch and all positions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.normalization._shared import check_channels, check_width, per_channel, scale_and_shift, widen
from nnvocab.vocabulary import Example, entry


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    r"""Centre and scale each channel, as the equation is written; in training, move the running averages in place.

    .. math::
        y_{b,c,s} = \gamma_c\, \frac{x_{b,c,s} - \mu_c}{\sqrt{\sigma_c^2 + \varepsilon}} + \beta_c

    In training :math:`\mu_c` and the biased :math:`\sigma_c^2` run over samples b and positions s of this batch; else
    they are the running averages.

    Shapes:
        x: (B, C, ...); the other tensors: (C,). Returns the shape of x.
    """
    check_channels(x)
    wide, axes = widen(x), (0, *range(2, x.dim()))
    if training:
        count = _count(x)
        mean = wide.mean(axes)  # (C,)
        variance = (wide - per_channel(mean, x)).square().mean(axes)  # (C,), biased
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean), momentum)
                unbiased = variance * count / (count - 1)
                running_var.lerp_(unbiased.to(running_var), momentum)
    else:
        if running_mean is None or running_var is None:
            raise ValueError("without training=True, running_mean and running_var are needed: give both")
        mean, variance = widen(running_mean), widen(running_var)
    y = (wide - per_channel(mean, x)) * per_channel((variance + eps).rsqrt(), x)
    return scale_and_shift(y, per_channel(weight, x), per_channel(bias, x)).to(x.dtype)


def batch_norm_fused(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """The same function by torch's kernel."""
    check_channels(x)
    if training:
        _count(x)
    return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)


def _count(x: Tensor) -> int:
    count = x.shape[0] * x.shape[2:].numel()  # values a channel
    if count < 2:
        raise ValueError(
            f"x has the shape {tuple(x.shape)}: {'one value' if count else 'no value'} a channel, which has no variance; "
            f"train with a larger batch, call eval(), or normalize over features with LayerNorm"
        )
    return count


@entry(
    name="Batch normalization",
    page="over_which_axes",
    aliases=("BatchNorm", "BN", "BatchNorm2d", "BatchNorm1d", "BatchNorm3d"),
    ids=("batch_norm",),
    paper="ioffe2015batch",
    peer="torch.nn.BatchNorm2d",
    example=lambda: Example(BatchNorm(3), (torch.randn(4, 3, 5, 2),)),
    related=("Layer normalization", "Instance normalization", "Group normalization", "Why normalization matters"),
)
class BatchNorm(nn.Module):
    r"""Layer that gives each channel mean 0 and variance 1 over the batch and all positions.

    .. math::
        y_{b,c,s} = \gamma_c\, \frac{x_{b,c,s} - \mu_c}{\sqrt{\sigma_c^2 + \varepsilon}} + \beta_c

    In training :math:`\mu_c, \sigma_c^2` are those of the batch, and running averages
    :math:`r \leftarrow (1 - m)\, r + m\, \mu` follow them, with a momentum m, and so for :math:`\sigma^2`; in evaluation
    the averages take their place.

    Args:
        num_features: channels C.
        eps: :math:`\varepsilon` below the root.
        momentum: the share m of the newest batch in the averages; None averages over all batches seen.
        affine: learn a scale :math:`\gamma` and a shift :math:`\beta` for each channel.
        track_running_stats: keep the averages; without them evaluation uses the batch too.

    Shapes:
        x: (B, C), (B, C, T), (B, C, H, W) or (B, C, D, H, W). Returns the same shape.

    Notice:
        One layer for every rank, where torch has three. A sample's output depends on its batch in training, and not in
        evaluation. The averaged variance is the unbiased one, that of the batch is not.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if there are no channels, they do not stand on axis 1, or training meets a single value a channel.

    Source: Ioffe and Szegedy 2015, algorithms 1 and 2, section 3.2 for images.

    >>> BatchNorm(16)(torch.randn(8, 16, 5, 5)).mean().abs().item() < 1e-6
    True
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        check_width(num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None
        kept = track_running_stats
        self.register_buffer("running_mean", torch.zeros(num_features) if kept else None)
        self.register_buffer("running_var", torch.ones(num_features) if kept else None)
        self.register_buffer("num_batches_tracked", torch.tensor(0) if kept else None)

    def forward(self, x: Tensor) -> Tensor:
        check_channels(x, self.num_features)
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the plain mean of all batches: the newest has the share 1 / count
                momentum = 1 / float(self.num_batches_tracked)
        use_batch = self.training or self.running_mean is None
        mean, var = self.running_mean, self.running_var
        return batch_norm_fused(x, mean, var, self.weight, self.bias, use_batch, momentum, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.weight is not None}"
