"""Train the small transformer that `nnvocab.widgets.AttentionMaps` shows, and store it with what was measured.

It learns to predict the next letter. Half of its windows are running text: scikit-learn's descriptions of its data
sets, of which the last tenth of each file is held out. The other half say the same again and again: a string of random
letters, or a piece of that text. Whoever can copy predicts those, and copying takes two layers: a head finds the letter
before, and a head of the next layer looks for what came after the same letter earlier (an induction head).

    python assets/training/train_tiny_transformer.py

takes two to four minutes on a CPU and writes nnvocab/weights/tiny_transformer.npz.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from importlib import resources
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from nnvocab.widgets._tiny_transformer import CONTEXT, LETTERS, TinyTransformer, encode

HERE = Path(__file__).resolve().parents[2]
SHAPE = {"width": 32, "heads": 4, "hidden": 128, "layers": 2}


def corpus() -> tuple[torch.Tensor, torch.Tensor]:
    """The descriptions' letters, for training and held out: the last tenth of each file."""
    train, held = [], []
    folder = resources.files("sklearn.datasets.descr")
    for file in sorted((f for f in folder.iterdir() if f.name.endswith(".rst")), key=lambda f: f.name):
        text = file.read_text(encoding="utf-8").lower()
        text = re.sub(r"https?:\S+|\[\d+\]_|[-=+|]{3,}", " ", text)
        text = "".join(letter if letter in LETTERS[1:] else " " for letter in text)
        text = re.sub(r"\s+", " ", text)
        cut = len(text) * 9 // 10
        train += encode(text[:cut])
        held += encode(text[cut:])
    return torch.tensor(train), torch.tensor(held)


def windows(text: torch.Tensor, count: int, length: int, generator: torch.Generator) -> torch.Tensor:
    starts = torch.randint(len(text) - length, (count, 1), generator=generator)
    return text[starts + torch.arange(length)]


def repeated(source: torch.Tensor, generator: torch.Generator, shortest: int = 4, longest: int = 22) -> torch.Tensor:
    """Each row of (B, CONTEXT + 1) says its first p letters again and again; p differs from row to row."""
    period = torch.randint(shortest, longest + 1, (len(source), 1), generator=generator)
    return source.gather(1, torch.arange(CONTEXT + 1) % period)


def batch(text: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    quarter = size // 4
    plain = windows(text, size - 2 * quarter, CONTEXT + 1, generator)
    noise = torch.randint(len(LETTERS), (quarter, CONTEXT + 1), generator=generator)
    again = windows(text, quarter, CONTEXT + 1, generator)
    return torch.cat([plain, repeated(noise, generator), repeated(again, generator)])


@torch.no_grad()
def measure(model: TinyTransformer, train: torch.Tensor, held: torch.Tensor, generator: torch.Generator) -> dict:
    """Losses in nats a letter, and two scores of each head on random letters that are said twice."""

    def loss(ids: torch.Tensor, first: int = 0) -> float:
        logits = model(ids[:, :-1])[0][:, first:]
        return F.cross_entropy(logits.flatten(0, 1), ids[:, first + 1 :].flatten()).item()

    half = CONTEXT // 2
    noise = torch.randint(len(LETTERS), (256, half), generator=generator)
    twice = torch.cat([noise, noise], dim=1)
    heads = [parts[3].mean(dim=0) for parts in model(twice)[1]]  # each (H, T, T)
    t = torch.arange(half + 1, CONTEXT)
    return {
        "train": loss(windows(train, 512, CONTEXT + 1, generator)),
        "held_out": loss(windows(held, 512, CONTEXT + 1, generator)),
        "copy": loss(twice, first=half),
        "uniform": float(np.log(len(LETTERS))),
        "previous": [[round(h[t, t - 1].mean().item(), 3) for h in layer] for layer in heads],
        "induction": [[round(h[t, t - half + 1].mean().item(), 3) for h in layer] for layer in heads],
    }


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--steps", type=int, default=3500)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path, default=HERE / "nnvocab" / "weights" / "tiny_transformer.npz")
    options = options.parse_args()

    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    train, held = corpus()
    model = TinyTransformer(**SHAPE)
    torch.nn.init.normal_(model.letters.weight, std=0.2)
    torch.nn.init.normal_(model.places.weight, std=0.8)  # far apart, so that a head finds the place before
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.98), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=options.steps, pct_start=0.05)
    began = time.perf_counter()
    for step in tqdm(range(options.steps), mininterval=5):
        ids = batch(train, 64, generator)
        logits = model(ids[:, :-1])[0]
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 1000 == 999:
            now = measure(model, train, held, torch.Generator().manual_seed(1))
            tqdm.write(f"{step + 1} " + json.dumps({k: v for k, v in now.items() if k != "uniform"}))
    print(f"{time.perf_counter() - began:.0f} s")

    state = {name: w.detach().numpy().astype(np.float16) for name, w in model.state_dict().items()}
    model.load_state_dict({name: torch.from_numpy(w.astype(np.float32)) for name, w in state.items()})
    record = {"seed": options.seed, "steps": options.steps, "letters": len(train), "shape": SHAPE}
    record |= measure(model.eval(), train, held, torch.Generator().manual_seed(1))
    record |= {k: round(record[k], 3) for k in ("train", "held_out", "copy", "uniform")}
    np.savez_compressed(options.out, **state, record=np.array(json.dumps(record)))
    print(json.dumps(record, indent=1), options.out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
