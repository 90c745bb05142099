"""Train the capsule network that the page on capsules takes apart, and store it with what was measured.

scikit-learn's digits, on a black margin of two pixels, shifted by up to two pixels and turned by up to 25 degrees at
every step, so that there are poses to tell apart. The last 497 digits of a shuffle are held out, as on the page.

    python assets/training/train_capsules.py

takes about half a minute on one core and writes nnvocab/weights/capsules.npz (float16).
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn import datasets
from torch import Tensor
from tqdm.auto import tqdm

from nnvocab.layers import CapsuleNetwork

WEIGHTS = Path(__file__).parents[2] / "nnvocab" / "weights" / "capsules.npz"
SHAPE = {"image_shape": (1, 12, 12), "channels": 16, "capsule_types": 4, "capsule_dim": 8}
STEPS, RATE, BATCH, DRAWING, SHIFT, TURN, SEED = 2000, 1e-2, 64, 0.05, 2.0, 25.0, 0


def move(x: Tensor, right: Tensor, down: Tensor, degrees: Tensor) -> Tensor:
    """Shift pictures (B, 1, height, width) by pixels and turn them."""
    angle, half = degrees * math.pi / 180, x.shape[-1] / 2
    first = torch.stack([angle.cos(), angle.sin(), -right / half], dim=1)
    second = torch.stack([-angle.sin(), angle.cos(), -down / half], dim=1)
    grid = F.affine_grid(torch.stack([first, second], dim=1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def main() -> None:
    digits = datasets.load_digits()
    images = F.pad(torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, (2, 2, 2, 2))
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, test = order[:1300], order[1300:]
    torch.manual_seed(SEED)
    network, draw = CapsuleNetwork(**SHAPE), torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    for step in tqdm(range(STEPS)):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        pick = train[torch.randint(len(train), (BATCH,), generator=draw)]
        right, down, turn = torch.rand(3, BATCH, generator=draw) * 2 - 1
        optimizer.zero_grad()
        x = move(images[pick], SHIFT * right, SHIFT * down, TURN * turn)
        network.loss(x, labels[pick], reconstruction_weight=DRAWING).backward()
        optimizer.step()
    with torch.no_grad():
        named = network(images[test]).lengths.argmax(1)
    accuracy = (named == labels[test]).float().mean().item()
    about = {**SHAPE, "steps": STEPS, "seed": SEED, "torch": torch.__version__, "accuracy": round(accuracy, 4)}
    state = {name: value.half().numpy() for name, value in network.state_dict().items()}
    np.savez_compressed(WEIGHTS, about=np.array(json.dumps(about)), **state)
    print(about, f"{WEIGHTS.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
