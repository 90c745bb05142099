"""Choosing a layer: every kind of layer tried on every kind of task, with the same budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.compose.gate import Gate
from nnvocab.compose.parallel import Parallel
from nnvocab.vocabulary import entry

LENGTH, WIDTH = 8, 8


@dataclass(frozen=True)
class Choice:
    """One task: rows of LENGTH steps of WIDTH features, and a class for each row."""

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


def _enough(rows: int) -> None:
    if rows < 2:
        raise ValueError(f"{rows} rows cannot be halved into some to train on and some to test: give 2 at least")


def _pictures(pictures: Tensor) -> None:
    if pictures.shape[1:] != (LENGTH, WIDTH):
        raise ValueError(f"pictures have shape {tuple(pictures.shape)}, but (N, {LENGTH}, {WIDTH}) is needed")
    _enough(len(pictures))


def _halves(name: str, x: Tensor, y: Tensor) -> Choice:
    _enough(len(x))
    half = len(x) // 2
    return Choice(name, x[:half], y[:half], x[half:], y[half:])


def shifted_pictures(pictures: Tensor, labels: Tensor, generator: torch.Generator) -> Choice:
    """Pictures (N, 8, 8) moved to another place: a pattern counts wherever it stands.

    Each is rolled by up to two rows, and the test has moves that training has not.
    """
    _pictures(pictures)
    order = torch.randperm(len(pictures), generator=generator)
    half = len(order) // 2
    moves = [torch.randint(0, 2, (len(order), 2), generator=generator) for _ in range(2)]
    moved = [
        torch.stack(
            [torch.roll(p, tuple((sign * m).tolist()), (0, 1)) for p, m in zip(pictures[order], ms, strict=True)]
        )
        for sign, ms in ((1, moves[0]), (-1, moves[1]))
    ]
    y = labels[order]
    return Choice("shifted pictures", moved[0][:half], y[:half], moved[1][half:], y[half:])


def recall(generator: torch.Generator, samples: int = 2000) -> Choice:
    """Pairs of key and value, then a key: say its value. Which step holds it differs from row to row."""
    _enough(samples)
    keys = torch.stack([torch.randperm(4, generator=generator) for _ in range(samples)])[:, : LENGTH - 1]
    keys = torch.cat([keys, torch.full((samples, LENGTH - 1 - keys.shape[1]), -1)], dim=1)  # (N, 7), some empty
    keys = keys.gather(1, torch.rand(keys.shape, generator=generator).argsort(1))
    values = torch.randint(0, 4, keys.shape, generator=generator)
    place = torch.stack([(row >= 0).nonzero()[:, 0][torch.randint(4, (1,), generator=generator)] for row in keys])[:, 0]
    rows = torch.arange(samples)
    x = torch.zeros(samples, LENGTH, WIDTH)
    x[:, :-1, :4] = F.one_hot(keys.clamp_min(0), 4).float() * (keys >= 0).unsqueeze(-1)
    x[:, :-1, 4:] = F.one_hot(values, 4).float() * (keys >= 0).unsqueeze(-1)
    x[:, -1, :4] = F.one_hot(keys[rows, place], 4).float()
    return _halves("recall", x, values[rows, place])


def last_marked(generator: torch.Generator, samples: int = 1000) -> Choice:
    """A symbol a step, some of them marked: which was the last marked one? What came before must be let go."""
    symbols = torch.randint(0, 4, (samples, LENGTH), generator=generator)
    marked = torch.rand(samples, LENGTH, generator=generator) < 0.4
    marked[:, 0] = True
    x = torch.zeros(samples, LENGTH, WIDTH)
    x[..., :4] = F.one_hot(symbols, 4).float()
    x[..., 4] = marked.float()
    steps = torch.arange(LENGTH).expand(samples, LENGTH)
    last = torch.where(marked, steps, -1).amax(1)
    return _halves("last marked", x, symbols[torch.arange(samples), last])


def rule_of_two(generator: torch.Generator, samples: int = 2000) -> Choice:
    """One feature says which of two rules holds; each rule is a plane of its own."""
    x = torch.randn(samples, LENGTH, WIDTH, generator=generator)
    planes = torch.randn(2, LENGTH * WIDTH, generator=generator)
    which = (x[:, 0, 0] > 0).long()
    score = (x.flatten(1) * planes[which]).sum(1)
    return _halves("two rules", x, (score > 0).long())


def rows_of_a_table(table: Tensor, labels: Tensor, generator: torch.Generator) -> Choice:
    """Rows of a table (N, F): columns in no order that means anything, filled up with zeros to 64."""
    if table.ndim != 2 or table.shape[1] > LENGTH * WIDTH:
        raise ValueError(
            f"the table has shape {tuple(table.shape)}, but (rows, at most {LENGTH * WIDTH} columns) is needed"
        )
    _enough(len(table))
    order, spread = torch.randperm(len(table), generator=generator), table.std(0)
    x = (table - table.mean(0)) / torch.where(spread > 0, spread, 1.0)  # a column that never changes becomes zeros
    x = F.pad(x, (0, LENGTH * WIDTH - x.shape[1]))[:, torch.randperm(LENGTH * WIDTH, generator=generator)]
    return _halves("table", x[order].reshape(-1, LENGTH, WIDTH), labels[order])


def badly_scaled(pictures: Tensor, labels: Tensor, generator: torch.Generator) -> Choice:
    """Pictures of which each has a brightness and an offset of its own, over four orders of magnitude."""
    _pictures(pictures)
    order = torch.randperm(len(pictures), generator=generator)
    scale = 10 ** (4 * torch.rand(len(order), 1, 1, generator=generator) - 2)
    return _halves("bad scales", scale * (pictures[order] + 1), labels[order])


class _Last(nn.Module):
    """The last step of what a recurrent module returns."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)[0][:, -1]


