"""Linear attention: the sums, the chunks and the steps give what the written-out weights give."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.attention import (
    LinearAttention,
    RandomFeatures,
    dependencies,
    linear_attention,
    linear_attention_step,
    linear_attention_summed,
    peak_bytes,
    rule_mask,
    scaled_dot_product_attention,
)
from nnvocab.attention.feature_maps import KERNELS


def heads(T, B=2, H=2, D=4, E=3):
    g = torch.Generator().manual_seed(0)
    shapes = (B, H, T, D), (B, H, T, D), (B, H, T, E)
    return [torch.randn(s, generator=g, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("linear-attention", by="brute force")
@pytest.mark.parametrize("causal", [False, True])
def test_is_the_ratio_of_two_sums_written_out(causal):
    q, k, v = heads(7)
    fq, fk = F.elu(q) + 1, F.elu(k) + 1
    y = linear_attention(fq, fk, v, causal=causal, eps=0.0)
    for i in range(7):
        above, below = 0.0, 0.0
        for j in range(i + 1 if causal else 7):
            weight = (fq[:, :, i] * fk[:, :, j]).sum(-1, keepdim=True)
            above, below = above + weight * v[:, :, j], below + weight
        assert_close(y[:, :, i], above / below)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("T", [1, 5, 64, 65, 150])
def test_sums_agree_with_the_quadratic_form_on_the_value_and_on_every_gradient(T, causal):
    given = [heads(T)[0].exp(), heads(T)[1].exp(), heads(T)[2]]
    given = [t.detach().requires_grad_() for t in given]
    plain, fast = (f(*given, causal=causal) for f in (linear_attention, linear_attention_summed))
    c = torch.randn_like(plain)
    assert_close(plain, fast)
    assert_close(torch.autograd.grad((plain * c).sum(), given), torch.autograd.grad((fast * c).sum(), given))


@pytest.mark.parametrize("kernel_function", KERNELS)
def test_token_by_token_is_the_causal_layer_and_the_state_stays_as_it_is(kernel_function):
    layer = LinearAttention(8, 2, kernel_function=kernel_function, causal=True)
    x, state, rows, sizes = torch.randn(2, 70, 8), None, [], set()
    with torch.no_grad():
        for t in range(70):
            y, state = layer.step(x[:, t], state)
            rows.append(y)
            sizes.add(tuple(state[0].shape))
        assert_close(torch.stack(rows, dim=1), layer(x), rtol=1e-3, atol=1e-4)
    assert len(sizes) == 1


@pytest.mark.parametrize("kernel_function", KERNELS)
@pytest.mark.parametrize("causal", [False, True])
def test_causal_looks_back_only_and_otherwise_everywhere(kernel_function, causal):
    layer = LinearAttention(8, 2, kernel_function=kernel_function, causal=causal).double()
    found = dependencies(layer, torch.randn(1, 6, 8).double())
    allowed = rule_mask(lambda i, j: j <= i, 6) if causal else torch.ones(6, 6, dtype=torch.bool)
    assert not (found & ~allowed).any()
    assert kernel_function == "relu" or torch.equal(found, allowed)


def test_random_features_approximate_softmax_attention_and_elu_does_not():
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 1, 40, 8, generator=g) * c for c in (0.7, 0.7, 1.0))
    exact = scaled_dot_product_attention(q, k, v)
    f = RandomFeatures(8, 32768, generator=g)
    favor = linear_attention_summed(f(q), f(k), v)
    elu = linear_attention_summed(F.elu(q) + 1, F.elu(k) + 1, v)
    assert (favor - exact).abs().mean() < 0.03
    assert (elu - exact).abs().mean() > 4 * (favor - exact).abs().mean()


def test_a_query_without_a_positive_feature_gets_zero():
    q, k, v = -torch.ones(1, 1, 3, 4), torch.ones(1, 1, 3, 4), torch.ones(1, 1, 3, 4)
    for form in (linear_attention, linear_attention_summed):
        assert (form(q.relu(), k, v) == 0).all()


def test_one_step_is_one_position():
    q, k, v = (t.detach().exp() for t in heads(3))
    state = None
    for t in range(3):
        y, state = linear_attention_step(q[:, :, t], k[:, :, t], v[:, :, t], state)
    assert_close(y, linear_attention(q, k, v, causal=True)[:, :, -1])


def test_memory_grows_with_the_length_and_not_with_its_square():
    def peak(form, T):
        q, k, v = (torch.rand(1, 1, T, 8) for _ in range(3))
        return peak_bytes(lambda: form(q, k, v, causal=True))

    assert peak(linear_attention_summed, 2048) < 2.1 * peak(linear_attention_summed, 1024)
    assert peak(linear_attention, 2048) > 3.5 * peak(linear_attention, 1024)


def test_steps_of_a_layer_that_looks_ahead_are_refused():
    with pytest.raises(ValueError, match="causal=True"):
        LinearAttention(8, 2).step(torch.zeros(1, 8))
    with pytest.raises(ValueError, match="one token of each"):
        LinearAttention(8, 2, causal=True).step(torch.zeros(1, 1, 8))


def test_what_does_not_fit_is_refused_by_both_forms():
    q, k, v = heads(5)
    for form in (linear_attention, linear_attention_summed):
        with pytest.raises(ValueError, match="looks at itself"):
            form(q[:, :, :4], k, v, causal=True)
        with pytest.raises(ValueError, match="equal widths"):
            form(q, k[..., :3], v)
        with pytest.raises(ValueError, match="needs its value"):
            form(q, k, v[:, :, :4])
        assert form(q[:, :, :4], k, v).shape == (2, 2, 4, 3)  # not causal, queries may be those of another text


@pytest.mark.parametrize(("length", "causal"), [(1.0, False), (1.0, True), (6.0, True), (30.0, False)])
def test_random_features_of_long_queries_and_keys_weigh_as_their_logarithms_say(length, causal):
    torch.manual_seed(0)
    layer = LinearAttention(32, 2, kernel_function="favor", causal=causal)
    x = torch.randn(2, 70, 32) * length
    with torch.no_grad():
        q, k, v = (t.double() for t in layer.heads(x))
        W = layer.features.weight.double()
        phi_q, phi_k = (t @ W.T / 2 - t.square().sum(-1, keepdim=True) / 8 for t in (q, k))  # D = 16, so x' = x / 2
        logits = torch.logsumexp(phi_q.unsqueeze(3) + phi_k.unsqueeze(2), dim=-1)  # (B, H, T, T)
        if causal:
            logits = logits.masked_fill(torch.ones(70, 70).triu(1).bool(), float("-inf"))
        expected = layer.heads.back((logits.softmax(-1) @ v).float())
        assert_close(layer(x), expected, rtol=1e-3, atol=1e-3)
        if length > 6:  # what was mended: without the largest exponent taken off, nothing is left of them
            assert (layer.features(layer.heads(x)[0]) == 0).float().mean() > 0.9
        if causal:
            state, rows = None, []
            for t in range(70):
                y, state = layer.step(x[:, t], state)
                rows.append(y)
            assert_close(torch.stack(rows, dim=1), expected, rtol=1e-3, atol=1e-3)


def test_random_features_that_would_overflow_do_not():
    layer = LinearAttention(256, 1, kernel_function="favor", num_features=8)
    with torch.no_grad():
        along = layer.features.weight[:3] * 256**0.25  # as long as the directions themselves, and along them
        assert layer.features(along).isinf().any()
        layer.heads.qkv.weight.zero_()
        layer.heads.qkv.bias.copy_(torch.cat([along[0], along[0], torch.ones(256)]))
        layer.heads.out.weight.copy_(torch.eye(256))
        layer.heads.out.bias.zero_()
        assert_close(layer(torch.zeros(1, 3, 256)), torch.ones(1, 3, 256))  # the values are 1, so is their mean
