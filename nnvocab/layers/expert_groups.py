"""The fast way through stacked experts: a group of rows after the other, with its gradient written out."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


class SwiGLUGroups(torch.autograd.Function):
    """A group of rows after the other through its own expert, so that what lies between is still in the cache.

    Outputs and gradients are written in place, not stacked from parts; of what lies between, only gate and up of each
    row are kept for the way back, and those only if it is ``recorded``.
    """

    @staticmethod
    def forward(
        x: Tensor,
        gate_w: Tensor,
        up_w: Tensor,
        down_w: Tensor,
        gate_b: Tensor | None,
        up_b: Tensor | None,
        down_b: Tensor | None,
        keep: Tensor | None,
        lengths: list[int],
        recorded: bool,
    ) -> tuple[Tensor, Tensor]:
        y = x.new_empty(len(x), down_w.shape[1])
        hidden = x.new_empty(2, len(x) if recorded else max(lengths), 16 * math.ceil(gate_w.shape[1] / 16))
        hidden = hidden.narrow(2, 0, gate_w.shape[1])  # every row begins where a vector does
        start = 0
        for e, length in enumerate(lengths):
            rows, outer = x.narrow(0, start, length), y.narrow(0, start, length)  # (M_e, C)
            gate, up = hidden.narrow(1, start if recorded else 0, length)  # (M_e, F)
            for inner, w, b in ((gate, gate_w, gate_b), (up, up_w, up_b)):
                torch.mm(rows, w.select(0, e).T, out=inner)
                if b is not None:
                    inner.add_(b.select(0, e))
            act = F.silu(gate, inplace=not recorded).mul_(up)
            if keep is not None:
                act.mul_(keep.narrow(0, start, length))
            torch.mm(act, down_w.select(0, e).T, out=outer)
            if down_b is not None:
                outer.add_(down_b.select(0, e))
            start += length
        return y, hidden

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        *given, ctx.lengths, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*given, output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 10
        *given, keep, hidden = ctx.saved_tensors
        x, gate_w, up_w, down_w = given[:4]
        grad = grad.contiguous()
        grads = [
            torch.empty_like(t) if t is not None and wanted else None
            for t, wanted in zip(given, ctx.needs_input_grad, strict=False)
        ]
        start = 0
        for e, length in enumerate(ctx.lengths):
            rows, outer = x.narrow(0, start, length), grad.narrow(0, start, length)
            gate, up = hidden.narrow(1, start, length)
            opened, back = F.silu(gate), outer @ down_w.select(0, e)  # (M_e, F)
            if keep is not None:
                back.mul_(keep.narrow(0, start, length))
            act = opened * up if keep is None else (opened * up).mul_(keep.narrow(0, start, length))
            to_up = opened.mul_(back)  # act is made: what opened the gate is not needed any more
            to_gate = torch.ops.aten.silu_backward(back.mul_(up), gate)
            for g, came_in, w, b in ((to_gate, rows, 1, 4), (to_up, rows, 2, 5), (outer, act, 3, 6)):
                if grads[w] is not None:
                    torch.mm(g.T, came_in, out=grads[w].select(0, e))
                if grads[b] is not None:
                    torch.sum(g, dim=0, out=grads[b].select(0, e))
            if grads[0] is not None:
                part = grads[0].narrow(0, start, length)
                torch.mm(to_gate, gate_w.select(0, e), out=part)
                part.addmm_(to_up, up_w.select(0, e))
            start += length
        return *grads, None, None, None
