"""The LSTM from inside: gates and cell state step by step, and where its gradient reaches."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
import traitlets
from torch import Tensor, nn

from nnvocab.style import MAGNITUDE, SIGNED
from nnvocab.widgets.base import Widget

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
MAX_STEPS, MAX_WEIGHTS = 200, 250_000
EXAMPLES = (
    'the "with" statement is used to wrap a block.',
    'if a "name" is not bound, a "nameerror" exception is raised.',
    "the items of a tuple (see below) are objects.",
)


def pack_cell(cell: nn.RNNBase, layer: int = 0, head: nn.Linear | None = None, *, half: bool = False) -> dict[str, Any]:
    """One layer of a recurrent module as the front end reads it: sizes, and all weights as base64 text.

    Args:
        cell: an ``nn.LSTM``, ``nn.GRU`` or ``nn.RNN``.
        layer: which of its layers.
        head: a linear read-out of h to scores of the next token, if there is one.
        half: store float16 instead of float32.
    """
    w, u = (getattr(cell, f"weight_{part}_l{layer}") for part in ("ih", "hh"))
    zeros = w.new_zeros(w.shape[0])
    parts = [w, u, *(getattr(cell, f"bias_{part}_l{layer}") if cell.bias else zeros for part in ("ih", "hh"))]
    if head is not None:
        parts += [head.weight, head.weight.new_zeros(head.out_features) if head.bias is None else head.bias]
    flat = torch.cat([p.detach().flatten().float() for p in parts]).cpu().numpy()
    return {
        "kind": next(kind for kind, family in KINDS.items() if isinstance(cell, family)),
        "hidden": cell.hidden_size,
        "input": w.shape[1],
        "outputs": 0 if head is None else head.out_features,
        "relu": getattr(cell, "nonlinearity", "tanh") == "relu",
        "half": half,
        "data": base64.b64encode(flat.astype("<f2" if half else "<f4").tobytes()).decode(),
    }


def unpack_cell(packed: dict[str, Any]) -> tuple[nn.RNNBase, nn.Linear | None]:
    """The module again, and its read-out, from what ``pack_cell`` made of it."""
    flat = np.frombuffer(base64.b64decode(packed["data"]), "<f2" if packed["half"] else "<f4").astype(np.float32)
    options = {"nonlinearity": "relu" if packed["relu"] else "tanh"} if packed["kind"] == "rnn" else {}
    cell = KINDS[packed["kind"]](packed["input"], packed["hidden"], **options)
    head = nn.Linear(packed["hidden"], packed["outputs"]) if packed["outputs"] else None
    at = 0
    for p in [*cell.parameters(), *(head.parameters() if head else ())]:
        p.data = torch.from_numpy(flat[at : at + p.numel()].copy()).view_as(p)
        at += p.numel()
    return cell, head


def char_models() -> tuple[dict[str, tuple[nn.RNNBase, nn.Linear]], dict[str, Any]]:
    """The shipped character models, each a recurrent layer and its read-out, and the report of their training.

    They read one-hot characters of ``report["vocabulary"]``; ``report["bits"]`` holds what each scores, in bits a
    character, on text that none was trained on.

    >>> models, report = char_models()
    >>> sorted(models), len(report["vocabulary"]) == models["lstm"][0].input_size
    (['gru', 'lstm', 'rnn'], True)
    """
    folder = resources.files("nnvocab") / "weights"
    report = json.loads((folder / "char_recurrent.json").read_text(encoding="utf-8"))
    width, hidden, models = len(report["vocabulary"]), report["settings"]["hidden"], {}
    with resources.as_file(folder / "char_recurrent.npz") as path, np.load(path) as stored:
        for kind, family in KINDS.items():
            cell, head = family(width, hidden, batch_first=True), nn.Linear(hidden, width)
            for part, module in (("cell", cell), ("head", head)):
                values = {name: stored[f"{kind}.{part}.{name}"] for name in module.state_dict()}
                module.load_state_dict({name: torch.from_numpy(v.astype(np.float32)) for name, v in values.items()})
            models[kind] = (cell, head)
    return models, report


def _check_cell(cell: object, kind: str) -> None:
    family, name = KINDS[kind], f"nn.{KINDS[kind].__name__}"
    if not isinstance(cell, family):
        raise TypeError(
            f"{kind} is a {type(cell).__name__}, and LSTMGates takes a torch {name} there. Give LSTMGates(lstm, x) "
            f"an nn.LSTM and its input; a GRU or RNN goes in as gru= or rnn=; LSTMGates() shows the shipped models."
        )
    if cell.bidirectional:
        raise ValueError(
            f"{kind} is bidirectional, and the figure follows one direction through time. Build it with "
            f"bidirectional=False, or copy the forward direction's weights into a one-directional {name}."
        )
    if getattr(cell, "proj_size", 0):
        raise ValueError(
            f"lstm has proj_size={cell.proj_size}: its h is projected, so h = o·tanh(c) does not hold. "
            f"Give an nn.LSTM with proj_size=0."
        )


def _check_input(x: object, width: int) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(f"x is a {type(x).__name__}, and it needs a torch tensor of shape (T, {width}).")
    if x.ndim != 2 or x.shape[1] != width or not len(x):
        raise ValueError(
            f"x has shape {tuple(x.shape)}, and this module needs (T, {width}) with T at least 1: one sequence, no "
            f"batch axis. Of a batch choose one sequence: x[0] with batch_first=True, else x[:, 0]."
        )
    if len(x) > MAX_STEPS:
        raise ValueError(f"x has {len(x)} steps, and at most {MAX_STEPS} are drawn. Give a part: x[:{MAX_STEPS}].")
    if not torch.isfinite(x).all():
        raise ValueError("x holds values that are not finite. Clean it first, for example with x.nan_to_num().")
    return x.detach().float().cpu()


def _below(lstm: nn.LSTM, x: Tensor, layer: int) -> Tensor:
    """What the chosen layer reads: the output of the layers below it, without dropout."""
    for index in range(layer):
        lower, _ = unpack_cell(pack_cell(lstm, index))
        x = lower(x[:, None])[0][:, 0].detach()
    return x


class LSTMGates(Widget):
    """An LSTM's gates, cell state and gradients, step by step.

    Each lane is the cell state of one unit through time; the chosen unit's gates are shown with their arithmetic.
    Below stands how far the gradient of the chosen step reaches back. Without arguments it shows three shipped
    character models, an LSTM, a GRU and a plain RNN of 32 units, which read any text that the reader types.

    Args:
        lstm: any one-directional ``nn.LSTM`` without projection; None for the shipped models.
        x: what it reads, (T, input_size), from zero states.
        tokens: T short labels of the steps; their numbers if None.
        layer: which layer of the LSTM to show; its input is then what the layers below give.
        rnn: an ``nn.RNN`` of one layer that reads the same x, whose gradients stand beside.
        gru: an ``nn.GRU``, likewise.

    Raises:
        TypeError: if a module or x is not of the kind that its argument takes.
        ValueError: if a module is bidirectional, has a projection or is too large to travel with a page, if x or
            tokens do not fit, or if x is given without lstm.

    >>> widget = LSTMGates(nn.LSTM(3, 8), torch.randn(5, 3))
    >>> widget.tokens
    ['0', '1', '2', '3', '4']
    """

    file: ClassVar[str] = "lstm_gates"
    models, examples, notes, x, tokens = (traitlets.List().tag(sync=True) for _ in range(5))
    vocabulary, text = (traitlets.Unicode().tag(sync=True) for _ in range(2))
    step, unit = (traitlets.Int(0).tag(sync=True) for _ in range(2))
    gate = traitlets.Unicode("f").tag(sync=True)
    target = traitlets.Unicode("guess").tag(sync=True)
    ask = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        lstm: nn.LSTM | None = None,
        x: Tensor | None = None,
        tokens: Sequence[str] | None = None,
        *,
        layer: int = 0,
        rnn: nn.RNN | None = None,
        gru: nn.GRU | None = None,
    ) -> None:
        if lstm is None:
            options = {"x": x, "tokens": tokens, "rnn": rnn, "gru": gru, "layer": layer or None}
            if given := [name for name, value in options.items() if value is not None]:
                raise ValueError(
                    f"{', '.join(given)} given without lstm. Give the nn.LSTM too, or nothing at all for the shipped "
                    f"models, which read widget.text."
                )
            super().__init__(**self._shipped())
            return
        _check_cell(lstm, "lstm")
        if not 0 <= layer < lstm.num_layers:
            raise ValueError(f"layer is {layer}, and this LSTM has layers 0 to {lstm.num_layers - 1}.")
        if x is None:
            raise ValueError(f"lstm given without x. Give what it reads too: a tensor of shape (T, {lstm.input_size}).")
        rows = _check_input(x, lstm.input_size)
        others = [(kind, cell) for kind, cell in (("gru", gru), ("rnn", rnn)) if cell is not None]
        for kind, cell in others:
            _check_cell(cell, kind)
            if layer or cell.num_layers != 1 or cell.input_size != lstm.input_size:
                raise ValueError(
                    f"{kind} has {cell.num_layers} layer(s) and input_size {cell.input_size}; beside the LSTM it needs "
                    f"one layer that reads the same x, of width {lstm.input_size}, and layer=0."
                )
        names = [str(t) for t in (range(len(rows)) if tokens is None else tokens)]
        if len(names) != len(rows):
            raise ValueError(f"tokens has {len(names)} labels and x {len(rows)} steps. Give one label a step, or None.")
        packed = [pack_cell(lstm, layer), *(pack_cell(cell) for _, cell in others)]
        weights = sum(len(m["data"]) * 3 // 16 for m in packed)
        if weights > MAX_WEIGHTS:
            raise ValueError(
                f"these modules hold {weights:,} weights, and at most {MAX_WEIGHTS:,} travel with a page. Show a "
                f"smaller module: fewer hidden units, or a narrower input."
            )
        seen = [[float(f"{v:.7g}") for v in row] for row in _below(lstm, rows, layer).tolist()]
        super().__init__(models=packed, x=seen, tokens=names, target="hidden")

    @staticmethod
    def _shipped() -> dict[str, Any]:
        models, report = char_models()
        best = report["inside quotes"]["lstm"]
        note = f"on held-out text it tells inside quotes from outside in {best['auc']:.0%} of pairs of positions."
        return {
            "models": [pack_cell(cell, head=head, half=True) for cell, head in models.values()],
            "vocabulary": report["vocabulary"],
            "examples": list(EXAMPLES),
            "notes": [{"unit": best["unit"], "name": "inside quotes", "text": note}],
            "text": EXAMPLES[0],
            "step": 9,
            "unit": best["unit"],
        }

    def _inputs(self) -> tuple[Tensor, list[str]]:
        if not self.vocabulary:
            return torch.tensor(self.x), list(self.tokens)
        text = "".join(c for c in self.text.lower() if c in self.vocabulary)[:80] or " "
        codes = torch.tensor([self.vocabulary.index(c) for c in text])
        return torch.nn.functional.one_hot(codes, len(self.vocabulary)).float(), list(text)

    def trace(self) -> dict[str, Tensor]:
        """Gates f, i, g, o, cell c and output h of the LSTM at every step, each (T, H)."""
        cell, (x, _) = unpack_cell(self.models[0])[0], self._inputs()
        h = c = x.new_zeros(cell.hidden_size)
        rows = []
        with torch.no_grad():
            for row in x:
                a = cell.weight_ih_l0 @ row + cell.bias_ih_l0 + cell.weight_hh_l0 @ h + cell.bias_hh_l0
                i, f, g, o = a.chunk(4)
                i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
                c = f * c + i * g
                h = o * c.tanh()
                rows.append(torch.stack([f, i, g, o, c, h]))
        return dict(zip("figoch", torch.stack(rows, dim=1), strict=True))

    def gradients(self) -> dict[str, Tensor]:
        """How strongly each input up to the chosen step moves what is asked about, by autograd: (step + 1,) a model."""
        x, _ = self._inputs()
        step = min(max(self.step, 0), len(x) - 1)
        lengths = {}
        for m in self.models[: 1 if self.target == "cell" else None]:
            cell, head = unpack_cell(m)
            seen = x[: step + 1].clone().requires_grad_()
            h, last = cell(seen[:, None])
            if self.target == "cell":
                asked = [last[1][0, 0, min(max(self.unit, 0), cell.hidden_size - 1)]]
            else:
                asked = list(h[-1, 0]) if head is None else [head(h[-1, 0]).log_softmax(-1).max()]
            rows = [torch.autograd.grad(value, seen, retain_graph=True)[0] for value in asked]
            lengths[m["kind"]] = torch.stack(rows).norm(dim=(0, 2))
        return lengths

    def still(self) -> Figure:
        """The text, the cell state of eight units, and where the gradient of the chosen step reaches."""
        from matplotlib import pyplot as plt

        (_, names), c, lengths = self._inputs(), self.trace()["c"], self.gradients()
        T, H = c.shape
        shown = min(8, H)
        base = min(min(max(self.unit, 0), H - 1) // shown * shown, H - shown)
        step = min(max(self.step, 0), T - 1)
        heights = [shown, 1.2 * len(lengths)]
        figure, (top, low) = plt.subplots(
            2, figsize=(7.2, 4.2), height_ratios=heights, sharex=True, layout="constrained"
        )
        lanes = c[:, base : base + shown].T.numpy()
        limit = max(1.0, float(np.abs(lanes).max()))
        image = top.imshow(lanes, cmap=SIGNED, vmin=-limit, vmax=limit, aspect="auto")
        units = [f"unit {base + k}" for k in range(shown)]
        top.set(yticks=range(shown), yticklabels=units, title="Each row is one unit's cell state through time")
        figure.colorbar(image, ax=top, label="cell state c")
        grid = np.full((len(lengths), T), math.nan)
        for row, value in zip(grid, lengths.values(), strict=True):
            row[: step + 1] = 100 * value / value.max().clamp_min(1e-30)
        image = low.imshow(grid, cmap=MAGNITUDE, vmin=0, vmax=100, aspect="auto")
        figure.colorbar(image, ax=low, label="of 100")
        low.set_yticks(range(len(lengths)), [kind.upper() for kind in lengths])
        low.set(xlabel="step", title=f"Where the gradient of step {step + 1} reaches")
        every = range(0, T, 1 if T <= 80 else math.ceil(T / 40))
        low.set_xticks(every, ["␣" if names[t] == " " else names[t][:6] for t in every], fontsize=8)
        for axes in (top, low):
            axes.grid(False)
            axes.axvline(step, color="black", linewidth=1)
        return figure
