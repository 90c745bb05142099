"""Train the three character models that the LSTMGates widget ships: an LSTM, a GRU and a plain RNN of equal width.

Run ``python assets/training/train_char_recurrent.py``: it writes ``nnvocab/weights/char_recurrent.npz`` (float16) and
``char_recurrent.json`` (vocabulary, settings, what was measured on text that no model was trained on). About four
minutes on one core.

The text is the prose of the Python language reference as the standard library carries it (``pydoc_data.topics``). It
is full of quoted names and parentheses, so a model gains by remembering that one is open. The text differs between
versions of Python; the version and a hash of the text are stored beside the numbers. Inputs are one-hot characters.

All three models pay the same small price for writing into their memory, so that a unit writes seldom and what it
holds can be read. ``--price 0`` trains without it, to see what the price costs in bits and gains in reach.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import re
import time
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHARS = " abcdefghijklmnopqrstuvwxyz0123456789.,:;!'\"()[]{}<>-_*=+/%"
HIDDEN, WINDOW, BATCH, STEPS, RATE, PRICE = 32, 128, 64, 3000, 1e-2, 0.3
KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
WEIGHTS = Path(__file__).parents[2] / "nnvocab" / "weights"


def prose() -> list[str]:
    """The reference's paragraphs of prose, in lower case, one line each, in the characters of ``CHARS`` alone."""
    text = "\n\n".join(topics[key] for key in sorted(topics)).lower()
    for old, new in {"’": "'", "‘": "'", "“": '"', "”": '"', "—": "-", "–": "-", "…": "..."}.items():
        text = text.replace(old, new)
    paragraphs = (re.sub(r"\s+", " ", p).strip() for p in re.split(r"\n\s*\n", text))
    kept = (p for p in paragraphs if p.endswith((".", ":")) and len(p) > 60 and ">>>" not in p and "::=" not in p)
    return list(dict.fromkeys("".join(c for c in p if c in CHARS) for p in kept))


def encode(paragraphs: list[str]) -> Tensor:
    return torch.tensor([CHARS.index(c) for c in " ".join(paragraphs)])


class CharModel(nn.Module):
    """One recurrent layer that reads one-hot characters, and a linear read-out of the next one."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.cell = KINDS[kind](len(CHARS), HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, len(CHARS))
        if kind == "lstm":  # start by keeping: the forget gate's bias is 1 (Jozefowicz et al. 2015)
            nn.init.ones_(self.cell.bias_ih_l0.data[HIDDEN : 2 * HIDDEN])
            nn.init.zeros_(self.cell.bias_hh_l0.data[HIDDEN : 2 * HIDDEN])

    def forward(self, codes: Tensor) -> Tensor:
        return self.head(self.cell(F.one_hot(codes, len(CHARS)).float())[0])


def train(kind: str, codes: Tensor, seed: int, price: float) -> CharModel:
    """Adam with a cosine rate on windows that begin at a word with an empty memory; writing has a price."""
    torch.manual_seed(seed)
    model = CharModel(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    starts = torch.nonzero(codes[: -WINDOW - 2] == 0).flatten() + 1
    began = time.perf_counter()
    for step in range(STEPS):
        chosen = starts[torch.randint(len(starts), (BATCH,))]
        window = codes[chosen[:, None] + torch.arange(WINDOW + 1)]
        x = F.one_hot(window[:, :-1], len(CHARS)).float()
        h = model.cell(x)[0]
        loss = F.cross_entropy(model.head(h).flatten(0, 1), window[:, 1:].flatten())
        optimizer.zero_grad()
        (loss + price * written(model.cell, x, h)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 500 == 499:
            print(
                f"  {kind} step {step + 1}: {loss.item() / math.log(2):.3f} bits ({time.perf_counter() - began:.0f} s)"
            )
    return model


def written(cell: nn.RNNBase, x: Tensor, h: Tensor) -> Tensor:
    r"""How much a step writes into the memory, on average: \|i g\| of an LSTM, \|h_t - h_{t-1}\| of the others."""
    before = F.pad(h, (0, 0, 1, 0))[:, :-1]
    if not isinstance(cell, nn.LSTM):
        return (h - before).abs().mean()
    a = F.linear(x, cell.weight_ih_l0, cell.bias_ih_l0) + F.linear(before, cell.weight_hh_l0, cell.bias_hh_l0)
    i, _, g, _ = a.chunk(4, dim=-1)
    return (i.sigmoid() * g.tanh()).abs().mean()


def held_out_windows(codes: Tensor) -> Tensor:
    count = (len(codes) - 1) // WINDOW
    return codes[: count * WINDOW + 1].unfold(0, WINDOW + 1, WINDOW)


@torch.no_grad()
def bits(model: CharModel, codes: Tensor) -> float:
    """Bits a character on the held-out text, after the first 16 characters of each window."""
    window = held_out_windows(codes)
    loss = F.cross_entropy(model(window[:, :-1])[:, 16:].flatten(0, 1), window[:, 17:].flatten())
    return loss.item() / math.log(2)


def bigram_bits(train_codes: Tensor, codes: Tensor) -> float:
    """What counting pairs of characters achieves: each model must do better than that."""
    counts = torch.ones(len(CHARS), len(CHARS)).mul_(0.1)
    counts.index_put_((train_codes[:-1], train_codes[1:]), torch.ones(len(train_codes) - 1), accumulate=True)
    logp = (counts / counts.sum(1, keepdim=True)).log2()
    return -logp[codes[:-1], codes[1:]].mean().item()


def inside(codes: Tensor, opening: str, closing: str) -> np.ndarray:
    """After each character: is a quote, or a parenthesis, open?"""
    flags, depth = [], 0
    for code in codes.tolist():
        c = CHARS[code]
        depth = 1 - depth if opening == closing == c else depth + (c == opening) - (c == closing) * (depth > 0)
        flags.append(depth > 0)
    return np.array(flags)


def auc(values: np.ndarray, flags: np.ndarray) -> float:
    """The chance that a position inside has another value than one outside: 0.5 says nothing, 1 separates them."""
    ranks = values.argsort().argsort().astype(float)
    n = flags.sum()
    area = (ranks[flags].sum() - n * (n - 1) / 2) / (n * (len(flags) - n))
    return float(max(area, 1 - area))


@torch.no_grad()
def states(model: CharModel, codes: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What the model remembers after each character (c of an LSTM, h of the others), and an LSTM's forget gates."""
    cell, x = model.cell, F.one_hot(codes, len(CHARS)).float()
    if not isinstance(cell, nn.LSTM):
        return cell(x[None])[0][0].numpy(), np.zeros(0)
    h = c = torch.zeros(HIDDEN)
    remembered, forget = [], []
    for row in x:
        a = cell.weight_ih_l0 @ row + cell.bias_ih_l0 + cell.weight_hh_l0 @ h + cell.bias_hh_l0
        i, f, g, o = a.chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        remembered.append(c)
        forget.append(f.sigmoid())
    return torch.stack(remembered).numpy(), torch.stack(forget).numpy()


