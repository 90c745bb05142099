"""LoRA fine-tuning preset: a YAML file that names a trained model, freezes it, adapts it and says what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nnvocab.layers.letters import letter_transformer, letter_windows, next_letter_loss, source_letters
from nnvocab.layers.lora import LoRAModel
from nnvocab.layers.lora_attention import lora_attention
from nnvocab.vocabulary import entry

if TYPE_CHECKING:
    from nnvocab.layers.lora_schema import Preset

LENGTH = 48


@dataclass(frozen=True)
class PresetReport:
    """What a run of a preset says: losses on held-out text in nats a letter, and how many numbers were trained."""

    before: float
    after: float
    trainable: int
    total: int

    @property
    def share(self) -> float:
        """The part of all numbers that was trained."""
        return self.trainable / self.total


def read_lora_preset(preset: str | Path = "lora_finetune") -> Preset:
    """Read a preset: the name of one that the package ships, or the path of a YAML file.

    Raises:
        ModuleNotFoundError: if pyyaml or pydantic is not installed.
        FileNotFoundError: if there is no such file.
        ValueError: if a key is unknown or missing, or a value does not fit (pydantic's error, which names it).
    """
    try:
        import yaml

        from nnvocab.layers.lora_schema import Preset
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"a preset needs {error.name}: pip install pyyaml pydantic") from error
    shipped = resources.files("nnvocab.layers") / f"{preset}.yml"
    file = shipped if shipped.is_file() else Path(preset)
    if not file.is_file():
        raise FileNotFoundError(f"there is no preset {str(preset)!r}: give 'lora_finetune' or the path of a YAML file")
    return Preset.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))


@torch.no_grad()
def held_out_loss(model: torch.nn.Module, held: torch.Tensor) -> float:
    """Measure the model on the same 256 windows of a held-out text, in nats a letter."""
    ids = letter_windows(held, 256, LENGTH, torch.Generator().manual_seed(1))
    return next_letter_loss(model(ids), ids).item()


def adapt_letters(
    model: torch.nn.Module, text: torch.Tensor, *, steps: int, batch_size: int, lr: float, seed: int
) -> None:
    """Train what is not frozen to predict the next letter of a text, with Adam and a rate that falls to 0."""
    if steps < 1:
        raise ValueError(f"steps is {steps}, but training needs at least 1")
    draw, free = torch.Generator().manual_seed(seed), [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(free, lr=lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    model.train()
    for _ in range(steps):
        ids = letter_windows(text, batch_size, LENGTH, draw)
        optimizer.zero_grad()
        next_letter_loss(model(ids), ids).backward()
        optimizer.step()
        schedule.step()
    model.eval()


@entry(
    name="LoRA fine-tuning preset",
    aliases=("lora_finetune.yml",),
    ids=("caramba_lora_preset",),
    page="small_changes",
    kind="algorithm",
    paper="hu2022lora",
    peer="peft",
    related=("Low-rank adaptation", "LoRA on attention projections"),
)
def run_lora_preset(
    preset: str | Path = "lora_finetune", *, steps: int | None = None, seed: int | None = None
) -> tuple[PresetReport, LoRAModel]:
    r"""Read a preset, load its trained model, freeze it, train low-rank changes, and measure before and after.

    .. math::
        \min_{A, B}\; \mathbb{E}_x\left[-\log p_{W + \frac{\alpha}{r} B A}(x_{t+1} \mid x_{\le t})\right]

    where :math:`W` are the frozen weights, and :math:`A, B` the low-rank changes of the chosen projections.

    Args:
        preset: the name of one that the package ships, or the path of a YAML file.
        steps: training steps instead of those of the preset.
        seed: the seed instead of that of the preset.

    Notice:
        The model was trained on prose, descriptions of data sets; the preset adapts it to program text. The report
        holds the loss on held-out program text before and after, and how many numbers were trained.

    Raises:
        ValueError: if the preset has an unknown key or a value that does not fit, or there is no step.

    Source: Hu et al. 2022, section 4.

    >>> report, model = run_lora_preset(steps=1)
    >>> report.trainable, report.total > 20 * report.trainable
    (1024, True)
    """
    given = read_lora_preset(preset)
    seed = given.train.seed if seed is None else seed
    text, held = source_letters()
    base = letter_transformer()
    before = held_out_loss(base, held)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # A is random
        lora = given.lora
        model = lora_attention(base, lora.targets, r=lora.r, lora_alpha=lora.lora_alpha, lora_dropout=lora.lora_dropout)
        train = given.train
        adapt_letters(
            model,
            text,
            steps=train.steps if steps is None else steps,
            batch_size=train.batch_size,
            lr=train.lr,
            seed=seed,
        )
    total = sum(p.numel() for p in model.parameters())
    return PresetReport(before, held_out_loss(model, held), model.trainable_parameters(), total), model
