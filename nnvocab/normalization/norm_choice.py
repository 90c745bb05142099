"""Which normalization well-known models chose, and with which epsilon."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from nnvocab.normalization.layer_norm import LayerNorm
from nnvocab.normalization.rms_norm import RMSNorm
from nnvocab.vocabulary import entry


@dataclass(frozen=True)
class NormChoice:
    """What a family of models uses: ``norm(width, eps=eps)`` makes its layer."""

    norm: type[nn.Module]
    eps: float
    paper: str

    def __call__(self, width: int) -> nn.Module:
        """Make one layer of it."""
        return self.norm(width, eps=self.eps)


NORM_CHOICES = {
    "BERT": NormChoice(LayerNorm, 1e-12, "devlin2019bert"),
    "GPT-2": NormChoice(LayerNorm, 1e-5, "radford2019language"),
    "GPT-NeoX": NormChoice(LayerNorm, 1e-5, "black2022neox"),
    "T5": NormChoice(RMSNorm, 1e-6, "raffel2020exploring"),
    "LLaMA": NormChoice(RMSNorm, 1e-6, "touvron2023llama"),
    "Llama 2": NormChoice(RMSNorm, 1e-5, "touvron2023llama2"),
    "Mistral": NormChoice(RMSNorm, 1e-5, "jiang2023mistral"),
    "Gemma": NormChoice(RMSNorm, 1e-6, "gemma2024"),
    "Qwen2": NormChoice(RMSNorm, 1e-6, "yang2024qwen2"),
}
"""Family -> its normalization, as in the published code and settings."""


@entry(
    name="When to use each normalization",
    page="root_mean_square",
    kind="concept",
    aliases=("RMSNorm vs LayerNorm", "choice of normalization"),
    ids=("caramba_norm_choice",),
    paper="zhang2019root",
    peer="transformers",
    related=("RMS normalization", "Layer normalization", "Batch normalization"),
)
def published_norm(family: str) -> NormChoice:
    r"""Look up which normalization a family of language models uses, and its epsilon.

    .. math::
        \text{layer normalization: } \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} \odot \gamma + \beta
        \qquad \text{RMS normalization: } \frac{x}{\sqrt{\overline{x^2} + \varepsilon}} \odot \gamma

    Args:
        family: a name out of ``NORM_CHOICES``, e.g. ``"GPT-2"`` or ``"Llama 2"``.

    Notice:
        The epsilon is that of the settings the models were published with; there is no one value for all.

    Raises:
        KeyError: if the family is not listed; the message lists those that are.

    Source: the papers named in the answer, and the published settings.

    >>> published_norm("GPT-NeoX").norm.__name__, published_norm("T5").norm.__name__
    ('LayerNorm', 'RMSNorm')
    """
    if family not in NORM_CHOICES:
        raise KeyError(f"no family is called {family!r}; listed are {', '.join(NORM_CHOICES)}")
    return NORM_CHOICES[family]
