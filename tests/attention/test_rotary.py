"""RoPE: rotations that make scores see distances."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention.rotary import (
    RotaryEmbedding,
    rotary_frequencies,
    rotate_by_position,
    rotate_by_position_fused,
)

LAYOUTS = pytest.mark.parametrize("layout", ["interleaved", "half"])


@pytest.mark.oracle("rotary-positional-embedding", by="closed form")
@pytest.mark.parametrize("offset", [0, 5, 3000])
def test_is_multiplication_with_a_complex_number_of_length_one(offset):
    q = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    pairs = torch.view_as_complex(q.unflatten(-1, (3, 2)))
    theta = torch.tensor([10000.0 ** (-2 * i / 6) for i in range(3)], dtype=torch.float64)
    angle = torch.arange(offset, offset + 4)[:, None] * theta
    expected = torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(-2)
    assert_close(RotaryEmbedding(6)(q, offset=offset), expected)


@LAYOUTS
def test_plain_and_fused_agree_on_the_value_and_on_every_gradient(layout):
    x = torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)
    positions = torch.tensor([0.0, 1.0, 7.0, 30.0], dtype=torch.float64)
    theta = rotary_frequencies(6).requires_grad_()
    plain, fused = (f(x, positions, theta, layout=layout) for f in (rotate_by_position, rotate_by_position_fused))
    assert_close(plain, fused)
    w = torch.randn_like(plain)
    assert_close(*(torch.autograd.grad((y * w).sum(), [x, theta]) for y in (plain, fused)))


def test_agrees_with_rotary_embedding_torch():
    peer = pytest.importorskip("rotary_embedding_torch", reason="the optional peer is missing")
    q = torch.randn(2, 3, 7, 8)
    for dim in (8, 4):  # whole heads, and part of them
        expected = peer.RotaryEmbedding(dim).rotate_queries_or_keys(q, offset=3)
        assert_close(RotaryEmbedding(dim)(q, offset=3), expected.detach(), atol=1e-5, rtol=1e-5)


def test_ntk_scaling_agrees_with_rotary_embedding_torch():
    peer = pytest.importorskip("rotary_embedding_torch", reason="the optional peer is missing")
    theirs = peer.RotaryEmbedding(8, theta_rescale_factor=4.0).freqs.detach().double()
    assert_close(rotary_frequencies(8, scaling="ntk", factor=4.0), theirs, atol=1e-7, rtol=1e-5)


def test_half_layout_is_the_other_with_columns_in_another_order():
    q, order = torch.randn(1, 2, 5, 8), torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])
    interleaved, half = RotaryEmbedding(8), RotaryEmbedding(8, layout="half")
    assert_close(half(q[..., order]), interleaved(q)[..., order])
    assert not torch.allclose(half(q), interleaved(q), atol=0.1)


def test_half_layout_is_rotate_half():
    q = torch.randn(1, 2, 5, 8)
    angles = torch.arange(5.0)[:, None] * rotary_frequencies(8).float()
    cos, sin = (torch.cat([f, f], dim=-1) for f in (angles.cos(), angles.sin()))
    turned = torch.cat([-q[..., 4:], q[..., :4]], dim=-1)
    assert_close(RotaryEmbedding(8, layout="half")(q), q * cos + turned * sin)


@LAYOUTS
def test_scores_depend_on_the_distance_only_and_lengths_are_kept(layout):
    rope, (q, k) = RotaryEmbedding(8, layout=layout), torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    score = [(rope(q, offset=t) * rope(k, offset=s)).sum() for t, s in [(4, 0), (7, 3), (504, 500)]]
    assert_close(score[0], score[1])
    assert_close(score[0], score[2])
    assert not torch.allclose(score[0], (rope(q, offset=0) * rope(k, offset=4)).sum())
    assert_close(rope(q, offset=77).norm(), q.norm())


def test_turning_before_the_projection_loses_the_relative_property():
    rope, x = RotaryEmbedding(8), torch.randn(2, 1, 8, dtype=torch.float64)
    w_q, w_k = torch.randn(2, 8, 8, dtype=torch.float64)
    before = [(rope(x[:1], offset=t) @ w_q * (rope(x[1:], offset=s) @ w_k)).sum() for t, s in [(4, 0), (7, 3)]]
    after = [(rope(x[:1] @ w_q, offset=t) * rope(x[1:] @ w_k, offset=s)).sum() for t, s in [(4, 0), (7, 3)]]
    assert_close(after[0], after[1])
    assert abs(before[0] - before[1]) > 0.1


def test_columns_that_do_not_turn_stay():
    q = torch.randn(1, 2, 5, 10)
    y = RotaryEmbedding(4)(q)
    assert_close(y[..., 4:], q[..., 4:])
    assert_close(y[..., :4], RotaryEmbedding(4)(q[..., :4]))


def test_cosines_of_half_the_width_do_not_fit():
    x, theta = torch.randn(2, 5, 8), rotary_frequencies(8).float()
    angles = torch.arange(5.0)[:, None] * theta
    with pytest.raises(RuntimeError, match="size"):
        x * angles.cos()
    assert_close(
        RotaryEmbedding(8)(x),
        x * angles.cos().repeat_interleave(2, -1)
        + torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2) * angles.sin().repeat_interleave(2, -1),
    )


def test_linear_scaling_puts_positions_between_those_of_the_training():
    q = torch.randn(1, 1, 9, 8, dtype=torch.float64)
    scaled = RotaryEmbedding(8, scaling="linear", factor=4.0)
    positions = torch.arange(9, dtype=torch.float64) / 4
    assert_close(scaled(q), rotate_by_position(q, positions, rotary_frequencies(8)))


def test_ntk_scaling_keeps_the_fastest_pair_and_slows_the_slowest_by_the_factor():
    plain, ntk = rotary_frequencies(16), rotary_frequencies(16, scaling="ntk", factor=8.0)
    assert_close(ntk[0], plain[0])
    assert_close(ntk[-1], plain[-1] / 8)
    assert (ntk <= plain).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_beyond_the_kept_positions_it_computes_the_same(dtype):
    q = torch.randn(1, 1, 6, 8, dtype=dtype)
    short, long = RotaryEmbedding(8, max_positions=4).to(dtype), RotaryEmbedding(8, max_positions=99).to(dtype)
    assert_close(short(q, offset=2), long(q, offset=2))
    assert short(q).dtype == dtype


def test_half_precision_uses_exact_angles():
    q = torch.randn(1, 1, 4, 8)
    y = RotaryEmbedding(8).bfloat16()(q.bfloat16(), offset=100_001)
    exact = RotaryEmbedding(8)(q.double(), offset=100_001)
    assert_close(y.double(), exact, atol=6e-2, rtol=0.0)


def test_tables_keep_their_precision_in_a_layer_of_half_precision():
    rope = RotaryEmbedding(8, max_positions=16)
    exact = rope.cos.clone()
    assert rope.bfloat16().cos.dtype == torch.float32
    assert torch.equal(rope.cos, exact)
    assert torch.equal(rope.double().float().sin, RotaryEmbedding(8, max_positions=16).sin)


def test_made_without_memory_it_turns_alike_once_it_has_some():
    with torch.device("meta"):
        layer = torch.nn.Sequential(RotaryEmbedding(8, scaling="ntk", factor=2.0))
    assert layer[0].cos.is_meta
    q = torch.randn(1, 1, 5, 8)
    assert_close(layer.to_empty(device="cpu")(q), RotaryEmbedding(8, scaling="ntk", factor=2.0)(q))


@pytest.mark.parametrize("form", [rotate_by_position, rotate_by_position_fused])
def test_positions_and_angles_that_do_not_fit_are_refused(form):
    x, positions, theta = torch.zeros(2, 5, 8), torch.arange(5.0), rotary_frequencies(8)
    with pytest.raises(ValueError, match="layout is 'quarter'"):
        form(x, positions, theta, layout="quarter")
    for wrong in ((x, positions[:4], theta), (x, positions, theta[:3]), (x[..., :7], positions, theta)):
        with pytest.raises(ValueError, match="a position for each row"):
            form(*wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RotaryEmbedding(5), "even"),
        (lambda: RotaryEmbedding(0), "even"),
        (lambda: RotaryEmbedding(8, base=1.0), "base"),
        (lambda: RotaryEmbedding(8, layout="quarter"), "layout"),
        (lambda: RotaryEmbedding(8, scaling="yarn"), "scaling"),
        (lambda: RotaryEmbedding(8, factor=2.0), "no scaling was chosen"),
        (lambda: RotaryEmbedding(8, scaling="linear", factor=0.5), "factor"),
        (lambda: RotaryEmbedding(2, scaling="ntk", factor=2.0), "two pairs"),
        (lambda: RotaryEmbedding(8, max_positions=0), "max_positions"),
        (lambda: RotaryEmbedding(8)(torch.zeros(1, 1, 4, 6)), "at least 8"),
        (lambda: RotaryEmbedding(8)(torch.zeros(8)), "at least 8"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