def reach(model: CharModel, codes: Tensor, count: int = 300) -> dict[str, float]:
    """Where the gradient of the best guess's log-probability lies: its share more than 5, 10 and 20 steps back."""
    windows = held_out_windows(codes)[:count, :WINDOW]
    x = F.one_hot(windows, len(CHARS)).float().requires_grad_()
    logp = model.head(model.cell(x)[0][:, -1]).log_softmax(-1)
    (gradient,) = torch.autograd.grad(logp.max(-1).values.sum(), x)
    share = gradient.norm(dim=-1)
    share = (share / share.sum(1, keepdim=True)).mean(0).flip(0)  # share[k]: k steps back
    return {f"beyond {k}": round(share[k + 1 :].sum().item(), 3) for k in (5, 10, 20)}


def sort_units(cell: nn.LSTM, order: Tensor) -> None:
    """Renumber the LSTM's units: the function it computes stays the same."""
    rows = (torch.arange(4)[:, None] * HIDDEN + order).flatten()
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        parameter = getattr(cell, name).data
        parameter.copy_(parameter[rows].clone())
    cell.weight_hh_l0.data.copy_(cell.weight_hh_l0.data[:, order].clone())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--price", type=float, default=PRICE, help="what writing costs in the loss")
    parser.add_argument("--out", type=Path, default=WEIGHTS / "char_recurrent")
    arguments = parser.parse_args()
    paragraphs = prose()
    np.random.default_rng(0).shuffle(paragraphs)
    cut = len(paragraphs) * 9 // 10
    train_codes, test_codes = encode(paragraphs[:cut]), encode(paragraphs[cut:])
    text = " ".join(paragraphs)
    report = {
        "vocabulary": CHARS,
        "text": "the prose of the Python language reference (pydoc_data.topics)",
        "python": platform.python_version(),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "characters": {"train": len(train_codes), "held out": len(test_codes)},
        "settings": {
            "hidden": HIDDEN,
            "window": WINDOW,
            "batch": BATCH,
            "steps": STEPS,
            "rate": RATE,
            "price": arguments.price,
            "seed": arguments.seed,
        },
        "bits": {"bigram counts": round(bigram_bits(train_codes, test_codes), 3)},
        "reach": {},
        "inside quotes": {},
        "inside parentheses": {},
    }
    print(json.dumps(report, indent=1), Counter(text).most_common(5))
    flags = {"inside quotes": inside(test_codes, '"', '"'), "inside parentheses": inside(test_codes, "(", ")")}
    arrays = {}
    for kind in KINDS:
        model = train(kind, train_codes, arguments.seed, arguments.price)
        with torch.no_grad():  # what is measured is what ships: float16
            if kind == "lstm":
                keep = torch.from_numpy(states(model, test_codes)[1]).mean(0)
                sort_units(model.cell, keep.argsort(descending=True))
                model.head.weight.copy_(model.head.weight[:, keep.argsort(descending=True)].clone())
            for parameter in model.parameters():
                parameter.copy_(parameter.half().float())
        remembered, forget = states(model, test_codes)
        report["bits"][kind] = round(bits(model, test_codes), 3)
        report["reach"][kind] = reach(model, test_codes)
        for what, flag in flags.items():
            scores = [auc(remembered[:, unit], flag) for unit in range(HIDDEN)]
            best = int(np.argmax(scores))
            report[what][kind] = {"unit": best, "auc": round(scores[best], 3)}
        if kind == "lstm":
            report["mean forget gate"] = [round(float(f), 3) for f in forget.mean(0)]
        for name, value in model.state_dict().items():
            arrays[f"{kind}.{name}"] = value.numpy().astype(np.float16)
        print(kind, {key: report[key].get(kind) for key in ("bits", "reach", "inside quotes", "inside parentheses")})
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(arguments.out.with_suffix(".npz"), **arrays)
    arguments.out.with_suffix(".json").write_text(
        json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
