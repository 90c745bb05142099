"""Typed configurations: the words that a manifest may use for the layers of a transformer, each checked and then built."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from nnvocab.vocabulary import Example, entry

Size = Field(ge=1)


class LayerConfig(BaseModel):
    """What all configurations share: unknown keys are errors, and ``build()`` makes the layer."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def build(self) -> nn.Module:
        """Make the layer that this configuration describes."""
        raise TypeError(f"{type(self).__name__} does not say what it builds: define build()")

    def written(self) -> dict[str, Any]:
        """Every setting with its value, as a manifest would say it."""
        return self.model_dump()


class AttentionLayerConfig(LayerConfig):
    """The configuration of an attention layer: every setting named, typed and checked before anything is built.

    What is left out keeps the default of the layer. A setting that the chosen mode does not use is an error. The keys are
    those of :class:`nnvocab.attention.AttentionLayer`: ``sem_dim``, ``geo_dim``, ``v_dim``, ``decoupled_gate`` and
    ``null_token`` belong to mode decoupled, ``n_kv_heads`` to gqa and decoupled, ``lora_*`` to all.
    """

    d_model: int = Size
    n_heads: int = Size
    mode: Literal["standard", "gqa", "decoupled"] = "standard"
    n_kv_heads: int | None = None
    rope_enabled: bool = True
    rope_base: float = 10000.0
    is_causal: bool = True
    dropout_p: float = 0.0
    sem_dim: int | None = None
    geo_dim: int | None = None
    v_dim: int | None = None
    decoupled_gate: bool | Literal["input"] = False
    null_token: bool = False
    lora_rank: int | None = None
    lora_alpha: float = 16.0
    lora_targets: tuple[Literal["q", "k", "v", "o"], ...] = ("q", "v")

    def build(self) -> nn.Module:
        """Make the attention layer."""
        from nnvocab.attention import AttentionLayer

        return AttentionLayer.from_settings(self._given())

    def written(self) -> dict[str, Any]:
        """Every setting that the mode uses."""
        from nnvocab.attention.attention_layer import read_settings

        return {k: list(v) if isinstance(v, tuple) else v for k, v in read_settings(self._given()).items()}

    def _given(self) -> dict[str, Any]:
        """What was said, and the mode: a setting that the mode does not use is an error only if it was said."""
        return {**self.model_dump(include=self.model_fields_set), "mode": self.mode}


class SwiGLULayerConfig(LayerConfig):
    """A SwiGLU feed-forward block: three matrices, a hidden width of d_ff."""

    d_model: int = Size
    d_ff: int = Size
    bias: bool = False

    def build(self) -> nn.Module:
        """Make the block."""
        from nnvocab.layers import SwiGLUFeedForward

        return SwiGLUFeedForward(self.d_model, self.d_ff, bias=self.bias)


class GLULayerConfig(LayerConfig):
    """A gated feed-forward block with the gate of your choice."""

    d_model: int = Size
    d_ff: int = Size
    activation: Literal["swiglu", "geglu", "reglu", "glu", "bilinear"] = "swiglu"
    bias: bool = False

    def build(self) -> nn.Module:
        """Make the block."""
        from nnvocab.layers import GLUFeedForward

        return GLUFeedForward(self.d_model, self.d_ff, activation=self.activation, bias=self.bias)


class MoELayerConfig(LayerConfig):
    """A mixture of SwiGLU experts: every token goes to the top_k that its router prefers."""

    d_model: int = Size
    num_experts: int = Size
    top_k: int = Size
    d_ff: int = Size
    bias: bool = False
    capacity_factor: float | None = None

    def build(self) -> nn.Module:
        """Make the layer."""
        from nnvocab.layers import MixtureOfExperts

        return MixtureOfExperts(
            self.d_model,
            self.num_experts,
            self.top_k,
            hidden_dim=self.d_ff,
            bias=self.bias,
            capacity_factor=self.capacity_factor,
        )


class SSMLayerConfig(LayerConfig):
    """A selective state-space layer (Mamba)."""

    d_model: int = Size
    d_state: int = Field(16, ge=1)
    d_conv: int = Field(4, ge=1)
    expand: int = Field(2, ge=1)
    dt_rank: int | Literal["auto"] = "auto"
    bias: bool = False

    def build(self) -> nn.Module:
        """Make the layer."""
        from nnvocab.recurrent import Mamba

        return Mamba(self.d_model, self.d_state, self.d_conv, self.expand, self.dt_rank, bias=self.bias)


