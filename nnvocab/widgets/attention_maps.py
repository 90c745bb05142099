"""Attention maps to follow cell by cell: of a trained transformer, of a reader's module, or of typed Q, K and V."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import traitlets as t
from torch import Tensor, nn

from nnvocab.widgets import _tiny_transformer as tiny
from nnvocab.widgets._attention_capture import TAKES, read_module, read_weights
from nnvocab.widgets._attention_presets import PRESETS
from nnvocab.widgets._tiny_transformer import attend
from nnvocab.widgets.base import Widget

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MASKS = ("full", "causal", "window", "prefix")
LIMIT = 170_000


def visible(mask: str, T: int, S: int, window: int, prefix: int, hidden: tuple = (), extra: int = 0) -> Tensor:
    """Where query t may look, (T, S) of bool. No pattern hides the last ``extra`` columns: a module added them."""
    query, key = torch.arange(T)[:, None], torch.arange(S)
    seen = {
        "full": torch.ones(T, S, dtype=torch.bool),
        "causal": key <= query,
        "window": (key <= query) & (key > query - window),
        "prefix": (key <= query) | (key < prefix),
    }[mask] | (key >= S - extra)
    return seen & torch.tensor([s not in hidden for s in range(S)])


def _pack(arrays: list[np.ndarray]) -> str:
    return base64.b64encode(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).decode()


def _names(tokens: Any, count: int, what: str) -> list[str]:
    if tokens is None:
        return [str(i + 1) for i in range(count)]
    names = list(tokens) if not isinstance(tokens, str) or len(tokens) == count else tokens.split()
    if len(names) != count:
        raise ValueError(f"tokens names {len(names)} {what}, but the weights have {count}; give {count} strings")
    return [str(name) for name in names]


class AttentionMaps(Widget):
    """Every head's attention map, and one cell followed from q·k to the weighted sum of the values.

    Without arguments it shows a transformer that was trained for it, and the reader types the text: 2 layers of
    4 heads, 28,544 weights, over letters. Half of its windows were running text (scikit-learn's descriptions of its
    data sets: 32,330 letters to train on, the last tenth of each file held out), half were random letters, or pieces of
    that text, said again and again. ``assets/training/train_tiny_transformer.py`` trained it with seed 0. It predicts
    the next letter of its training text with 2.02 nats, of held-out text with 2.44, of random letters said a second
    time with 0.29, where guessing has 3.87: it has learnt to copy, and writes no English.

    Args:
        module_or_weights: an ``nn.MultiheadAttention`` or a module that holds some (their Q, K and V are computed from
            their weights and shown), a module whose forward returns (output, weights) or takes ``need_weights``, or the
            weights: a tensor (T, S), (H, T, S) or (L, H, T, S), or a list with one tensor a layer.
        x: the module's input, or a tuple of inputs such as (query, key, value); of a batch the first example is shown.
        tokens: names of the T positions, or a pair of lists where queries and keys differ; a string is its letters or
            words. Without a module: the text that the trained transformer reads.

    Notice:
        A row that may look nowhere has weights 0 and output 0. Where only weights are known, a temperature or a mask is
        still exact: log(weight) is the score up to a constant of the row, which softmax does not see.

    Raises:
        TypeError: for what has no attention weights. ValueError: for weights that are none, or too many to show.
    """

    file = "attention_maps"

    kind = t.Unicode(help="transformer, qkv or weights").tag(sync=True)
    spec = t.Dict().tag(sync=True)
    blob = t.Unicode(help="the numbers, in base64").tag(sync=True)
    presets = t.List(PRESETS).tag(sync=True)
    tab = t.CaselessStrEnum(("given", "own"), "given").tag(sync=True)
    text = t.Unicode("the moon rose. the moon r").tag(sync=True)
    layer = t.Int(0, min=0).tag(sync=True)
    head = t.Int(0, min=0).tag(sync=True)
    row = t.Int(0, min=0).tag(sync=True)
    col = t.Int(0, min=0).tag(sync=True)
    dim = t.Int(0, min=0).tag(sync=True)
    mask = t.CaselessStrEnum(MASKS, "full").tag(sync=True)
    window = t.Int(4, min=1).tag(sync=True)
    prefix = t.Int(4, min=0).tag(sync=True)
    temperature = t.Float(1.0, min=0.01).tag(sync=True)
    hidden = t.List(t.Int(), help="keys that no query may look at").tag(sync=True)
    off = t.List(help="heads whose output is 0: [layer, head] pairs").tag(sync=True)
    words = t.List(t.Unicode(), PRESETS[0]["words"]).tag(sync=True)
    dims = t.List(t.Unicode(), PRESETS[0]["dims"]).tag(sync=True)
    q = t.List(PRESETS[0]["q"]).tag(sync=True)
    k = t.List(PRESETS[0]["k"]).tag(sync=True)
    v = t.List(PRESETS[0]["v"]).tag(sync=True)

    def __init__(self, module_or_weights: Any = None, x: Any = None, tokens: Any = None) -> None:
        if module_or_weights is None:
            state = self._trained(x, tokens)
        elif isinstance(module_or_weights, nn.Module):
            state = self._given(read_module(module_or_weights, x), tokens)
            state["spec"]["name"] = type(module_or_weights).__name__
        elif isinstance(module_or_weights, (Tensor, np.ndarray, list, tuple)):
            if x is not None:
                raise TypeError("x belongs to a module, and weights were given; leave x out: AttentionMaps(weights)")
            state = self._given({"weights": read_weights(module_or_weights)}, tokens)
        else:
            raise TypeError(f"{TAKES}; it was given {type(module_or_weights).__name__}")
        super().__init__(**state)
        self.col = int(self.maps()[self.layer, self.head, self.row].argmax())

    @staticmethod
    def _trained(x: Any, tokens: Any) -> dict[str, Any]:
        if x is not None:
            raise TypeError(
                "x belongs to a module, and none was given; type into the trained transformer with tokens='text'"
            )
        weights, record = tiny.weights(), tiny.record()
        spec = {
            **{"L": record["shape"]["layers"], "H": record["shape"]["heads"], "letters": tiny.LETTERS},
            **{"context": tiny.CONTEXT, "record": record, "layout": [[n, list(w.shape)] for n, w in weights.items()]},
        }
        text = "".join(tokens if tokens is not None else AttentionMaps.text.default_value)
        if not 2 <= len(text) <= tiny.CONTEXT:
            raise ValueError(f"the text has {len(text)} letters; the trained transformer reads 2 to {tiny.CONTEXT}")
        state = {
            "kind": "transformer",
            "spec": spec,
            "blob": _pack(list(weights.values())),
            "text": text,
            "mask": "causal",
        }
        return {**state, "layer": 1, "head": int(np.argmax(record["induction"][1])), "row": len(text) - 1}

    @staticmethod
    def _given(parts: dict[str, Any], tokens: Any) -> dict[str, Any]:
        kind = "qkv" if "q" in parts else "weights"
        L, H, T, _ = (parts["q"] if kind == "qkv" else parts["weights"]).shape
        S, extra = (parts["k"].shape[2] if kind == "qkv" else parts["weights"].shape[3]), parts.get("extra", 0)
        pair = isinstance(tokens, (tuple, list)) and len(tokens) == 2 and not any(isinstance(n, str) for n in tokens)
        queries, keys = tokens if pair else (tokens, tokens if T == S - extra else None)
        spec = {
            **{"L": L, "H": H, "T": T, "S": S, "D": parts["q"].shape[3] if kind == "qkv" else 0, "extra": extra},
            **{"queries": _names(queries, T, "queries"), "bias": kind == "qkv" and bool((parts["bias"] != 0).any())},
            "keys": _names(keys, S - extra, "keys") + [f"+{i + 1}" for i in range(extra)],
        }
        order = ["q", "k", "v"] + ["bias"] * spec["bias"] if kind == "qkv" else ["weights"]
        blob = _pack([parts[n].numpy().astype("<f4") for n in order])
        if len(blob) > LIMIT or max(T, S) > 96:
            raise ValueError(
                f"{L} layers x {H} heads x {T} queries x {S} keys make {len(blob) // 1000} kB; a page takes "
                f"{LIMIT // 1000} kB and 96 positions. Give fewer positions, "
                "or some of the layers or heads, such as weights[:2]"
            )
        return {"kind": kind, "spec": spec, "blob": blob, "row": T - 1}

    @t.validate("q", "k", "v")
    def _grid(self, proposal: dict) -> list:
        value = [[float(x) for x in row] for row in proposal["value"]]
        if not value or not value[0] or len({len(row) for row in value}) > 1:
            raise ValueError(
                f"{proposal['trait'].name} needs rows of equal length, one a word; it was given {proposal['value']}"
            )
        return value

    def _stored(self) -> dict[str, Tensor]:
        spec, at, parts = self.spec, 0, {}
        numbers = torch.from_numpy(np.frombuffer(base64.b64decode(self.blob), "<f4").copy())
        L, H, T, S, D = (spec[n] for n in "LHTSD")
        sizes = {"q": (L, H, T, D), "k": (L, H, S, D), "v": (L, H, S, D)} | (
            {"bias": (L, H, T, S)} if spec["bias"] else {}
        )
        for name, shape in ({"weights": (L, H, T, S)} if self.kind == "weights" else sizes).items():
            parts[name] = numbers[at : at + math.prod(shape)].view(shape)
            at += math.prod(shape)
        return parts

    def maps(self) -> Tensor:
        """The weights of all heads in the present state, (L, H, T, S); of "own" Q, K and V (1, 1, T, S)."""

        def seen(T: int, S: int, extra: int = 0) -> Tensor:
            return visible(self.mask, T, S, self.window, self.prefix, tuple(self.hidden), extra)

        if self.tab == "own":
            q, k, v = (torch.tensor(x, dtype=torch.float32) for x in (self.q, self.k, self.v))
            return attend(q, k, v, seen(len(q), len(k)), self.temperature)[1][None, None]
        if self.kind == "transformer":
            ids = torch.tensor([tiny.encode(self.text)])
            allowed = seen(ids.shape[1], ids.shape[1])
            layers = tiny.tiny_transformer()(ids, allowed, self.temperature, [tuple(p) for p in self.off])[1]
            return torch.cat([parts[3] for parts in layers]).detach()
        parts, spec = self._stored(), self.spec
        if self.kind == "weights":
            scores = parts["weights"].log() / self.temperature
        else:
            scores = parts["q"] @ parts["k"].transpose(-2, -1) / spec["D"] ** 0.5 + parts.get("bias", 0.0)
            scores = scores / self.temperature
        scores = scores.masked_fill(~seen(spec["T"], spec["S"], spec["extra"]), float("-inf"))
        return scores.softmax(dim=-1).nan_to_num(0.0)

    def still(self) -> Figure:
        """All heads small, the chosen one large."""
        from matplotlib import pyplot as plt

        from nnvocab.style import MAGNITUDE

        maps = self.maps()
        maps = maps.masked_fill(maps == 0, float("nan"))  # what is masked stays blank
        L, H, T, S = maps.shape
        layer, head = min(self.layer, L - 1), min(self.head, H - 1)
        shown = maps[:, :8] if L <= 4 else maps[layer : layer + 1, :8]
        first = 0 if L <= 4 else layer
        if self.tab == "own":
            queries = keys = self.words
        elif self.kind == "transformer":
            queries = keys = [c.replace(" ", "␣") for c in self.text]
        else:
            queries, keys = self.spec["queries"], self.spec["keys"]
        rows, columns = shown.shape[:2]
        figure = plt.figure(figsize=(7.2, 4.6), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(2, 3))
        for i, ax in enumerate(left.subplots(columns, rows, squeeze=False).T.flat):
            a, b = divmod(i, columns)
            ax.imshow(shown[a, b].numpy(), cmap=MAGNITUDE, vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            ax.set_title(
                f"layer {first + a + 1}, head {b + 1}",
                size=9,
                weight="bold" if (first + a, b) == (layer, head) else None,
            )
        ax = right.subplots()
        image = ax.imshow(maps[layer, head].numpy(), cmap=MAGNITUDE, vmin=0, vmax=1)
        ax.set_xticks(range(S), keys, rotation=90 if max(map(len, keys)) > 2 else 0, size=8)
        ax.set_yticks(range(T), queries, size=8)
        ax.set(
            xlabel="key: where it looks",
            ylabel="query: who looks",
            title=f"Layer {layer + 1}, head {head + 1}: each row sums to 1",
        )
        ax.grid(False)
        right.colorbar(image, ax=ax, shrink=0.6, label="attention weight")
        return figure
