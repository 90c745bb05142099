"""FlashAttention: the tiles give what the whole gives, value and gradients, and hold less."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention import (
    flash_attention,
    flash_attention_fused,
    flash_traffic,
    peak_bytes,
    scaled_dot_product_attention,
    standard_traffic,
)
from nnvocab.attention.flash import flash_forward, tile_keeps


def inputs(T=7, S=7, E=3):
    g = torch.Generator().manual_seed(0)
    shapes = (2, 3, T, 4), (2, 3, S, 4), (2, 3, S, E)
    return [torch.randn(s, generator=g, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("flashattention", by="brute force")
@pytest.mark.parametrize(("T", "S", "causal"), [(7, 7, False), (7, 7, True), (3, 8, True), (5, 9, False), (1, 1, True)])
@pytest.mark.parametrize("block_size", [1, 2, 3, 64])
def test_is_the_whole_softmax_value_and_every_gradient(T, S, causal, block_size):
    q, k, v = given = inputs(T, S)
    scores = q @ k.mT / 2  # sqrt(D) = 2
    if causal:
        scores = scores.masked_fill(torch.ones(T, S).triu(S - T + 1).bool(), float("-inf"))
    expected = scores.softmax(-1) @ v
    w = torch.randn_like(expected)
    y = flash_attention(*given, block_size=block_size, causal=causal)
    assert_close(y, expected)
    assert_close(torch.autograd.grad((y * w).sum(), given), torch.autograd.grad((expected * w).sum(), given))


@pytest.mark.parametrize("causal", [False, True])
def test_fused_form_agrees_on_the_value_and_on_every_gradient(causal):
    given = inputs(E=4)
    tiled, fused = (f(*given, block_size=2, causal=causal) for f in (flash_attention, flash_attention_fused))
    w = torch.randn_like(tiled)
    assert_close(tiled, fused)
    assert_close(torch.autograd.grad((tiled * w).sum(), given), torch.autograd.grad((fused * w).sum(), given))


def test_the_log_sum_exp_that_is_kept_is_that_of_the_scores():
    q, k, v = inputs()
    _, lse = flash_forward(q, k, v, 2, False, 0.0, torch.zeros((), dtype=torch.long))
    assert_close(lse, torch.logsumexp(q @ k.mT / 2, dim=-1))


def test_scores_too_large_for_exp_do_no_harm():
    q, k, v = (t.detach() * 1000 for t in inputs())
    y = flash_attention(q, k, v, block_size=2)
    assert_close(y, scaled_dot_product_attention(q, k, v))
    assert y.isfinite().all()


def test_dropout_is_made_again_in_the_backward_pass():
    q, k, v = given = inputs(T=6, S=6)
    torch.manual_seed(3)
    y = flash_attention(*given, block_size=4, dropout=0.4)
    torch.manual_seed(3)
    seed = torch.randint(2**31, ())
    kept = tile_keeps(seed, (2, 3, 6, 6), range(6), range(6), 0.4)
    assert 0 < (~kept).sum() < kept.numel()
    expected = ((q @ k.mT / 2).softmax(-1) * kept / 0.6) @ v
    w = torch.randn_like(expected)
    assert_close(y, expected)
    assert_close(torch.autograd.grad((y * w).sum(), given), torch.autograd.grad((expected * w).sum(), given))


def test_dropout_keeps_the_share_it_should_and_no_two_seeds_agree():
    kept = [tile_keeps(torch.tensor(s), (4, 200, 200), range(200), range(200), 0.3) for s in (1, 2)]
    for one in kept:
        assert abs(one.float().mean() - 0.7) < 0.01
        assert (one.float().mean(dim=(0, 1)) - 0.7).abs().max() < 0.08
    assert abs((kept[0] == kept[1]).float().mean() - 0.58) < 0.02  # 0.7 * 0.7 + 0.3 * 0.3


def test_memory_grows_with_the_length_and_not_with_its_square():
    def peaks(T):
        q, k, v = (torch.randn(1, 1, T, 16, requires_grad=True) for _ in range(3))
        tiled = peak_bytes(lambda: flash_attention(q, k, v, block_size=32).sum().backward())
        whole = peak_bytes(lambda: scaled_dot_product_attention(q, k, v).sum().backward())
        return tiled, whole

    (tiled, whole), (tiled_2, whole_2) = peaks(256), peaks(512)
    assert tiled_2 < 2.2 * tiled
    assert whole_2 > 3.5 * whole
    assert tiled_2 < whole_2 / 4


def test_traffic_is_what_the_loops_move():
    T, D, b = 50, 8, 16
    for causal in (False, True):
        moved = 0
        for i in range(0, T, b):
            rows = len(range(i, min(i + b, T)))
            moved += rows * D  # q
            for j in range(0, T, b):
                if not causal or j <= i + rows - 1:
                    moved += 2 * len(range(j, min(j + b, T))) * D  # k and v
            moved += rows * D + rows  # y and the log-sum-exp
        assert flash_traffic(T, D, block_size=b, causal=causal) == moved


def test_traffic_still_grows_with_the_square_of_the_length():
    for T in (1024, 2048):
        assert 3.7 < flash_traffic(2 * T, 64, block_size=128) / flash_traffic(T, 64, block_size=128) < 4
        assert flash_traffic(T, 64, block_size=128) < standard_traffic(T, 64) / 3


def test_tiles_without_rows_move_nothing_and_are_refused():
    with pytest.raises(ValueError, match="block_size"):
        flash_traffic(8, 4, block_size=0)
    with pytest.raises(ValueError, match="block_size"):
        flash_attention_fused(*inputs(E=4), block_size=0)


def test_low_precision_sums_in_float32():
    q, k, v = (t.detach().bfloat16() for t in inputs(T=64, S=64))
    y = flash_attention(q, k, v, block_size=8)
    assert y.dtype == torch.bfloat16
    assert_close(y.double(), scaled_dot_product_attention(q.double(), k.double(), v.double()), atol=0.02, rtol=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, k, v: ((q, k[:, :1], v[:, :1]), {}), "leading axes"),
        (lambda q, k, v: ((q, k[:, :, :3], v[:, :, :3]), {"causal": True}), "its own key"),
        (lambda q, k, v: ((q, k, v), {"block_size": 0}), "at least 1"),
        (lambda q, k, v: ((q, k, v), {"dropout": 1.0}), "probability"),
        (lambda q, k, v: ((q, k[..., :2], v), {}), "equal widths"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    args, kwargs = change(*inputs())
    with pytest.raises(ValueError, match=message):
        flash_attention(*args, **kwargs)