class _Attend(nn.Module):
    """Tokens with positions look at each other twice; the last one answers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(WIDTH, width)
        self.position = nn.Parameter(0.1 * torch.randn(LENGTH, width))
        self.layers = nn.ModuleList(nn.MultiheadAttention(width, 4, batch_first=True) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.read(x) + self.position
        for layer in self.layers:
            h = h + layer(h, h, h, need_weights=False)[0]
        return h[:, -1]


def layer_kinds(classes: int) -> Mapping[str, Callable[[], nn.Module]]:
    """The kinds of layers to choose from, each with a head of its own: name -> maker of a network of about 5,000 weights."""

    def dense() -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 56), nn.ReLU(), nn.Linear(56, 24), nn.ReLU(), nn.Linear(24, classes)
        )

    def normalized() -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), nn.LayerNorm(64), nn.Linear(64, 56), nn.ReLU(), nn.LayerNorm(56), nn.Linear(56, 24), nn.ReLU(),
            nn.Linear(24, classes),
        )  # fmt: skip

    def convolution() -> nn.Module:
        row = [nn.Unflatten(1, (1, LENGTH)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1)]
        return nn.Sequential(*row, nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(32, classes))

    def attention() -> nn.Module:
        return nn.Sequential(_Attend(24), nn.Linear(24, classes))

    def lstm() -> nn.Module:
        return nn.Sequential(_Last(nn.LSTM(WIDTH, 30, batch_first=True)), nn.Linear(30, classes))

    def gated() -> nn.Module:
        def branch() -> nn.Module:
            return nn.Sequential(nn.Linear(64, 34), nn.ReLU(), nn.Linear(34, classes))

        return nn.Sequential(nn.Flatten(), Parallel([branch(), branch()], "filter", gate=Gate(nn.Linear(64, 2))))

    return {
        "dense": dense,
        "dense with norm": normalized,
        "convolution": convolution,
        "attention": attention,
        "LSTM": lstm,
        "gated branches": gated,
    }


@entry(
    name="Choosing the right layer",
    aliases=("Choosing the right layer (task table)", "layer selection guide"),
    ids=("loom_choosing_layer",),
    page="choosing",
    kind="concept",
    paper="goodfellow2016deep",
    related=("Parallel layer", "Sequential layer", "Self-attention"),
)
def try_layer(
    make: Callable[[], nn.Module],
    task: Choice,
    *,
    seed: int = 0,
    steps: int = 200,
    lr: float = 0.01,
    batch_size: int = 64,
) -> float:
    r"""Train one kind of layer on one task and return the share of test rows that it gets right.

    .. math::
        \mathrm{score}(\text{layer}, \text{task}) = \frac{1}{N}\,\bigl|\{\, n : \arg\max f_\theta(x_n) = y_n \,\}\bigr|

    where :math:`f_\theta` was trained on other rows than the :math:`N` that it is asked about.

    Args:
        make: makes a fresh network, which takes (B, 8, 8).
        task: what to learn.
        seed: of the first weights and of the batches.
        steps: batches.
        lr: step length of Adam.
        batch_size: rows of a batch.

    Shapes:
        Returns one number from 0 to 1.

    Notice:
        The budget is equal in steps and about equal in weights. Another budget may turn the order of close ones around.

    Raises:
        ValueError: if the task's rows are no sequences of 8 by 8, or there are no steps or rows to train with.

    Source: the kinds of layers and what each is said to be for: Goodfellow et al. 2016, chapters 6, 9 and 10.

    >>> task = last_marked(torch.Generator().manual_seed(0), samples=40)
    >>> 0 <= try_layer(layer_kinds(4)["dense"], task, steps=2) <= 1
    True
    """
    if task.train_x.shape[1:] != (LENGTH, WIDTH):
        raise ValueError(f"rows have shape {tuple(task.train_x.shape[1:])}, but ({LENGTH}, {WIDTH}) is needed")
    if steps < 1 or batch_size < 1:
        raise ValueError(
            f"steps is {steps} and batch_size {batch_size}, but a network must be trained: both at least 1"
        )
    torch.manual_seed(seed)
    net, batches = make(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    for _ in range(steps):
        chosen = torch.randint(len(task.train_x), (batch_size,), generator=batches)
        optimizer.zero_grad()
        F.cross_entropy(net(task.train_x[chosen]), task.train_y[chosen]).backward()
        optimizer.step()
    with torch.no_grad():
        return (net.eval()(task.test_x).argmax(dim=1) == task.test_y).float().mean().item()
