"""The selective scan, Mamba's recurrence: one step after the other, as a parallel scan, and in chunks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 32
"""Steps whose states are held at once by ``selective_scan_chunked``: small enough for a processor's cache."""


def selective_scan(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Run the selective recurrence one step after the other, as the equation is written.

    .. math::
        h_t = e^{\Delta_t A} \odot h_{t-1} + \Delta_t x_t B_t^{\top}, \qquad y_t = h_t C_t + D \odot x_t

    where :math:`\Delta_t`, :math:`B_t` and :math:`C_t` come from the input: each step says how long it lasts, what it
    writes and what it reads. :math:`A < 0` is discretized by zero-order hold, :math:`B` by the first order of it.

    Shapes:
        x, delta: (B, T, E); A: (E, N); B, C: (B, T, N); D: (E,); state: (B, E, N), zeros if None.
        Returns y (B, T, E) and the last state (B, E, N).

    Notice:
        The state has E N numbers whatever T is. A step with a large delta forgets the past and takes the present; a
        step with delta near 0 leaves the state as it is.
    """
    h = x.new_zeros(x.shape[0], *A.shape) if state is None else state
    outputs = []
    for t in range(x.shape[1]):
        keep = torch.exp(delta[:, t, :, None] * A)  # (B, E, N)
        h = keep * h + (delta[:, t] * x[:, t])[..., None] * B[:, t, None, :]  # (B, E, 1) * (B, 1, N)
        outputs.append((h * C[:, t, None, :]).sum(-1) + D * x[:, t])  # (B, E)
    return torch.stack(outputs, dim=1), h


def selective_scan_parallel(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Run the same recurrence as an associative scan: about log2 T rounds, each over all positions at once.

    A step is the map :math:`h \mapsto a h + b`. Two steps in a row are again such a map,
    :math:`(a_2, b_2) \circ (a_1, b_1) = (a_2 a_1,\; a_2 b_1 + b_2)`, and this composition is associative. Round
    :math:`i` composes each position with the one :math:`2^i` before it.

    Notice:
        All B T E N states are stored, in every round again for the backward pass. It pays on hardware with thousands
        of idle cores; on a few cores the chunked form does less work.
    """
    a = torch.exp(delta[..., None] * A)  # (B, T, E, N)
    b = (delta * x)[..., None] * B[:, :, None, :]  # (B, T, E, N)
    if state is not None:
        b = torch.cat([b[:, :1] + a[:, :1] * state[:, None], b[:, 1:]], dim=1)
    reach = 1
    while reach < x.shape[1]:
        b = torch.cat([b[:, :reach], b[:, reach:] + a[:, reach:] * b[:, :-reach]], dim=1)
        a = torch.cat([a[:, :reach], a[:, reach:] * a[:, :-reach]], dim=1)
        reach *= 2
    y = torch.einsum("bten,btn->bte", b, C) + D * x
    return y, b[:, -1]


class _ChunkedScan(torch.autograd.Function):
    """Sequential over time with in-place steps; keeps one state a chunk and recomputes the others going back."""

    @staticmethod
    def forward(ctx, x, delta, A, B, C, D, state):  # noqa: ANN001, ANN205
        T = x.shape[1]
        h = x.new_zeros(x.shape[0], *A.shape) if state is None else state.clone()
        outputs = []
        starts = [h]  # the state before each chunk
        keep, hs = _buffers(x, A, 2)
        for s in range(0, T, CHUNK):
            h = _states(x, delta, A, B, h, s, keep, hs).clone()
            n = min(CHUNK, T - s)
            c = C.narrow(1, s, n).transpose(0, 1)  # (n, B, N)
            read = torch.matmul(hs.narrow(0, 0, n), c.unsqueeze(3))  # (n, B, E, N) @ (n, B, N, 1)
            outputs.append(read.squeeze(3).transpose(0, 1))  # (B, n, E)
            starts.append(h)
        y = torch.cat(outputs, dim=1).addcmul_(x, D)
        ctx.save_for_backward(x, delta, A, B, C, D, *starts[:-1])
        ctx.has_state = state is not None
        return y, h

    @staticmethod
    @once_differentiable
    def backward(ctx, gy, gh):  # noqa: ANN001, ANN205
        x, delta, A, B, C, D, *starts = ctx.saved_tensors
        T = x.shape[1]
        gx, gdelta = torch.empty_like(x), torch.empty_like(x)
        gB, gC, gA = torch.empty_like(B), torch.empty_like(C), torch.zeros_like(A)
        g = gh.clone(memory_format=torch.contiguous_format)  # the gradient that reaches h from all later steps
        keep, hs, gs = _buffers(x, A, 3)
        for s, h in zip(reversed(range(0, T, CHUNK)), reversed(starts), strict=True):
            _states(x, delta, A, B, h, s, keep, hs)
            part = slice(s, min(s + CHUNK, T))
            n = part.stop - s
            dt, u, out = (v[:, part].transpose(0, 1) for v in (delta, x, gy))  # (n, B, E)
            b, c = B[:, part].transpose(0, 1), C[:, part].transpose(0, 1)  # (n, B, N)
            torch.mul(out[..., None], c[:, :, None, :], out=gs[:n])  # what y_t sends to h_t
            steps, keeps = gs.unbind(0), keep.unbind(0)
            for t in range(n - 1, -1, -1):
                torch.add(steps[t], g, out=steps[t])
                torch.mul(steps[t], keeps[t], out=g)
            gC[:, part] = (
                torch.matmul(out[:, :, None, :], hs[:n]).squeeze(2).transpose(0, 1)
            )  # (n, B, 1, E) @ (n, B, E, N)
            gB[:, part] = torch.matmul((dt * u)[:, :, None, :], gs[:n]).squeeze(2).transpose(0, 1)
            into = torch.matmul(gs[:n], b[..., None]).squeeze(-1)  # (n, B, E): the gradient of delta x
            gx[:, part] = (into * dt).transpose(0, 1)
            gs[0].mul_(keep[0]).mul_(h)  # from here gs is the gradient of the exponent delta A
            gs[1:n].mul_(keep[1:n]).mul_(hs[: n - 1])
            gA += torch.einsum("tbe,tben->en", dt, gs[:n])
            gdelta[:, part] = (into * u + torch.einsum("tben,en->tbe", gs[:n], A)).transpose(0, 1)
        gD = torch.einsum("bte,bte->e", gy, x)
        return gx.addcmul_(gy, D), gdelta, gA, gB, gC, gD, g if ctx.has_state else None


def _buffers(x: Tensor, A: Tensor, count: int) -> list[Tensor]:
    return [x.new_empty(min(CHUNK, x.shape[1]), x.shape[0], *A.shape) for _ in range(count)]


def _states(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, h: Tensor, s: int, keep: Tensor, hs: Tensor) -> Tensor:
    """Fill ``keep`` with exp(delta A) and ``hs`` with the states of the chunk that begins at s; return the last."""
    n = min(CHUNK, x.shape[1] - s)
    dt, u, b = (v.narrow(1, s, n).transpose(0, 1) for v in (delta, x, B))  # (n, B, E), (n, B, E), (n, B, N)
    keep, hs = keep.narrow(0, 0, n), hs.narrow(0, 0, n)
    torch.mul(dt.unsqueeze(3), A, out=keep).exp_()
    torch.mul((dt * u).unsqueeze(3), b.unsqueeze(2), out=hs)
    for keep_t, h_t in zip(keep.unbind(0), hs.unbind(0), strict=True):
        h = h_t.addcmul_(keep_t, h)
    return h


def selective_scan_chunked(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same function in chunks of time whose states stay in cache: T in-place steps, one stored state a chunk.

    The backward pass is written by hand and recomputes the states of a chunk from the one that was kept, so the
    memory is that of T / 32 states and not of T.
    """
    return _ChunkedScan.apply(x, delta, A, B, C, D, state)