class RMSNormLayerConfig(LayerConfig):
    """Divide by the root mean square of the features."""

    d_model: int = Size
    eps: float = Field(1e-5, ge=0)

    def build(self) -> nn.Module:
        """Make the layer."""
        from nnvocab.normalization import RMSNorm

        return RMSNorm(self.d_model, self.eps)


class LayerNormLayerConfig(LayerConfig):
    """Subtract the mean of the features and divide by their standard deviation."""

    d_model: int = Size
    eps: float = Field(1e-5, ge=0)

    def build(self) -> nn.Module:
        """Make the layer."""
        from nnvocab.normalization import LayerNorm

        return LayerNorm(self.d_model, self.eps)


class LinearLayerConfig(LayerConfig):
    """One weight matrix and, unless told otherwise, a bias."""

    d_in: int = Size
    d_out: int = Size
    bias: bool = True

    def build(self) -> nn.Module:
        """Make the layer."""
        return nn.Linear(self.d_in, self.d_out, bias=self.bias)


class DropoutLayerConfig(LayerConfig):
    """Set features to zero at random while training."""

    p: float = Field(ge=0, lt=1)

    def build(self) -> nn.Module:
        """Make the layer."""
        return nn.Dropout(self.p)


class LoRALinearLayerConfig(LayerConfig):
    """A frozen linear layer with a trained update of low rank."""

    d_in: int = Size
    d_out: int = Size
    rank: int = Field(8, ge=1)
    alpha: float = 16.0
    dropout: float = Field(0.0, ge=0, lt=1)
    bias: bool = True

    def build(self) -> nn.Module:
        """Make the layer."""
        from nnvocab.layers import LoRALinear

        return LoRALinear(
            self.d_in, self.d_out, self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, bias=self.bias
        )


class DiffusionNextTokenHeadConfig(LayerConfig):
    """Draw the next token's embedding out of noise, given the hidden state."""

    embed_dim: int = Size
    vocab_size: int = Size
    num_train_timesteps: int = Field(1000, ge=1)
    num_infer_steps: int = Field(12, ge=1)
    time_embed_dim: int = Field(128, ge=1)
    mlp_mult: int = Field(4, ge=1)
    cfg_dropout_p: float = Field(0.1, ge=0, lt=1)
    cfg_guidance_scale: float = 1.5

    def build(self) -> nn.Module:
        """Make the head."""
        from nnvocab.compose.diffusion_head import DiffusionNextTokenHead

        return DiffusionNextTokenHead(**self.model_dump())


CONFIGS: dict[str, type[LayerConfig]] = {
    made.__name__.removesuffix("Config"): made
    for made in (
        AttentionLayerConfig,
        SwiGLULayerConfig,
        GLULayerConfig,
        MoELayerConfig,
        SSMLayerConfig,
        RMSNormLayerConfig,
        LayerNormLayerConfig,
        LinearLayerConfig,
        DropoutLayerConfig,
        LoRALinearLayerConfig,
        DiffusionNextTokenHeadConfig,
    )
}
"""The configurations by the name that a manifest uses."""


@entry(
    name="Layer configuration",
    aliases=("Programmatic layer usage", "typed layer configuration"),
    ids=("caramba_programmatic_usage",),
    page="from_yaml",
    kind="function",
    paper="yadan2019hydra",
    example=lambda: Example(build_layer(AttentionLayerConfig(d_model=16, n_heads=2)), (torch.randn(2, 5, 16),)),
    related=("Model manifest", "Configurable attention layer"),
)
def build_layer(config: LayerConfig) -> nn.Module:
    r"""Build one layer from its typed configuration, which has been checked before.

    .. math::
        \text{configuration} \;\to\; \text{layer}, \qquad y = \mathrm{layer}(x)

    where the layer computes what its configuration says.

    Args:
        config: one of the configurations of this module, such as ``AttentionLayerConfig``.

    Shapes:
        An attention layer takes x: (B, T, C) and returns (B, T, C); with ``need_cache=True`` also the cache.

    Notice:
        The configuration is a frozen record: its names and types are checked when it is made, so that a misspelt setting
        is an error and not a default.

    Raises:
        TypeError: if ``config`` is no configuration.
        ValueError: if the values do not fit each other.

    Source: this package's own format; Yadan 2019 for the idea of typed, composed configurations.

    >>> config = AttentionLayerConfig(d_model=64, n_heads=8, mode="decoupled", sem_dim=16, geo_dim=32)
    >>> build_layer(config)(torch.zeros(1, 10, 64)).shape
    torch.Size([1, 10, 64])
    """
    if not isinstance(config, LayerConfig):
        known = ", ".join(made.__name__ for made in CONFIGS.values())
        raise TypeError(f"config is a {type(config).__name__}, but must be one of {known}")
    return config.build()
