"""What survives the way back: the product of forget gates in an LSTM, of Jacobians in an RNN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.recurrent.stack import check_run
from nnvocab.vocabulary import Example, entry


@entry(
    name="Cell-state gradient highway",
    aliases=("constant error carousel", "Cell-state highway"),
    page="gates",
    kind="concept",
    ids=("loom_cell_highway",),
    paper="hochreiter1997lstm",
    peer="torch.nn.LSTM",
    related=("LSTM", "Forget gate", "Unrolling through time"),
    example=lambda: Example(cell_state_gradient, (torch.rand(2, 5, 3),)),
)
def cell_state_gradient(f: Tensor) -> Tensor:
    r"""Compute what the cell of the last step keeps of each earlier one: the product of the forget gates between.

    .. math::
        \frac{\partial c_T}{\partial c_t}\Big|_{\text{direct}} = \prod_{s=t+1}^{T} f_s

    where the direct path is the one through the cell alone, with the gates held fixed.

    Args:
        f: forget gates of steps 1 to T, as ``lstm_gates`` returns them.

    Shapes:
        f: (B, T, H). Returns (B, T + 1, H): the derivative by c_0, c_1 and so on to c_T; the last is 1.

    Notice:
        No weight matrix and no tanh stands in the product, and it still decays unless f is near 1: 0.5 to the power of
        100 is 8e-31. The total derivative has further paths, through h and the gates, which can also grow.

    Raises:
        ValueError: if f is not (B, T, H) with at least one step.

    Source: Hochreiter and Schmidhuber 1997, section 3.2, where f = 1: the constant error carousel.

    >>> cell_state_gradient(torch.full((1, 2, 1), 0.5)).flatten()
    tensor([0.2500, 0.5000, 1.0000])
    """
    if f.dim() != 3 or f.shape[1] == 0:
        raise ValueError(f"f has shape {tuple(f.shape)}, but (B, T, H) with at least one step is needed")
    products = f.flip(1).cumprod(1).flip(1)  # (B, T, H): at t, f_t f_{t+1} ... f_T
    return torch.cat([products, torch.ones_like(f.narrow(1, 0, 1))], dim=1)


def hidden_state_gradient(h: Tensor, w_hh: Tensor) -> Tensor:
    r"""Compute the Jacobian of an RNN's last state with respect to each earlier one.

    .. math::
        \frac{\partial h_T}{\partial h_t} = \prod_{s=T}^{t+1} \operatorname{diag}(1 - h_s^2)\, W_{hh}

    Args:
        h: states of steps 1 to T of a tanh RNN.
        w_hh: its recurrent weights.

    Shapes:
        h: (B, T, H); w_hh: (H, H). Returns (B, T + 1, H, H): at t the Jacobian with respect to h_t.

    Raises:
        ValueError: if h or w_hh has another shape.

    >>> hidden_state_gradient(torch.zeros(1, 2, 1), torch.tensor([[0.5]])).flatten()
    tensor([0.2500, 0.5000, 1.0000])
    """
    if h.dim() != 3 or w_hh.shape != (h.shape[2], h.shape[2]):
        raise ValueError(
            f"h has shape {tuple(h.shape)} and w_hh {tuple(w_hh.shape)}, but (B, T, H) and (H, H) are needed"
        )
    jacobian = torch.eye(w_hh.shape[0], dtype=h.dtype, device=h.device).expand(h.shape[0], -1, -1)  # (B, H, H)
    found = [jacobian]
    for h_t in h.flip(1).unbind(1):
        jacobian = (jacobian * (1 - h_t**2)[:, None, :]) @ w_hh
        found.append(jacobian)
    return torch.stack(found[::-1], dim=1)


def gradient_over_time(layer: nn.Module, x: Tensor) -> Tensor:
    r"""Measure how strongly the last output depends on the input of every step, by autograd.

    .. math::
        \Big\lVert \frac{\partial\, r^{\top} h_T}{\partial x_t} \Big\rVert_2

    where :math:`r` is a vector of ones: large where the network still feels step t, 0 where it has lost it.

    Args:
        layer: a recurrent layer with ``batch_first=True``; its first result is the outputs.
        x: the batch of sequences.

    Shapes:
        x: (B, T, C). Returns (B, T).

    Raises:
        ValueError: if the layer is not batch_first, since time would then be taken for the batch, or x is not (B, T, C).

    >>> gradient_over_time(nn.RNN(2, 3, batch_first=True), torch.zeros(1, 4, 2)).shape
    torch.Size([1, 4])
    """
    check_run(layer, x, in_pieces=False)
    x = x.detach().requires_grad_()
    y = layer(x)
    y = y[0] if isinstance(y, tuple) else y
    (gradient,) = torch.autograd.grad(y[:, -1].sum(), x)
    return gradient.norm(dim=-1)
