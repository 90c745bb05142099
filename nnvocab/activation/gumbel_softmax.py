"""Gumbel-softmax: draw a class at random in a way that a gradient can pass through."""

from __future__ import annotations

import torch
from torch import Tensor

from nnvocab.activation._shared import check_scores, check_temperature
from nnvocab.vocabulary import Example, entry

FRESH = "every call draws fresh noise"


def gumbel_noise(like: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    r"""Draw Gumbel noise :math:`-\log(-\log u)`, as minus the logarithm of an exponential variable.

    Shapes:
        like: any. Returns the same shape, type and device.
    """
    return -torch.empty_like(like, memory_format=torch.contiguous_format).exponential_(generator=generator).log()


@entry(
    name="Gumbel-softmax",
    aliases=("concrete distribution", "SoftmaxGumbel", "Gumbel"),
    page="softmax_family",
    kind="function",
    paper="jang2017categorical",
    peer="torch.nn.functional.gumbel_softmax",
    related=("Temperature softmax", "Softmax"),
    example=lambda: Example(gumbel_softmax, (torch.randn(3, 5),), skip={"gradcheck": FRESH, "batch_of_one": FRESH}),
)
def gumbel_softmax(
    x: Tensor,
    temperature: float | Tensor = 1.0,
    hard: bool = False,
    dim: int = -1,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Add Gumbel noise to the scores, then take the softmax: a soft draw of one class.

    .. math::
        p_i = \frac{e^{(x_i + g_i) / T}}{\sum_j e^{(x_j + g_j) / T}}, \qquad g_i = -\log(-\log u_i),
        \quad u_i \sim \mathcal{U}(0, 1)

    where :math:`T` is the temperature. The largest :math:`x_i + g_i` is at class i with probability softmax(x)_i.

    Args:
        x: scores.
        temperature: T, above 0; the smaller, the nearer to a single class, and the larger the gradients' variance.
        hard: return the one class as zeros and a one, and let the gradient pass as if it were the soft draw
            (straight-through).
        dim: the axis of the classes.
        generator: draws the noise; without it torch's own, seeded by ``torch.manual_seed``.

    Shapes:
        x: any, with at least one score along ``dim``. Returns the same shape.

    Notice:
        Only ``hard`` gives a true draw. Soft draws do not average to softmax(x), and the gradient is that of the soft
        draw: it is biased for the expectation over true draws.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if temperature is a number and not above 0; if axis ``dim`` is missing or empty.

    Source: Jang et al. 2017, sections 2.1 and 2.2 (straight-through); Maddison et al. 2017.

    >>> draw = gumbel_softmax(torch.zeros(2, 4), hard=True, generator=torch.Generator().manual_seed(0))
    >>> draw.sum(-1)
    tensor([1., 1.])
    """
    check_scores(x, dim)
    check_temperature(temperature)
    soft = torch.softmax((x + gumbel_noise(x, generator=generator)) / temperature, dim)
    if not hard:
        return soft
    one = torch.zeros_like(soft).scatter_(dim, soft.argmax(dim, keepdim=True), 1.0)
    return one + (soft - soft.detach())  # the bracket is exactly zero, and carries the gradient
