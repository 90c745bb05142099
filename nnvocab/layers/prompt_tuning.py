"""Prompt tuning: a few learned vectors before the embedded text of a frozen model."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.vocabulary import Example, entry


def prepend_prompt(x: Tensor, prompt: Tensor) -> Tensor:
    r"""Put the same learned vectors before every embedded text: :math:`[P;\, x]`.

    Args:
        x: embedded texts.
        prompt: the learned vectors.

    Shapes:
        x: (B, T, C); prompt: (P, C). Returns (B, P + T, C).
    """
    return torch.cat([prompt.expand(len(x), -1, -1), x], dim=1)


@entry(
    name="Prompt tuning",
    aliases=("soft prompts", "virtual tokens"),
    ids=("prompt_tuning",),
    page="virtual_tokens",
    kind="layer",
    paper="lester2021power",
    peer="peft",
    example=lambda: Example(PromptTuning(6, 3), (torch.randn(2, 5, 6),)),
    related=("Prefix tuning", "Low-rank adaptation"),
)
class PromptTuning(nn.Module):
    r"""Learned vectors that stand where the embeddings of a few words before the text would stand.

    .. math::
        \tilde{x} = [p_1; \dots; p_P;\, x_1; \dots; x_T]

    where :math:`x_t` are the embeddings of a text, and :math:`p_i` are learned vectors of the same width.

    Args:
        embed_dim: width C of the model's embeddings.
        num_virtual_tokens: vectors P.
        init: what they start from, (P, C); random with the deviation of one half if not given.

    Shapes:
        x: (B, T, C). Returns (B, P + T, C), for a model that takes embeddings.

    Notice:
        They are no words: no vocabulary grows, no output gets more classes. Only the first layer sees them as they
        are; what deeper layers see at their places depends on the model, and what it sees at the places of the text
        depends on them. They take P of the model's positions; masks and labels have to grow alike.

    Raises:
        ValueError: if a size is below 1, or ``init``, a text, a mask or labels do not fit.

    Source: Lester et al. 2021, section 2 and section 3.2 (how to start).

    >>> prompt = PromptTuning(8, num_virtual_tokens=3)
    >>> prompt(torch.zeros(2, 5, 8)).shape, prompt.extend_labels(torch.tensor([[7, 8]])).tolist()
    (torch.Size([2, 8, 8]), [[-100, -100, -100, 7, 8]])
    """

    def __init__(self, embed_dim: int, num_virtual_tokens: int, *, init: Tensor | None = None) -> None:
        super().__init__()
        if embed_dim < 1 or num_virtual_tokens < 1:
            raise ValueError(f"embed_dim {embed_dim} and num_virtual_tokens {num_virtual_tokens} must be at least 1")
        if init is not None and init.shape != (num_virtual_tokens, embed_dim):
            raise ValueError(f"init has shape {tuple(init.shape)}, but must be ({num_virtual_tokens}, {embed_dim})")
        start = 0.5 * torch.randn(num_virtual_tokens, embed_dim) if init is None else init.detach().clone()
        self.prompt = nn.Parameter(start)

    @classmethod
    def from_vocabulary(
        cls, embedding: nn.Embedding, num_virtual_tokens: int, *, generator: torch.Generator | None = None
    ) -> PromptTuning:
        """Start from words of the vocabulary, drawn at random without repetition."""
        V = embedding.num_embeddings
        if num_virtual_tokens > V:
            raise ValueError(f"{num_virtual_tokens} different words were asked for, but the vocabulary has {V}")
        drawn = torch.randperm(V, generator=generator)[:num_virtual_tokens].to(embedding.weight.device)
        return cls.from_text(embedding, drawn)

    @classmethod
    def from_text(cls, embedding: nn.Embedding, ids: Tensor) -> PromptTuning:
        """Start from the words of a text, (P,): at first the model does what it would do after reading them."""
        if ids.ndim != 1 or len(ids) < 1:
            raise ValueError(f"ids has shape {tuple(ids.shape)}, but must be a list of at least one word: (P,)")
        return cls(embedding.embedding_dim, len(ids), init=embedding.weight[ids])

    def extend_mask(self, key_padding_mask: Tensor) -> Tensor:
        """Extend a mask (B, T) that is True for padding: the prompt is none, so (B, P + T) with P times False."""
        if key_padding_mask.dtype != torch.bool or key_padding_mask.ndim != 2:
            raise ValueError(
                f"the mask is {key_padding_mask.dtype} of shape {tuple(key_padding_mask.shape)}, but must be torch.bool "
                f"of shape (batch, positions), True for padding"
            )
        return F.pad(key_padding_mask, (len(self.prompt), 0), value=False)

    def extend_labels(self, labels: Tensor, *, ignore_index: int = -100) -> Tensor:
        """Extend labels (B, T) to (B, P + T): nothing is to be predicted at the prompt's places."""
        if labels.ndim != 2:
            raise ValueError(f"labels has shape {tuple(labels.shape)}, but must be (batch, positions)")
        return F.pad(labels, (len(self.prompt), 0), value=ignore_index)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 3 or x.shape[2] != self.prompt.shape[1]:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, but the prompt stands before embeddings of shape "
                f"(batch, positions, {self.prompt.shape[1]})"
            )
        return prepend_prompt(x, self.prompt)
