"""Sinusoidal positional encoding: waves of position."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention.sinusoidal import (
    SinusoidalEncoding,
    shift_matrix,
    sinusoidal_encoding,
    sinusoidal_encoding_fused,
)


@pytest.mark.oracle("sinusoidal-positional-encoding", by="closed form")
@pytest.mark.parametrize("dim", [1, 2, 7, 16])
@pytest.mark.parametrize("offset", [0, 1000])
def test_is_the_sine_and_cosine_of_the_equation(dim, offset):
    x = torch.zeros(1, 4, dim, dtype=torch.float64)
    y = SinusoidalEncoding(dim)(x, offset=offset)
    for t in range(4):
        for c in range(dim):
            angle = torch.tensor((t + offset) / 10000 ** (2 * (c // 2) / dim), dtype=torch.float64)
            assert_close(y[0, t, c], angle.cos() if c % 2 else angle.sin())


@pytest.mark.parametrize("dim", [5, 8])
def test_plain_and_fused_agree_on_the_value_and_on_the_gradient(dim):
    positions = torch.tensor([0.0, 1.0, 7.5, 900.0], dtype=torch.float64, requires_grad=True)
    plain, fused = (
        sinusoidal_encoding(positions, dim, base=100.0),
        sinusoidal_encoding_fused(positions, dim, base=100.0),
    )
    assert_close(plain, fused)
    assert_close(*(torch.autograd.grad(y.square().sum() + y.sum(), positions) for y in (plain, fused)))


def test_agrees_with_positional_encodings():
    peer = pytest.importorskip("positional_encodings.torch_encodings", reason="the optional peer is missing")
    x = torch.zeros(2, 9, 8)
    assert_close(SinusoidalEncoding(8)(x), peer.PositionalEncoding1D(8)(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("k", [1.0, 5.0, -3.0])
def test_moving_by_k_is_the_same_linear_map_everywhere(k):
    t = torch.tensor([0.0, 4.0, 250.0], dtype=torch.float64)
    moved = sinusoidal_encoding(t, 8) @ shift_matrix(k, 8).double().T
    assert_close(moved, sinusoidal_encoding(t + k, 8), atol=1e-5, rtol=1e-5)


def test_the_dot_product_depends_on_the_distance_only():
    pe = sinusoidal_encoding(torch.arange(40, dtype=torch.float64), 16)
    gram = pe @ pe.T
    for lag in (0, 1, 7):
        assert gram.diagonal(lag).std() < 1e-9
    assert_close(gram.diagonal(), torch.full((40,), 8.0, dtype=torch.float64))


def test_an_offset_continues_where_the_prefix_ended():
    layer, x = SinusoidalEncoding(6), torch.randn(1, 9, 6)
    assert_close(torch.cat([layer(x[:, :4]), layer(x[:, 4:], offset=4)], dim=1), layer(x))


def test_half_precision_still_tells_large_positions_apart():
    layer = SinusoidalEncoding(8).bfloat16()
    y = layer(torch.zeros(1, 2, 8, dtype=torch.bfloat16), offset=100_000)
    exact = SinusoidalEncoding(8)(torch.zeros(1, 2, 8, dtype=torch.float64), offset=100_000)
    assert y.dtype == torch.bfloat16
    assert_close(y.double(), exact, atol=2e-2, rtol=0.0)


def test_dropout_acts_only_while_training():
    layer, x = SinusoidalEncoding(64, dropout=0.5), torch.ones(1, 5, 64)
    assert (layer(x) == 0).float().mean() > 0.3
    layer.eval()
    assert_close(layer(x), x + sinusoidal_encoding(torch.arange(5.0), 64), atol=1e-5, rtol=1e-5)


def test_positions_may_have_any_shape():
    positions = torch.tensor([[0.0, 3.0, 9.0], [2.0, 5.0, 7.0]])
    for form in (sinusoidal_encoding, sinusoidal_encoding_fused):
        assert_close(form(positions, 7), torch.stack([form(row, 7) for row in positions]))


def test_what_does_not_fit_is_refused():
    for form in (sinusoidal_encoding, sinusoidal_encoding_fused):
        with pytest.raises(ValueError, match="at least 1"):
            form(torch.arange(3.0), 0)
    with pytest.raises(ValueError, match="at least 1"):
        shift_matrix(1, 0)
    with pytest.raises(ValueError, match="base above 1"):
        SinusoidalEncoding(8, base=1.0)
    with pytest.raises(ValueError, match="even dim"):
        shift_matrix(1, 5)
    with pytest.raises(ValueError, match="width 7"):
        SinusoidalEncoding(8)(torch.zeros(1, 2, 7))
    with pytest.raises(ValueError, match="three axes"):
        SinusoidalEncoding(8)(torch.zeros(2, 8))
