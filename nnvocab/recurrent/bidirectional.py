"""Two recurrent networks over one sequence, one from each end."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.recurrent.rnn import RNN
from nnvocab.vocabulary import Example, entry


def reverse_padded(x: Tensor, lengths: Tensor) -> Tensor:
    r"""Reverse each sequence within its own length; the padding stays where it is.

    .. math::
        \operatorname{rev}(x)_{b,t} = x_{b,\,\ell_b - 1 - t} \;\text{ if } t < \ell_b, \quad x_{b,t} \;\text{ otherwise}

    Shapes:
        x: (B, T, C); lengths: (B,) integers from 1 to T. Returns (B, T, C).

    Raises:
        ValueError: if x has not three axes or no step, or if lengths do not fit.

    >>> reverse_padded(torch.tensor([[[1], [2], [3], [0]]]), torch.tensor([3])).flatten()
    tensor([3, 2, 1, 0])
    """
    check_lengths(x, lengths)
    t = torch.arange(x.shape[1], device=x.device)  # (T,)
    ends = lengths.unsqueeze(1)  # (B, 1)
    source = torch.where(t < ends, ends - 1 - t, t)  # (B, T)
    return x.gather(1, source.unsqueeze(2).expand_as(x))


@entry(
    name="Bidirectional recurrent network",
    aliases=("Bidirectional RNN", "BiRNN", "BiLSTM", "BiGRU", "Bidirectional RNN/LSTM/GRU", "Bidirectional LSTM"),
    page="both_ways",
    ids=("bidirectional_rnn",),
    paper="schuster1997bidirectional",
    peer="torch.nn.LSTM(bidirectional=True)",
    related=(
        "Recurrent neural network",
        "Long short-term memory",
        "Gated recurrent unit",
        "Temporal convolutional network",
    ),
    example=lambda: Example(
        Bidirectional(RNN(3, 4, batch_first=True), RNN(3, 4, batch_first=True)),
        (torch.randn(2, 5, 3), torch.tensor([5, 3])),
    ),
)
class Bidirectional(nn.Module):
    r"""Run one recurrent layer forwards and another backwards, and merge what they say of each step.

    .. math::
        y_t = \big[\overrightarrow{f}(x_0, \dots, x_t),\; \overleftarrow{f}(x_{\ell-1}, \dots, x_t)\big]

    where each arrow is a recurrent layer with its own weights and :math:`\ell` is the length without the padding.

    Args:
        forward_layer: any layer whose first result is the outputs (B, T, H); with ``batch_first=True`` if it has that.
        backward_layer: another one, with its own weights.
        merge: "concat" sets the two outputs side by side; "sum" adds them.

    Shapes:
        x: (B, T, C); lengths: (B,) integers, T for all if None. Returns the outputs (B, T, 2H), or (B, T, H) by sum,
        zero in the padding; and the outputs at the end of each direction's way, merged alike, (B, 2H) or (B, H).

    Notice:
        The backward layer must begin at the last true step. Turning a padded batch around as a whole makes it begin in
        the padding. A bidirectional layer needs the whole sequence: it cannot generate or run on a stream.

    Raises:
        ValueError: if x has not three axes or no step, if lengths do not fit, if merge is unknown, if a layer is not
            batch_first or is the same module twice, or if outputs to be summed differ in width.

    Source: Schuster and Paliwal 1997, section II.

    >>> both = Bidirectional(nn.GRU(3, 4, batch_first=True), nn.GRU(3, 4, batch_first=True))
    >>> y, last = both(torch.zeros(2, 5, 3), torch.tensor([5, 2]))
    >>> y.shape, last.shape
    (torch.Size([2, 5, 8]), torch.Size([2, 8]))
    """

    def __init__(self, forward_layer: nn.Module, backward_layer: nn.Module, *, merge: str = "concat") -> None:
        super().__init__()
        if merge not in ("concat", "sum"):
            raise ValueError(f"merge is {merge!r}, but must be 'concat' or 'sum'")
        if forward_layer is backward_layer:
            raise ValueError("both directions are the same module; make a second one, so that each has its own weights")
        for layer in (forward_layer, backward_layer):
            if not getattr(layer, "batch_first", True):
                raise ValueError("a layer reads (T, B, C); make it with batch_first=True")
        self.forward_layer, self.backward_layer, self.merge = forward_layer, backward_layer, merge

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_lengths(x, None)
        B, T, _ = x.shape
        if lengths is None:
            lengths = torch.full((B,), T, device=x.device)
        backwards = reverse_padded(x, lengths)
        there = self.forward_layer(x)[0]  # (B, T, H)
        turned = self.backward_layer(backwards)[0]  # (B, T, H), time running backwards
        back = reverse_padded(turned, lengths)
        if self.merge == "sum" and there.shape != back.shape:
            raise ValueError(f"outputs of width {there.shape[-1]} and {back.shape[-1]} cannot be summed: use 'concat'")
        true = (torch.arange(T, device=x.device) < lengths.unsqueeze(1)).unsqueeze(2)  # (B, T, 1)
        ends = (lengths - 1).view(B, 1, 1)  # (B, 1, 1)
        last = [v.gather(1, ends.expand(B, 1, v.shape[-1])).squeeze(1) for v in (there, turned)]  # 2 of (B, H)
        if self.merge == "sum":
            return (there + back) * true, last[0] + last[1]
        return torch.cat([there, back], dim=-1) * true, torch.cat(last, dim=-1)


def check_lengths(x: Tensor, lengths: Tensor | None) -> None:
    """Refuse what is no batch of sequences, and lengths that are not from 1 to T, one for each."""
    if x.dim() != 3 or x.shape[1] == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}, but (B, T, C) with at least one step is needed")
    B, T, _ = x.shape
    if lengths is None:
        return
    if lengths.shape != (B,) or lengths.dtype == torch.bool or lengths.is_floating_point():
        raise ValueError(f"lengths has shape {tuple(lengths.shape)} and dtype {lengths.dtype}: give {B} integers")
    if torch.compiler.is_compiling() or _fake(lengths):
        return
    if bool(((lengths < 1) | (lengths > T)).any()):
        raise ValueError(f"lengths are {lengths.tolist()}, but each must be from 1 to T = {T}")


def _fake(tensor: Tensor) -> bool:
    """A tensor without data, as when shapes are traced, has no values to check."""
    from torch._subclasses.fake_tensor import FakeTensor

    return isinstance(tensor, FakeTensor)
