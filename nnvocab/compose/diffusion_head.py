"""A next-token head that denoises: from noise, given the hidden state, to the embedding of the next token."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.vocabulary import Example, entry


def cosine_alpha_bar(num_train_timesteps: int) -> tuple[float, ...]:
    r"""The share of the signal's variance that is left after t steps of noise, :math:`\bar\alpha_0` to :math:`\bar\alpha_T`.

    .. math::
        \bar\alpha_t = \frac{f(t)}{f(0)}, \qquad f(t) = \cos^2\!\left(\frac{t/T + s}{1 + s} \cdot \frac{\pi}{2}\right), \quad s = 0.008
    """
    f = [math.cos((t / num_train_timesteps + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(num_train_timesteps + 1)]
    return tuple(value / f[0] for value in f)


def add_noise(x0: Tensor, noise: Tensor, alpha_bar: Tensor | float) -> Tensor:
    r"""The noisy input at once: :math:`x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \epsilon`."""
    return alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * noise


def ddim_step(
    x: Tensor, x0: Tensor, alpha_bar: float, alpha_bar_next: float, *, eta: float = 0.0, noise: Tensor | None = None
) -> Tensor:
    r"""One step towards less noise, from t to s < t, given a guess of what lies beneath.

    .. math::
        \hat\epsilon = \frac{x_t - \sqrt{\bar\alpha_t}\,\hat x_0}{\sqrt{1 - \bar\alpha_t}}, \qquad
        x_s = \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1 - \bar\alpha_s - \sigma^2}\,\hat\epsilon + \sigma z, \qquad
        \sigma = \eta \sqrt{\frac{1 - \bar\alpha_s}{1 - \bar\alpha_t}} \sqrt{1 - \frac{\bar\alpha_t}{\bar\alpha_s}}

    Args:
        x: the noisy :math:`x_t`; x0: the guess :math:`\hat x_0`; alpha_bar, alpha_bar_next: :math:`\bar\alpha_t, \bar\alpha_s`.
        eta: 0 for the same way at every call (DDIM), 1 for the steps of the original sampler (DDPM).
        noise: z, standard normal; needed where ``eta`` is above 0.
    """
    eps = (x - alpha_bar**0.5 * x0) / (1 - alpha_bar) ** 0.5
    sigma = eta * math.sqrt((1 - alpha_bar_next) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_next))
    y = alpha_bar_next**0.5 * x0 + max(0.0, 1 - alpha_bar_next - sigma**2) ** 0.5 * eps
    return y if noise is None or sigma == 0 else y + sigma * noise


@entry(
    name="Diffusion next-token head",
    aliases=("DiffusionNextTokenHead",),
    page="from_yaml",
    paper="li2022diffusion",
    evidence="speculative",
    example=lambda: Example(
        DiffusionNextTokenHead(4, 6, num_infer_steps=3, time_embed_dim=6), (torch.randn(2, 5, 4), torch.randn(2, 5, 4))
    ),
    related=("Model manifest", "Layer table", "Adaptive softmax"),
)
class DiffusionNextTokenHead(nn.Module):
    r"""Draw the embedding of the next token out of noise, step by step, given the hidden state; then name the nearest token.

    .. math::
        \mathcal{L} = \frac{1}{C}\,\mathbb{E}_{t, \epsilon}\, \bigl\lVert f(x_t, t, h) - e_w \bigr\rVert^2, \quad
        x_t = \sqrt{\bar\alpha_t}\, e_w + \sqrt{1 - \bar\alpha_t}\, \epsilon, \qquad
        z_v = \hat x_0^{\top} e_v

    where :math:`e_w` is the embedding of the true next token w, :math:`h` the hidden state, :math:`\epsilon` standard normal noise,
    :math:`t` a step drawn evenly from 1 to T, :math:`f` the denoiser, :math:`\hat x_0` what it makes of pure noise in a few steps, and
    :math:`z_v` the logit of token v.

    Args:
        embed_dim: width C of the hidden state and of the embeddings.
        vocab_size: tokens V.
        num_train_timesteps: steps T of noise, of which training draws one for each token.
        num_infer_steps: how many of them are taken to draw a token.
        time_embed_dim: width of the waves that tell the denoiser the step.
        mlp_mult: hidden width of the denoiser, in multiples of ``embed_dim`` (at least 64 units).
        cfg_dropout_p: how often training hides the hidden state, so that the denoiser learns to do without as well.
        cfg_guidance_scale: s; the guess is :math:`f_u + s (f_c - f_u)`, without and with the hidden state. 1 leaves it as it is.

    Shapes:
        hidden: (..., C); noise: the same, what the drawing begins with. Returns logits (..., V).

    Notice:
        One call draws one token: the logits are almost all at one place, and are not the model's probabilities. Those are the
        shares of the tokens over many calls, each with other noise. Rows of the table are scaled to the length
        :math:`\sqrt{C}`, so that signal and noise compare and the largest logit is the nearest row. The loss does not move the
        table: it would be least if all rows were equal. Tie it with ``head.embedding = model.embedding``. To train
        the head on a model that stands still, give ``hidden.detach()``.

    Raises:
        ValueError: if a size is below 1, ``num_infer_steps`` is above ``num_train_timesteps``, ``cfg_dropout_p`` is not
            from 0 to below 1, or a shape does not fit.
        TypeError: if tokens are not whole numbers.

    Source: Li et al. 2022, section 4.2 (predict the embedding itself; round to the nearest); Ho et al. 2020, section 3;
        steps: Song et al. 2021, equations 12 and 16; schedule: Nichol and Dhariwal 2021, section 3.2; guidance: Ho and Salimans 2022.

    >>> DiffusionNextTokenHead(8, vocab_size=20)(torch.randn(2, 5, 8)).shape
    torch.Size([2, 5, 20])
    """

    def __init__(
        self,
        embed_dim: int,
        vocab_size: int,
        num_train_timesteps: int = 1000,
        num_infer_steps: int = 12,
        time_embed_dim: int = 128,
        mlp_mult: int = 4,
        cfg_dropout_p: float = 0.1,
        cfg_guidance_scale: float = 1.5,
    ) -> None:
        super().__init__()
        sizes = {
            "embed_dim": embed_dim,
            "vocab_size": vocab_size,
            "time_embed_dim": time_embed_dim,
            "mlp_mult": mlp_mult,
        }
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} is {value}, but must be at least 1")
        if not 0 <= cfg_dropout_p < 1:
            raise ValueError(f"cfg_dropout_p is {cfg_dropout_p}, but must be from 0 to below 1: it is a probability")
        self.num_train_timesteps, self.cfg_dropout_p = num_train_timesteps, cfg_dropout_p
        self.num_infer_steps, self.cfg_guidance_scale = num_infer_steps, cfg_guidance_scale
        self._times(num_infer_steps)
        self.alpha_bar = cosine_alpha_bar(num_train_timesteps)
        C, hidden = embed_dim, max(64, mlp_mult * embed_dim)
        self.time_embed_dim = time_embed_dim
        self.embedding = nn.Embedding(vocab_size, C)
        self.norm = nn.LayerNorm(C)
        self.time = nn.Sequential(nn.Linear(time_embed_dim, C), nn.SiLU())
        self.denoiser = nn.Sequential(
            nn.Linear(3 * C, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, C)
        )

    def table(self) -> Tensor:
        """The embeddings (V, C), each of the length that noise has on average: the square root of C."""
        return F.normalize(self.embedding.weight, dim=-1) * self.embedding.weight.shape[1] ** 0.5

    def logits(self, x0: Tensor) -> Tensor:
        """How near each token is: (..., C) to (..., V). Up to a number equal for all v: minus half the squared distance."""
        return x0 @ self.table().T

    def denoise(self, x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        """Guess the embedding beneath ``x`` (..., C) at the steps ``t`` (...), given the hidden state, or without one."""
        from nnvocab.attention.sinusoidal import sinusoidal_encoding_fused  # waves of a position are waves of a step

        steps = self.time(sinusoidal_encoding_fused(t.to(x), self.time_embed_dim))
        given = torch.zeros_like(x) if condition is None else condition
        return self.denoiser(torch.cat([x, given, steps.expand_as(x)], dim=-1))  # (..., 3C) -> (..., C)

    def loss(self, hidden: Tensor, tokens: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """The mean squared error of the guess, over tokens and features; predicting nothing at all costs 1.

        Shapes:
            hidden: (..., C); tokens: (...), the next token at each place.
        """
        self._width(hidden)
        if tokens.is_floating_point() or tokens.dtype == torch.bool:
            raise TypeError(f"tokens are {tokens.dtype}, but whole numbers are needed; use tokens.long()")
        if tokens.shape != hidden.shape[:-1]:
            needed = tuple(hidden.shape[:-1])
            raise ValueError(f"tokens have shape {tuple(tokens.shape)}, but hidden states of {needed} need one each")
        drawn = {"generator": generator, "device": hidden.device}
        t = torch.randint(1, self.num_train_timesteps + 1, tokens.shape, **drawn)
        alpha_bar = torch.tensor(self.alpha_bar, device=hidden.device)[t].unsqueeze(-1)  # (..., 1)
        x0 = F.embedding(tokens, self.table().detach())  # (..., C)
        noise = torch.randn(x0.shape, **drawn).to(x0)
        condition = self.norm(hidden)
        if self.training:
            condition = condition * (torch.rand(tokens.shape, **drawn) >= self.cfg_dropout_p).unsqueeze(-1)
        return (self.denoise(add_noise(x0, noise, alpha_bar).to(x0), t, condition) - x0).square().mean()

    def sample(
        self,
        hidden: Tensor,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        eta: float = 0.0,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw an embedding for each hidden state: (..., C) to (..., C).

        Args:
            hidden: the hidden states.
            steps: steps to take; by default ``num_infer_steps``.
            guidance: the scale s; by default ``cfg_guidance_scale``. Any but 1 asks the denoiser twice a step.
            eta: 0 for steps without new noise (DDIM), 1 for those of the original sampler (DDPM).
            noise: what to begin with; by default it is drawn.
            generator: draws the noise.
        """
        self._width(hidden)
        if not 0 <= eta <= 1:
            raise ValueError(f"eta is {eta}, but must be from 0 (no new noise) to 1 (as the original sampler)")
        if noise is not None and noise.shape != hidden.shape:
            raise ValueError(
                f"noise has shape {tuple(noise.shape)}, but that of hidden is needed: {tuple(hidden.shape)}"
            )
        scale = self.cfg_guidance_scale if guidance is None else guidance

        def draw() -> Tensor:
            return torch.randn(hidden.shape, generator=generator, device=hidden.device).to(hidden)

        condition, x = self.norm(hidden), draw() if noise is None else noise
        times = self._times(self.num_infer_steps if steps is None else steps)
        for t, s in zip(times, times[1:], strict=False):
            at = hidden.new_full((), t)  # one step for all
            x0 = self.denoise(x, at, condition)
            if scale != 1:
                without = self.denoise(x, at, None)
                x0 = without + scale * (x0 - without)
            new = draw() if eta > 0 and s > 0 else None
            x = ddim_step(x, x0, self.alpha_bar[t], self.alpha_bar[s], eta=eta, noise=new)
        return x

    def forward(self, hidden: Tensor, noise: Tensor | None = None) -> Tensor:
        return self.logits(self.sample(hidden, noise=noise))

    def _times(self, steps: int) -> list[int]:
        """The steps of the schedule that are visited, from T down to 0, as even as whole numbers allow."""
        T = self.num_train_timesteps
        if not 1 <= steps <= T:
            raise ValueError(f"{steps} steps were asked for, but the schedule has {T}: give a number from 1 to {T}")
        return [round(T * (steps - i) / steps) for i in range(steps + 1)]

    def _width(self, hidden: Tensor) -> None:
        C = self.embedding.weight.shape[1]
        if hidden.dim() < 1 or hidden.shape[-1] != C:
            raise ValueError(f"hidden has shape {tuple(hidden.shape)}, but the last axis must be embed_dim, {C}")
