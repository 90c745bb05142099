from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nnvocab.compose import DiffusionNextTokenHead, add_noise, build_model, cosine_alpha_bar, ddim_step


def made(*args: int, **given: float) -> DiffusionNextTokenHead:
    torch.manual_seed(0)
    return DiffusionNextTokenHead(*args, **given).double()


def test_the_schedule_begins_without_noise_ends_with_nothing_else_and_only_falls():
    left = cosine_alpha_bar(1000)
    assert len(left) == 1001
    assert left[0] == 1
    assert 0 <= left[-1] < 1e-12
    assert all(a > b for a, b in zip(left, left[1:], strict=False))
    begin, middle = math.cos(0.008 / 1.008 * math.pi / 2), math.cos(0.508 / 1.008 * math.pi / 2)
    assert left[500] == pytest.approx((middle / begin) ** 2, rel=1e-12)


def test_noise_added_at_once_is_noise_added_step_by_step():
    left, mean, variance = cosine_alpha_bar(50), 1.0, 0.0
    for t in range(1, 51):
        kept = left[t] / left[t - 1]
        mean, variance = math.sqrt(kept) * mean, kept * variance + 1 - kept
        one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        assert add_noise(one, zero, left[t]).item() == pytest.approx(mean)
        assert add_noise(zero, one, left[t]).item() ** 2 == pytest.approx(variance)


def test_a_step_without_new_noise_lands_where_less_of_the_same_noise_was_added():
    x0, noise = torch.randn(2, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(ddim_step(add_noise(x0, noise, 0.2), x0, 0.2, 0.7), add_noise(x0, noise, 0.7))
    torch.testing.assert_close(ddim_step(add_noise(x0, noise, 0.2), x0, 0.2, 1.0), x0)


@pytest.mark.parametrize(("t", "s"), [(0.2, 0.7), (0.05, 0.06), (0.5, 0.99)])
def test_a_step_with_eta_one_is_the_posterior_of_bayes(t, s):
    x0, x, z = torch.randn(3, 5, dtype=torch.float64)
    kept = t / s  # x_t given x_s is sqrt(kept) x_s with variance 1 - kept; x_s given x_0 is sqrt(s) x_0 with 1 - s
    variance = 1 / (1 / (1 - s) + kept / (1 - kept))
    mean = variance * (math.sqrt(s) * x0 / (1 - s) + math.sqrt(kept) * x / (1 - kept))
    torch.testing.assert_close(ddim_step(x, x0, t, s, eta=1.0, noise=z), mean + math.sqrt(variance) * z)


def ideal_for(table: torch.Tensor, prior: torch.Tensor, alpha_bar: tuple[float, ...]):
    """The best guess there is when tokens come as ``prior`` says: the mean of the table's rows by Bayes."""

    def denoise(x, t, condition):
        left = alpha_bar[int(t)]
        distance = (x.unsqueeze(-2) - left**0.5 * table).square().sum(-1)  # (..., V)
        return (prior.log() - distance / (2 * (1 - left))).softmax(-1) @ table

    return denoise


@pytest.mark.oracle("diffusion-next-token-head", by="closed form")
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_with_the_ideal_denoiser_tokens_are_drawn_as_often_as_they_occur(eta):
    head, prior = made(6, 3, cfg_guidance_scale=1.0), torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    with torch.no_grad():
        head.denoise = ideal_for(head.table(), prior, head.alpha_bar)
        hidden, generator = torch.zeros(4000, 6, dtype=torch.float64), torch.Generator().manual_seed(0)
        x0 = head.sample(hidden, steps=40, eta=eta, generator=generator)
        share = torch.bincount(head.logits(x0).argmax(-1), minlength=3) / 4000
    torch.testing.assert_close(share.double(), prior, rtol=0, atol=0.03)
    assert (x0.unsqueeze(1) - head.table()).norm(dim=-1).amin(1).median() < 0.05  # and each lies on a token


def test_for_normal_data_the_way_without_noise_is_the_known_line():
    mean, spread = 0.7, 0.4
    head = made(1, 2)

    def denoise(x, t, condition):
        left = head.alpha_bar[int(t)]
        return mean + spread**2 * left**0.5 / (spread**2 * left + 1 - left) * (x - left**0.5 * mean)

    head.denoise = denoise
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64).unsqueeze(1)
    found = head.sample(torch.zeros_like(noise), steps=1000, noise=noise)
    torch.testing.assert_close(found, mean + spread * noise, rtol=0, atol=0.01)


