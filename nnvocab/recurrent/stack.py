"""What the recurrent layers share: parameters named as torch names them, states, and a stack of layers by a loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layer = Callable[..., tuple[Tensor, tuple[Tensor, ...]]]


def add_weights(
    module: nn.Module,
    gates: int,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    *,
    bias: bool = True,
    bidirectional: bool = False,
    proj_size: int = 0,
) -> None:
    """Give a module the parameters of a stack of recurrent layers, with torch's names, shapes, order and range.

    Every number is drawn uniformly from -1/sqrt(H) to 1/sqrt(H), in torch's order, so the same seed gives the weights
    that ``nn.LSTM`` would have.

    Args:
        module: gets the parameters and ``weight_names``, their names in the order of the fused kernels.
        gates: 1 for an RNN, 3 for a GRU, 4 for an LSTM.
        input_size: width C of the input.
        hidden_size: width H of the state.
        num_layers: layers L in the stack.
        bias: add ``bias_ih`` and ``bias_hh``.
        bidirectional: add a second set of weights that runs backwards.
        proj_size: width of a projected hidden state; 0 for none.

    Raises:
        ValueError: if a size is not positive, or proj_size is not below hidden_size.
    """
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
        if size < 1:
            raise ValueError(f"{name} is {size}, but must be at least 1")
    if not 0 <= proj_size < hidden_size:
        raise ValueError(f"proj_size is {proj_size}, but must be 0 (none) or below hidden_size {hidden_size}")
    out = proj_size or hidden_size
    names = []
    for layer in range(num_layers):
        width = input_size if layer == 0 else out * (2 if bidirectional else 1)
        for back in ("", "_reverse")[: 2 if bidirectional else 1]:
            shapes = {"weight_ih": (gates * hidden_size, width), "weight_hh": (gates * hidden_size, out)}
            if bias:
                shapes |= {"bias_ih": (gates * hidden_size,), "bias_hh": (gates * hidden_size,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for name, shape in shapes.items():
                bound = hidden_size**-0.5
                names.append(f"{name}_l{layer}{back}")
                module.register_parameter(names[-1], nn.Parameter(torch.empty(shape).uniform_(-bound, bound)))
    module.weight_names = names


class FusedStack(nn.Module):
    """A stack that runs on torch's fused kernels: on a GPU its weights lie in one piece, else cuDNN copies them at each call.

    ``mode`` is cuDNN's name of the cell: LSTM, GRU, RNN_TANH or RNN_RELU.
    """

    mode: str

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FusedStack:
        super()._apply(fn, recurse)
        self.flatten_parameters()
        return self

    def flatten_parameters(self) -> None:
        """Lay the weights into one piece of memory, if they are on a GPU; ``.to`` and ``.cuda`` do so by themselves."""
        kept = {name: getattr(self, name) for name in ("mode", "bias", "input_size", "hidden_size", "num_layers")}
        kept |= {"batch_first": self.batch_first, "bidirectional": self.bidirectional}
        kept |= {"proj_size": getattr(self, "proj_size", 0)}
        named = SimpleNamespace(**kept, _flat_weights=weights_of(self), _flat_weights_names=self.weight_names)
        nn.RNNBase.flatten_parameters(named)


def weights_of(module: nn.Module) -> list[Tensor]:
    """The parameters of a stack in the order of the fused kernels."""
    return [getattr(module, name) for name in module.weight_names]


def kernel_mode(module: nn.Module) -> tuple[float, bool]:
    """The dropout and the ``train`` flag that a fused kernel is given.

    cuDNN keeps what the backward pass needs only if it is told to train: in evaluation it is told so too where
    gradients are recorded, without dropout.
    """
    return (module.dropout, True) if module.training else (0.0, torch.is_grad_enabled())


def check_dropout(dropout: float) -> None:
    """Refuse a probability outside 0 to 1."""
    if not 0 <= dropout <= 1:
        raise ValueError(f"dropout is {dropout}, but is a probability: give a number from 0 to 1")


def check_sequence(x: Tensor, input_size: int, batch_first: bool) -> tuple[int, int]:
    """Return (B, T) of a batch of sequences, or say what is wrong with it."""
    shape = "(B, T, C)" if batch_first else "(T, B, C)"
    if x.dim() != 3:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, but {shape} is needed; for one sequence add the axis with "
            f"x.unsqueeze({0 if batch_first else 1})"
        )
    if x.shape[-1] != input_size:
        raise ValueError(f"x has width {x.shape[-1]}, but the layer was made with input_size {input_size}")
    B, T = x.shape[:2] if batch_first else x.shape[1::-1]
    if T == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}: a sequence needs at least one step")
    return B, T


def check_state(state: Tensor, shape: tuple[int, ...], name: str) -> None:
    """Refuse an initial state that does not fit the layer."""
    if tuple(state.shape) != shape:
        raise ValueError(
            f"{name} has shape {tuple(state.shape)}, but {shape} is needed: (layers x directions, batch, width)"
        )


def check_run(layer: nn.Module, x: Tensor, *, in_pieces: bool = True) -> None:
    """Refuse a layer or a batch that cannot be run over (B, T, C), in pieces one after the other if ``in_pieces``."""
    if not getattr(layer, "batch_first", True):
        raise ValueError("the layer reads (T, B, C); make it with batch_first=True")
    if in_pieces and getattr(layer, "bidirectional", False):
        raise ValueError("the layer is bidirectional: its backward half begins at the last step, so make it one-way")
    if x.dim() != 3 or x.shape[1] == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}, but (B, T, C) with at least one step is needed")


def run_stack(
    layer: Layer,
    x: Tensor,
    states: tuple[Tensor, ...],
    weights: Sequence[Tensor],
    *,
    num_layers: int = 1,
    dropout: float = 0.0,
    training: bool = False,
    bidirectional: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Stack a plain layer: each layer reads the outputs of the one below, in both directions if asked.

    Args:
        layer: ``layer(x, *state, *weights) -> (y, last state)``, for one layer in one direction.
        x: the batch of sequences.
        states: initial states, each with one row a layer and direction.
        weights: all weights in the order of ``weights_of``.
        num_layers: layers L in the stack.
        dropout: probability of dropping an output between two layers, if ``training``.
        training: whether to drop at all.
        bidirectional: run a second set of weights backwards and concatenate the outputs.

    Shapes:
        x: (B, T, C); each state: (L x directions, B, width). Returns y (B, T, width x directions) and the last states.
    """
    directions = 2 if bidirectional else 1
    each = len(weights) // (num_layers * directions)
    last = []
    for level in range(num_layers):
        outputs = []
        for back in range(directions):
            row = level * directions + back
            seen = x.flip(1) if back else x
            y, end = layer(seen, *(s[row] for s in states), *weights[row * each : (row + 1) * each])
            outputs.append(y.flip(1) if back else y)
            last.append(end)
        x = torch.cat(outputs, dim=-1)
        if level < num_layers - 1:
            x = F.dropout(x, dropout, training)
    return x, tuple(torch.stack(rows) for rows in zip(*last, strict=True))
