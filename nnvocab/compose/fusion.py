"""Several senses in one input: each branch reads its own part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from nnvocab.compose.branches import Slice
from nnvocab.compose.gate import Gate
from nnvocab.compose.parallel import Parallel
from nnvocab.compose.sequential import Sequential
from nnvocab.compose.shapes import output_shape
from nnvocab.compose.stitch import Stitch
from nnvocab.vocabulary import Example, entry


@entry(
    name="Multi-modal fusion with parallel branches",
    aliases=("image/text/audio fusion", "multimodal fusion"),
    ids=("par_multimodal_fusion",),
    page="agents",
    kind="block",
    paper="ngiam2011multimodal",
    related=("Parallel layer", "Stitched branches", "Multi-agent policy heads"),
    example=lambda: Example(
        multimodal_fusion({"picture": ((1, 2, 2), nn.Flatten()), "sound": ((3,), nn.Linear(3, 2))}),
        (torch.randn(2, 7),),
    ),
)
def multimodal_fusion(
    senses: Mapping[str, tuple[Sequence[int], nn.Module]], *, out_features: int | None = None, gated: bool = False
) -> Parallel:
    r"""Build a parallel layer whose branches read one part of the input each.

    .. math::
        y = [\,f_1(x_{1});\; \dots;\; f_N(x_{N})\,] \quad\text{or}\quad y = \sum_i w_i(x)\, A_i f_i(x_{i})

    where :math:`x_i` is the part of sense i, cut out of the flat input and given its shape, :math:`f_i` its encoder,
    :math:`A_i` a stitch and :math:`w(x)` the weights of a gate that sees all parts.

    Args:
        senses: for each name the shape of its part and its encoder; the parts stand in the input in this order.
        out_features: stitch every branch to this width; needed if ``gated``.
        gated: mix the branches by a gate instead of concatenating them.

    Shapes:
        x: (B, sum of the parts). The layer returns (B, sum of the encoders' widths), or (B, out_features) if gated.

    Notice:
        A parallel layer hands the whole input to every branch; the cut is a layer of its own (:class:`Slice`), first
        in each. Each encoder must return a vector: end it with ``nn.Flatten()``, or take the last step of a sequence.

    Raises:
        ValueError: if there is no sense, an encoder cannot take its part or does not return a vector, or a gate is
            asked for without ``out_features``.

    Source: Ngiam et al. 2011, section 3 (an encoder for each sense, a shared representation behind them).

    >>> layer = multimodal_fusion({
    ...     "image": ((1, 8, 8), nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.Flatten())),
    ...     "sound": ((64,), nn.Linear(64, 32)),
    ... })
    >>> layer.output_shape((128,))
    (288,)
    """
    if not senses:
        raise ValueError("there is no sense: give at least one, as {'image': ((1, 8, 8), encoder)}")
    if gated and out_features is None:
        raise ValueError("a gate adds the branches, so they need one width: give out_features=")
    branches: list[nn.Module] = []
    start, width_of_all = 0, sum(int(torch.Size(shape).numel()) for shape, _ in senses.values())
    for name, (shape, encoder) in senses.items():
        size = int(torch.Size(shape).numel())
        try:
            width = output_shape(encoder, shape)
        except ValueError as error:
            raise ValueError(f"the encoder of {name!r}: {error}") from error
        if len(width) != 1:
            raise ValueError(
                f"the encoder of {name!r} returns samples of shape {width}, but a vector is needed: end it with "
                f"nn.Flatten(), or SequenceBranch for the last step"
            )
        cut = Slice(start, start + size, shape, width=width_of_all)
        like = next(encoder.parameters(), None)
        place = {} if like is None else {"device": like.device, "dtype": like.dtype}
        stitch = [] if out_features is None else [Stitch(width[0], out_features).to(**place)]
        branches.append(Sequential(cut, encoder, *stitch))
        start += size
    if gated:
        return Parallel(branches, "filter", gate=Gate(nn.Linear(start, len(branches), **place)))
    return Parallel(branches)