def test_predicting_nothing_costs_one_and_predicting_the_truth_nothing():
    head, tokens, seen = made(8, 5).eval(), torch.tensor([[0, 3, 4], [1, 1, 2]]), []

    def nothing(x, t, condition):
        seen.append((t, condition))
        return torch.zeros_like(x)

    hidden = torch.randn(2, 3, 8, dtype=torch.float64)
    head.denoise = nothing
    torch.testing.assert_close(head.loss(hidden, tokens), torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(seen[0][1], head.norm(hidden))
    assert seen[0][0].shape == tokens.shape
    head.denoise = lambda x, t, condition: head.table()[tokens]
    assert head.loss(hidden, tokens).item() == 0


def test_what_the_denoiser_is_given_has_the_noise_of_its_step():
    head, seen = made(16, 1).eval(), []
    head.denoise = lambda x, t, condition: seen.append((x, t)) or x
    head.loss(torch.zeros(6000, 16, dtype=torch.float64), torch.zeros(6000, dtype=torch.long))
    ((x, t),) = seen
    assert 1 <= t.min() <= 5
    assert 996 <= t.max() <= 1000
    left = torch.tensor(head.alpha_bar, dtype=torch.float64)[t]
    noise = (x - left.sqrt().unsqueeze(1) * head.table()) / (1 - left).sqrt().unsqueeze(1)
    assert noise.mean().abs() < 0.02
    assert (noise.std() - 1).abs() < 0.02


def test_a_schedule_of_one_step_trains_on_pure_noise():
    head, seen = made(4, 2, num_train_timesteps=1, num_infer_steps=1), []
    head.denoise = lambda x, t, condition: seen.append((x, t)) or x
    head.loss(torch.zeros(5000, 4, dtype=torch.float64), torch.zeros(5000, dtype=torch.long))
    ((x, t),) = seen
    assert t.eq(1).all()
    assert x.mean(0).abs().max() < 0.06  # nothing of the embedding is left


@pytest.mark.parametrize(("width", "given", "hidden"), [(20, {"mlp_mult": 5}, 100), (3, {}, 64)])
def test_the_denoiser_is_a_multiple_of_the_width_and_64_at_least(width, given, hidden):
    assert DiffusionNextTokenHead(width, 3, **given).denoiser[0].out_features == hidden


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_training_hides_the_hidden_state_as_often_as_was_asked(p):
    head, seen = made(4, 2, cfg_dropout_p=p), []
    head.denoise = lambda x, t, condition: seen.append(condition) or x
    head.loss(torch.randn(40, 100, 4, dtype=torch.float64), torch.zeros(40, 100, dtype=torch.long))
    hidden = (seen[0] == 0).all(-1).double().mean().item()
    assert hidden == pytest.approx(p, abs=0.03 if p else 0)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_guidance_goes_beyond_the_guess_without_the_hidden_state(scale):
    head = made(4, 3)
    hidden, noise = torch.randn(2, 5, 4, dtype=torch.float64)
    t = noise.new_tensor(1000.0)
    with_it, without = head.denoise(noise, t, head.norm(hidden)), head.denoise(noise, t, None)
    expected = without + scale * (with_it - without)
    torch.testing.assert_close(head.sample(hidden, steps=1, guidance=scale, noise=noise), expected)
    assert not torch.allclose(with_it, without)
    calls, ask = [], head.denoise
    head.denoise = lambda *given: calls.append(1) or ask(*given)
    head.sample(hidden, steps=3, guidance=scale)
    assert len(calls) == (3 if scale == 1 else 6)


def test_logits_are_nearness_whatever_the_length_of_the_rows():
    head = made(5, 7)
    x = torch.randn(3, 5, dtype=torch.float64)
    distance = (x.unsqueeze(1) - head.table()).square().sum(-1)
    torch.testing.assert_close(head.logits(x).softmax(-1), (-distance / 2).softmax(-1))
    torch.testing.assert_close(head.table().norm(dim=-1), torch.full((7,), math.sqrt(5), dtype=torch.float64))
    before = head.logits(x)
    with torch.no_grad():
        head.embedding.weight.mul_(0.02)
    torch.testing.assert_close(head.logits(x), before)


def test_the_loss_leaves_the_table_and_a_model_that_stands_still_alone():
    head, trunk = made(4, 3), nn.Linear(4, 4).double()
    x, tokens = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    head.loss(trunk(x).detach(), tokens).backward()
    assert head.embedding.weight.grad is None
    assert all(p.grad is None for p in trunk.parameters())
    assert all(p.grad is not None for n, p in head.named_parameters() if not n.startswith("embedding"))
    head.loss(trunk(x), tokens).backward()
    assert all(p.grad is not None for p in trunk.parameters())


def test_the_same_noise_draws_the_same_tokens():
    head, hidden = made(4, 9), torch.randn(2, 3, 4, dtype=torch.float64)
    one, two = (head.sample(hidden, eta=0.5, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    noise = torch.randn_like(hidden)
    torch.testing.assert_close(head(hidden, noise), head.logits(head.sample(hidden, noise=noise)))
    assert head(hidden[0, 0]).shape == (9,)


def test_a_manifest_builds_it_and_it_learns_which_token_follows():
    model = build_model(
        "topology:\n  type: stacked\n  layers:\n    - {type: Embedding, num_embeddings: 4, embedding_dim: 8}\n"
        "    - {type: DiffusionNextTokenHead, embed_dim: 8, vocab_size: 4, time_embed_dim: 16}\n"
    )
    torch.manual_seed(0)
    follows, tokens = torch.tensor([2, 0, 3, 1]), torch.arange(4).repeat(50)
    score = lambda: (model(tokens).argmax(-1) == follows[tokens]).double().mean()  # noqa: E731
    with torch.no_grad():
        before = score()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(120):
        optimizer.zero_grad()
        model[1].loss(model[0](tokens), follows[tokens]).backward()
        optimizer.step()
    with torch.no_grad():
        assert before < 0.6 < 0.97 < score()


def test_bad_input_is_refused():
    for name in ("embed_dim", "vocab_size", "time_embed_dim", "mlp_mult"):
        with pytest.raises(ValueError, match=f"{name} is 0, but must be at least 1"):
            DiffusionNextTokenHead(**{"embed_dim": 4, "vocab_size": 3, name: 0})
    with pytest.raises(
        ValueError, match="12 steps were asked for, but the schedule has 10: give a number from 1 to 10"
    ):
        DiffusionNextTokenHead(4, 3, num_train_timesteps=10)
    with pytest.raises(ValueError, match="the schedule has 0"):
        DiffusionNextTokenHead(4, 3, num_train_timesteps=0, num_infer_steps=1)
    with pytest.raises(ValueError, match="cfg_dropout_p is 1, but must be from 0 to below 1"):
        DiffusionNextTokenHead(4, 3, cfg_dropout_p=1)
    head = DiffusionNextTokenHead(4, 3)
    with pytest.raises(ValueError, match=r"hidden has shape \(2, 5\), but the last axis must be embed_dim, 4"):
        head(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"noise has shape \(4,\), but that of hidden is needed: \(2, 4\)"):
        head(torch.zeros(2, 4), torch.zeros(4))
    with pytest.raises(ValueError, match="0 steps were asked for"):
        head.sample(torch.zeros(2, 4), steps=0)
    with pytest.raises(ValueError, match="eta is 2, but must be from 0"):
        head.sample(torch.zeros(2, 4), eta=2)
    with pytest.raises(ValueError, match=r"tokens have shape \(3,\), but hidden states of \(2,\) need one each"):
        head.loss(torch.zeros(2, 4), torch.zeros(3, dtype=torch.long))
    with pytest.raises(TypeError, match="use tokens.long"):
        head.loss(torch.zeros(2, 4), torch.zeros(2))
