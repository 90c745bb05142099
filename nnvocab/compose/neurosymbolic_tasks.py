"""Six small tasks that were proposed to show what k-means layers are good for, with test data that nothing is trained on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Task:
    """One task: rows to train on, rows to test on, and rows of a kind that was never seen, where the task has them."""

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    novel_x: Tensor | None = None

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.train_y.max()) + 1


def _split(name: str, x: Tensor, y: Tensor, generator: torch.Generator, novel: Tensor | None = None) -> Task:
    order = torch.randperm(len(x), generator=generator)
    half = len(x) // 2
    missing = sorted(set(y.tolist()) - set(y[order[:half]].tolist()))
    if len(x) < 2 or missing:
        raise ValueError(f"{len(x)} samples leave no row to learn the classes {missing} from: give more samples")
    return Task(name, x[order[:half]], y[order[:half]], x[order[half:]], y[order[half:]], novel)


def _around(centres: Tensor, spread: float, generator: torch.Generator) -> Tensor:
    return centres + spread * (2 * torch.rand(centres.shape, generator=generator) - 1)


def four_squares(generator: torch.Generator, samples: int = 800) -> Task:
    """RN1: points in four squares; the class is the upper or the lower pair."""
    square = torch.arange(samples) % 4
    corner = torch.stack([0.1 + 0.5 * (square % 2), 0.1 + 0.5 * (square // 2)], dim=1)
    return _split(
        "RN1 four squares", corner + 0.3 * torch.rand(samples, 2, generator=generator), square // 2, generator
    )


def galaxies(generator: torch.Generator, samples: int = 1200) -> Task:
    """RN2: three galaxies of five systems each; the class is the galaxy."""
    centres = torch.tensor([[0.7, 0.7], [-0.7, 0.7], [0.0, -0.7]])
    angle = 2 * torch.pi * torch.rand(3, 5, generator=generator)
    radius = 0.15 + 0.15 * torch.rand(3, 5, generator=generator)
    systems = centres[:, None] + radius[..., None] * torch.stack([angle.cos(), angle.sin()], dim=-1)
    which = torch.arange(samples) % 15
    x = _around(systems.reshape(15, 2)[which], 0.04, generator)
    return _split("RN2 galaxies", x, which // 5, generator)


def intrusions(generator: torch.Generator, samples: int = 1600) -> Task:
    """RN3: safe traffic and one kind of attack; another kind of attack is never seen in training."""
    kinds = torch.tensor([[0.1, 0.2, 0.1], [0.8, 0.9, 0.9]])
    y = torch.arange(samples) % 2
    novel = _around(torch.tensor([0.5, 0.1, 0.9]).expand(200, 3), 0.15, generator)
    return _split("RN3 intrusions", _around(kinds[y], 0.15, generator), y, generator, novel)


def shortcut(generator: torch.Generator, samples: int = 800) -> Task:
    """RN4: three noisy dimensions tell the class, and a fourth tells it more cleanly, but only in training."""
    y = torch.arange(samples) % 2
    true = _around((0.2 + 0.6 * y)[:, None].expand(samples, 3).float(), 0.15, generator)
    easy = _around((0.1 + 0.8 * y)[:, None].float(), 0.05, generator)
    task = _split("RN4 shortcut", torch.cat([true, easy], dim=1), y, generator)
    test = task.test_x.clone()
    test[:, 3] = torch.rand(len(test), generator=generator)
    return Task(task.name, task.train_x, task.train_y, test, task.test_y)


def stars(generator: torch.Generator, samples: int = 780) -> Task:
    """RN5: three galaxies of two stars each; the class is the galaxy."""
    centres = torch.tensor([[0.6, 0.6], [-0.6, 0.6], [0.0, -0.6]])
    which = torch.arange(samples) % 6
    side = torch.stack([0.2 * (2 * (which % 2) - 1.0), torch.zeros(samples)], dim=1)
    return _split("RN5 stars", _around(centres[which // 2] + side, 0.08, generator), which // 2, generator)


def species(generator: torch.Generator, samples: int = 1600) -> Task:
    """RN6: eight species of 32 features; the class is the kingdom of four each; an unknown thing is never seen."""
    prototypes = 2 * torch.rand(8, 32, generator=generator) - 1
    which = torch.arange(samples) % 8
    novel = _around((2 * torch.rand(1, 32, generator=generator) - 1).expand(200, 32), 0.3, generator)
    return _split("RN6 species", _around(prototypes[which], 0.3, generator), which // 4, generator, novel)


TASKS = (four_squares, galaxies, intrusions, shortcut, stars, species)
"""The six tasks, RN1 to RN6; each is called with a generator and, if wanted, the number of samples."""
