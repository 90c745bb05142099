"""Instance normalization: each channel of each sample is centred and scaled over its own positions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.normalization._shared import check_channels, check_width, per_channel, scale_and_shift, widen
from nnvocab.vocabulary import Example, entry


def instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    r"""Centre and scale each channel of each sample over space, as the equation is written.

    .. math::
        y_{b,c,s} = \gamma_c\, \frac{x_{b,c,s} - \mu_{b,c}}{\sqrt{\sigma_{b,c}^2 + \varepsilon}} + \beta_c

    Running averages, if given, follow the mean over the batch of :math:`\mu_{b,c}` and of the unbiased
    :math:`\sigma_{b,c}^2`; they are used instead if ``use_input_stats`` is False.

    Shapes:
        x: (B, C, ...) with at least one axis of positions; the other tensors: (C,). Returns the shape of x.
    """
    check_channels(x)
    wide, axes = widen(x), tuple(range(2, x.dim()))
    if use_input_stats:
        count = x.shape[2:].numel()
        _check_positions(x)
        mean = wide.mean(axes, keepdim=True)  # (B, C, 1, ...)
        variance = (wide - mean).square().mean(axes, keepdim=True)
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean.flatten(1).mean(0).to(running_mean), momentum)
                unbiased = variance.flatten(1).mean(0) * count / (count - 1)
                running_var.lerp_(unbiased.to(running_var), momentum)
    else:
        if running_mean is None or running_var is None:
            raise ValueError("use_input_stats=False needs running_mean and running_var: give both")
        mean, variance = per_channel(widen(running_mean), x), per_channel(widen(running_var), x)
    y = (wide - mean) * (variance + eps).rsqrt()
    return scale_and_shift(y, per_channel(weight, x), per_channel(bias, x)).to(x.dtype)


def instance_norm_fused(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """The same function by torch's kernel."""
    check_channels(x)
    if use_input_stats:
        _check_positions(x)
    return F.instance_norm(x, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def _check_positions(x: Tensor) -> None:
    if x.dim() < 3 or x.shape[2:].numel() < 2:
        raise ValueError(
            f"x has the shape {tuple(x.shape)}: a channel of a sample has one value or none, and no variance; give "
            f"(B, C, ...) with more than one position, or normalize over features with LayerNorm"
        )


@entry(
    name="Instance normalization",
    page="over_which_axes",
    aliases=("InstanceNorm", "IN", "InstanceNorm2d", "contrast normalization"),
    ids=("instance_norm",),
    paper="ulyanov2016instance",
    peer="torch.nn.InstanceNorm2d",
    example=lambda: Example(InstanceNorm(3, affine=True), (torch.randn(2, 3, 4, 5),)),
    related=("Batch normalization", "Group normalization", "Layer normalization"),
)
class InstanceNorm(nn.Module):
    r"""Layer that gives each channel of each sample mean 0 and variance 1 over its positions.

    .. math::
        y_{b,c,s} = \gamma_c\, \frac{x_{b,c,s} - \mu_{b,c}}{\sqrt{\sigma_{b,c}^2 + \varepsilon}} + \beta_c

    Args:
        num_features: channels C.
        eps: :math:`\varepsilon` below the root.
        momentum: the share of the newest batch in the running averages.
        affine: learn a scale :math:`\gamma` and a shift :math:`\beta` for each channel.
        track_running_stats: keep averages in training and use them in evaluation.

    Shapes:
        x: (B, C, T), (B, C, H, W) or (B, C, D, H, W). Returns the same shape.

    Notice:
        Brightness and contrast of every channel of an image are gone from the output: what is left is where things
        are. Without running averages training and evaluation are the same.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if there are no channels, they do not stand on axis 1, or a channel has a single position.

    Source: Ulyanov et al. 2016, section 2.

    >>> InstanceNorm(3)(torch.rand(2, 3, 8, 8)).mean((2, 3)).abs().max().item() < 1e-5
    True
    """

    running_mean: Tensor | None
    running_var: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
    ) -> None:
        super().__init__()
        check_width(num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None
        self.register_buffer("running_mean", torch.zeros(num_features) if track_running_stats else None)
        self.register_buffer("running_var", torch.ones(num_features) if track_running_stats else None)

    def forward(self, x: Tensor) -> Tensor:
        check_channels(x, self.num_features)
        from_input = self.training or self.running_mean is None
        mean, var = self.running_mean, self.running_var
        return instance_norm_fused(x, mean, var, self.weight, self.bias, from_input, self.momentum, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, affine={self.weight is not None}"
