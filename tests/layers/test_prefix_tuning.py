"""What only prefix tuning must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.attention import ALiBi, MultiHeadAttention, RotaryEmbedding
from nnvocab.layers.letters import letter_transformer
from nnvocab.layers.prefix_tuning import PrefixEncoder, PrefixTuning, prefix_attention, prefix_attention_fused


def heads():
    shapes = [(2, 3, 5, 4)] * 3 + [(3, 2, 4)] * 2
    return [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("prefix-tuning", by="brute force")
@pytest.mark.parametrize("causal", [False, True])
def test_is_the_sum_over_prefix_and_text_written_out(causal):
    q, k, v, pk, pv = heads()
    expected = torch.zeros_like(q)
    for b, h, t in [(b, h, t) for b in range(2) for h in range(3) for t in range(5)]:
        keys = [*pk[h], *k[b, h, : t + 1 if causal else 5]]
        values = [*pv[h], *v[b, h, : t + 1 if causal else 5]]
        weights = torch.exp(torch.stack([q[b, h, t] @ key / 2 for key in keys]))
        expected[b, h, t] = sum(w / weights.sum() * value for w, value in zip(weights, values, strict=True))
    assert_close(prefix_attention(q, k, v, pk, pv, causal=causal), expected)


@pytest.mark.parametrize("causal", [False, True])
def test_fused_form_agrees_on_the_value_and_on_every_gradient(causal):
    free, weights = heads(), torch.randn(2, 3, 5, 4, dtype=torch.float64)
    plain, fused = (f(*free, causal=causal) for f in (prefix_attention, prefix_attention_fused))
    assert_close(plain, fused)
    assert_close(torch.autograd.grad((plain * weights).sum(), free), torch.autograd.grad((fused * weights).sum(), free))


def test_the_layer_is_the_function_of_its_projections():
    base, x = MultiHeadAttention(16, 4, causal=True), torch.randn(2, 5, 16)
    q, k, v = base.project(x, None, None)
    tuned = PrefixTuning(base, 3)
    pk, pv = tuned.encoder()[0]
    expected = base.out(prefix_attention(q, k, v, pk, pv, causal=True).transpose(1, 2).flatten(2))
    assert_close(tuned(x), expected)


def test_keys_and_values_of_real_words_as_a_prefix_do_what_the_words_did():
    base, x = MultiHeadAttention(16, 4, num_kv_heads=2, causal=True), torch.randn(1, 7, 16)
    expected = base(x)[:, 3:]
    _, k, v = base.project(x[:, :3], None, None)
    tuned = PrefixTuning(base, 3)
    with torch.no_grad():
        tuned.encoder.table.copy_(torch.stack([k[0], v[0]]).permute(2, 0, 1, 3).flatten(1))
    assert_close(tuned(x[:, 3:]), expected)


def test_with_the_same_weights_the_perceptron_is_pefts():
    prefix = pytest.importorskip("peft.tuners.prefix_tuning", reason="peft is not installed")
    config = prefix.PrefixTuningConfig(num_virtual_tokens=5, token_dim=8, num_layers=3, num_attention_heads=2,
                                       encoder_hidden_size=6, prefix_projection=True)  # fmt: skip
    theirs, ours = prefix.PrefixEncoder(config), PrefixEncoder(3, 2, 4, 5, hidden=6)
    ours.table.data.copy_(theirs.embedding.weight)
    ours.mlp.load_state_dict(theirs.transform.state_dict())
    flat = theirs(torch.arange(5))  # (P, L * 2 * G * D)
    assert_close(ours(), flat.view(5, 3, 2, 2, 4).permute(1, 2, 3, 0, 4))


def test_folding_keeps_the_prefix_and_drops_the_perceptron():
    tuned, x = (
        PrefixTuning(nn.Sequential(MultiHeadAttention(8, 2), MultiHeadAttention(8, 2)), 3, hidden=16),
        torch.randn(2, 4, 8),
    )
    before, many = tuned(x), tuned.trainable_parameters()
    tuned.fold()
    assert_close(tuned(x), before)
    assert tuned.trainable_parameters() == 2 * 2 * 3 * 8 < many
    with pytest.raises(RuntimeError, match="nothing to fold"):
        tuned.fold()


def test_every_layer_of_a_frozen_model_finds_its_own_prefix_and_nothing_else_learns():
    model = letter_transformer()
    tuned = PrefixTuning(model, 4)
    ids = torch.randint(0, 40, (2, 10))
    tuned(ids).sum().backward()
    assert tuned.encoder().shape == (2, 2, 4, 4, 8)
    assert tuned.encoder.table.grad.unflatten(1, (2, -1)).abs().sum(dim=(0, 2)).min() > 0
    assert {n for n, p in tuned.named_parameters() if p.requires_grad} == {"encoder.table"}
    assert all(p.grad is None for p in model.parameters())


def test_the_prefix_does_not_depend_on_the_text_and_takes_no_place():
    tuned = PrefixTuning(letter_transformer(), 4)
    assert tuned(torch.randint(0, 40, (2, 48))).shape[1] == 48  # all places of the model are still free
    assert torch.equal(tuned.encoder(), tuned.encoder())


def test_masks_are_extended():
    tuned, x = PrefixTuning(MultiHeadAttention(8, 2), 3), torch.randn(2, 5, 8)
    hidden = torch.tensor([[False, False, False, True, True]] * 2)
    expected = tuned(x[:, :3])
    assert_close(tuned(x, key_padding_mask=hidden)[:, :3], expected)
    assert_close(tuned(x, mask=~hidden[0])[:, :3], expected)
    assert_close(tuned(x, mask=torch.zeros(5).masked_fill(hidden[0], float("-inf")))[:, :3], expected)


def test_where_all_of_the_text_is_hidden_the_prefix_is_seen_still():
    base, x = MultiHeadAttention(8, 2), torch.randn(1, 5, 8)
    tuned = PrefixTuning(base, 3)
    q, k, v = base.project(x, None, None)
    pk, pv = tuned.encoder()[0]
    alone = prefix_attention(q, k[:, :, :0], v[:, :, :0], pk, pv).transpose(1, 2).flatten(2)
    assert_close(tuned(x, key_padding_mask=torch.ones(1, 5, dtype=torch.bool)), base.out(alone))
    assert_close(tuned(x, mask=torch.zeros(5, 1, dtype=torch.bool)), base.out(alone))  # one column for all keys


@pytest.mark.parametrize("positions", [lambda: RotaryEmbedding(4), lambda: ALiBi(4)])
def test_cached_generation_equals_full_recomputation(positions):
    base, x = MultiHeadAttention(16, 4, positions=positions(), causal=True), torch.randn(2, 6, 16)
    tuned = PrefixTuning(base, 3)
    with torch.no_grad():
        whole, cache = tuned(x), base.new_cache(2, 6)
        steps = torch.cat([tuned(part, cache=cache) for part in x.split([3, 1, 2], dim=1)], dim=1)
    assert_close(steps, whole)


def test_biases_of_positions_count_for_the_text_and_add_nothing_to_the_prefix():
    base, x = MultiHeadAttention(16, 4, positions=ALiBi(4), causal=True), torch.randn(2, 6, 16)
    tuned = PrefixTuning(base, 3)
    q, k, v = base.project(x, None, None)
    pk, pv = (t.expand(2, -1, -1, -1) for t in tuned.encoder()[0])
    at = torch.arange(6)
    scores = q @ k.mT / 2 + base.positions.bias(at, at)
    scores = torch.cat([q @ pk.mT / 2, scores.masked_fill(at > at[:, None], float("-inf"))], dim=-1)
    expected = scores.softmax(-1) @ torch.cat([pv, v], dim=2)
    assert_close(tuned(x), base.out(expected.transpose(1, 2).flatten(2)))


def test_dropout_of_the_attention_acts_in_training_alone():
    tuned, x = PrefixTuning(MultiHeadAttention(8, 2, dropout=0.5), 3), torch.randn(1, 5, 8)
    assert not torch.allclose(tuned(x), tuned(x))
    tuned.eval()
    assert_close(tuned(x), tuned(x))


def test_inputs_that_do_not_fit_are_refused():
    base = MultiHeadAttention(8, 2)
    tuned, cache = PrefixTuning(base, 3), base.new_cache(1, 4)
    with pytest.raises(ValueError, match="needs three axes"):
        tuned(torch.zeros(5, 8))
    with pytest.raises(ValueError, match="causal=True"):
        tuned(torch.zeros(1, 2, 8), cache=cache)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PrefixTuning(nn.Linear(4, 4)), "no MultiHeadAttention"),
        (lambda: PrefixTuning(nn.Sequential(MultiHeadAttention(8, 2), MultiHeadAttention(8, 4))), "need one size"),
        (lambda: PrefixTuning(MultiHeadAttention(8, 2), 0), "at least 1"),
        (lambda: PrefixTuning(MultiHeadAttention(8, 2), 3, hidden=0), "at least 1"),
        (lambda: PrefixEncoder(0, 2, 4, 3), "at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_smallest_prefix_is_one_key_and_one_value():
    assert PrefixEncoder(1, 1, 1, 1, hidden=1)().shape == (1, 2, 1, 1, 1)


def test_a_sliding_cache_counts_the_padding_from_its_oldest_key():
    tuned, x = PrefixTuning(MultiHeadAttention(8, 2, causal=True), 3), torch.randn(2, 7, 8)
    padding = torch.zeros(2, 7, dtype=torch.bool)
    padding[0, 3] = padding[1, 5] = True
    cache = tuned.model.base.new_cache(2, 4, sliding=True)
    for t in range(7):
        window = slice(max(0, t - 3), t + 1)
        stepped = tuned(x[:, t : t + 1], cache=cache, key_padding_mask=padding[:, window])
        assert_close(stepped, tuned(x[:, window], key_padding_mask=padding[:, window])[:, -1:])
