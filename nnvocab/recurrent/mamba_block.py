"""Mamba blocks, residual around a norm and a Mamba layer, and the small language model made of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.recurrent.mamba import Mamba, MambaState
from nnvocab.vocabulary import Example, entry


@entry(
    name="Mamba block",
    aliases=("SSM residual block", "SSM block", "Mamba residual block"),
    page="state_space",
    kind="block",
    ids=("caramba_ssm_block",),
    paper="gu2023mamba",
    peer="mambapy.mamba.ResidualBlock",
    related=("Mamba", "SSM versus attention"),
    example=lambda: Example(MambaBlock(4, d_state=3), (torch.randn(2, 5, 4),)),
)
class MambaBlock(nn.Module):
    r"""Add to each position what a Mamba layer makes of the normalized sequence.

    .. math::
        y = x + \operatorname{Mamba}(\operatorname{RMSNorm}(x))

    where RMSNorm divides by the root mean square over the width and multiplies by a learned gain.

    Args:
        d_model: width C.
        d_state: numbers that each inner channel keeps.
        d_conv: steps that the convolution sees.
        expand: inner channels for each channel of the width.
        dt_rank: rank of the projection to delta, or "auto".
        eps: added under the root.

    Shapes:
        x: (B, T, C). Returns (B, T, C).

    Notice:
        There is no second, position-wise half as in a transformer block: the expansion, the gate and the mixing are in
        the Mamba layer. Two Mamba blocks have about as many parameters as one transformer block.

    Raises:
        ValueError: as ``Mamba`` does.

    Source: Gu and Dao 2023, figure 3 and section 3.4.

    >>> block = MambaBlock(32)
    >>> block(torch.zeros(2, 10, 32)).shape
    torch.Size([2, 10, 32])
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        dt_rank: int | str = "auto",
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(d_model, eps=eps)
        self.mixer = Mamba(d_model, d_state, d_conv, expand, dt_rank)

    def forward(self, x: Tensor) -> Tensor:
        return self.scan(x)[0]

    def scan(self, x: Tensor, state: MambaState | None = None) -> tuple[Tensor, MambaState]:
        """Read a whole sequence, going on from a state."""
        self._check_width(x)
        y, state = self.mixer.scan(self.norm(x), state)
        return x + y, state

    def step(self, x: Tensor, state: MambaState | None = None) -> tuple[Tensor, MambaState]:
        """Read one position (B, C)."""
        self._check_width(x)
        y, state = self.mixer.step(self.norm(x), state)
        return x + y, state

    def _check_width(self, x: Tensor) -> None:
        C = self.mixer.d_model
        if x.dim() == 0 or x.shape[-1] != C:
            raise ValueError(f"x has shape {tuple(x.shape)}, but (B, T, {C}) is needed, or (B, {C}) for one position")


class MambaLM(nn.Module):
    """A small language model: an embedding, Mamba blocks, a norm, and the embedding again to score the next token.

    Args:
        vocab_size: tokens V.
        d_model: width C.
        num_layers: blocks L.
        d_state: numbers that each inner channel keeps.
        d_conv: steps that the convolutions see.
        expand: inner channels for each channel of the width.

    Shapes:
        tokens: (B, T) integers. Returns the scores of the next token (B, T, V).

    Raises:
        TypeError: if the tokens are no integers.
        ValueError: if a size is not positive, the tokens have the wrong shape, or the states are not one a block.

    >>> MambaLM(10, 16, num_layers=2)(torch.zeros(1, 5, dtype=torch.long)).shape
    torch.Size([1, 5, 10])
    """

    def __init__(
        self, vocab_size: int, d_model: int, num_layers: int = 2, d_state: int = 16, d_conv: int = 4, expand: int = 2
    ) -> None:
        super().__init__()
        if min(vocab_size, num_layers) < 1:
            raise ValueError(f"vocab_size {vocab_size} and num_layers {num_layers} must be at least 1")
        self.embed = nn.Embedding(vocab_size, d_model)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.blocks = nn.ModuleList(MambaBlock(d_model, d_state, d_conv, expand) for _ in range(num_layers))
        self.norm = nn.RMSNorm(d_model, eps=1e-5)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.scan(tokens)[0]

    def scan(self, tokens: Tensor, states: list[MambaState] | None = None) -> tuple[Tensor, list[MambaState]]:
        """Read tokens (B, T), going on from the states of the blocks; returns all scores and the states."""
        if tokens.dim() != 2 or tokens.shape[1] == 0:
            raise ValueError(f"tokens have shape {tuple(tokens.shape)}, but (B, T) with at least one token is needed")
        x, after = self._embedded(tokens), []
        for block, state in zip(self.blocks, self._before(states), strict=True):
            x, state = block.scan(x, state)
            after.append(state)
        return self.norm(x) @ self.embed.weight.T, after

    def step(self, token: Tensor, states: list[MambaState] | None = None) -> tuple[Tensor, list[MambaState]]:
        """Read one token (B,); returns the scores of the next (B, V) and the states."""
        if token.dim() != 1:
            raise ValueError(f"token has shape {tuple(token.shape)}, but (B,) is needed: one token a sequence")
        x, after = self._embedded(token), []
        for block, state in zip(self.blocks, self._before(states), strict=True):
            x, state = block.step(x, state)
            after.append(state)
        return self.norm(x) @ self.embed.weight.T, after

    def _embedded(self, tokens: Tensor) -> Tensor:
        if tokens.dtype not in (torch.int64, torch.int32):
            raise TypeError(f"tokens are of {tokens.dtype}, but must be integers: give tokens.long()")
        return self.embed(tokens)

    def _before(self, states: list[MambaState] | None) -> list[MambaState] | list[None]:
        if states is not None and len(states) != len(self.blocks):
            raise ValueError(f"{len(states)} states are given, but the model has {len(self.blocks)} blocks")
        return [None] * len(self.blocks) if states is None else states

    @torch.no_grad()
    def generate(
        self, prompt: Tensor, steps: int, *, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Write on: read the prompt (B, T) at once, then draw token by token with a state that does not grow.

        Args:
            prompt: tokens to begin with.
            steps: tokens to add.
            temperature: 0 takes the likeliest token; 1 draws from the model's distribution.
            generator: source of the draws.

        Raises:
            ValueError: if steps or the temperature is below 0.
        """
        if steps < 0 or not temperature >= 0:
            raise ValueError(f"steps is {steps} and temperature {temperature}, but both must be 0 or more")
        scores, states = self.scan(prompt)
        scores, written = scores[:, -1], [prompt]
        for _ in range(steps):
            if temperature > 0:
                token = torch.multinomial((scores / temperature).softmax(-1), 1, generator=generator)  # (B, 1)
            else:
                token = scores.argmax(-1, keepdim=True)
            written.append(token)
            scores, states = self.step(token[:, 0], states)
        return torch.cat(written, dim=1)
