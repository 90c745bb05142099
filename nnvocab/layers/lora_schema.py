"""What a LoRA preset may say: every key is known, and an unknown one is an error. Needs pydantic."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A part of a preset: unknown keys are refused, since a key that is ignored looks like one that works."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Adapters(Strict):
    """Which change is learned."""

    r: int = Field(ge=1)
    lora_alpha: float = Field(gt=0)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: list[Literal["q", "k", "v", "o"]] = Field(min_length=1)


class Training(Strict):
    """How it is learned."""

    steps: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    lr: float = Field(gt=0)
    seed: int = 0


class Preset(Strict):
    """A preset: a trained model, the text it is adapted to, the adapters, and the training."""

    model: Literal["letter_transformer"]
    data: Literal["program_text"]
    lora: Adapters
    train: Training
