"""Axial attention: one axis at a time, and all of the grid after all axes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from nnvocab.attention import AxialAttention, axial_attention, axial_attention_fused
from nnvocab.attention.axial import AxisPositions

FORMS = (axial_attention, axial_attention_fused)


def grid(*shape):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, *shape, 4, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(3)]


def depends(layer, x, cell):
    """Which cells of the grid the output at one cell depends on."""
    x = x.detach().requires_grad_()
    (g,) = torch.autograd.grad((layer(x)[(0, *cell)] * torch.linspace(1, 2, x.shape[-1])).sum(), x)
    return (g[0] != 0).any(-1)


@pytest.mark.oracle("axial-attention", by="brute force")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("causal", [False, True])
def test_is_the_mean_over_the_line_written_out(form, causal):
    q, k, v = grid(3, 5)
    for axis in (0, 1):
        y = form(q, k, v, axis=axis, causal=causal)
        for i in range(3):
            for j in range(5):
                here = i if axis == 0 else j
                cells = range(here + 1 if causal else (3, 5)[axis])
                line = [(n, j) if axis == 0 else (i, n) for n in cells]
                keys, values = (torch.stack([t[:, :, a, b] for a, b in line], dim=2) for t in (k, v))
                weights = torch.exp(torch.einsum("bhd,bhsd->bhs", q[:, :, i, j], keys) / 2)
                expected = torch.einsum("bhs,bhsd->bhd", weights / weights.sum(-1, keepdim=True), values)
                assert_close(y[:, :, i, j], expected)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 1, 2, 3)])
def test_fused_form_agrees_on_the_value_and_on_every_gradient(shape, causal):
    given = grid(*shape)
    for axis in range(len(shape)):
        plain, fused = (f(*given, axis=axis, causal=causal) for f in FORMS)
        c = torch.randn_like(plain)
        assert_close(plain, fused)
        assert_close(torch.autograd.grad((plain * c).sum(), given), torch.autograd.grad((fused * c).sum(), given))


@pytest.mark.oracle("axial-attention", by="peer: torch.nn.MultiheadAttention")
def test_the_layer_is_torchs_layer_run_on_every_row_and_then_on_every_column():
    layer, x = AxialAttention(8, 2), torch.randn(2, 3, 5, 8)
    peers = []
    for heads in layer.heads:
        peer = nn.MultiheadAttention(8, 2, batch_first=True)
        with torch.no_grad():
            peer.in_proj_weight.copy_(heads.qkv.weight)
            peer.in_proj_bias.copy_(heads.qkv.bias)
            peer.out_proj.load_state_dict(heads.out.state_dict())
        peers.append(peer)
    rows = torch.stack([peers[1](x[:, i], x[:, i], x[:, i])[0] for i in range(3)], dim=1)
    columns = torch.stack([peers[0](rows[:, :, j], rows[:, :, j], rows[:, :, j])[0] for j in range(5)], dim=2)
    assert_close(layer(x), columns)


def test_one_axis_sees_a_line_and_both_see_everything():
    layer, x = AxialAttention(8, 2), torch.randn(1, 4, 5, 8)
    row = depends(lambda t: layer.along(t, 1), x, (2, 3))
    assert row[2].all() and row.sum() == 5
    assert depends(layer, x, (2, 3)).all()
    assert depends(AxialAttention(8, 2, num_axes=3), torch.randn(1, 2, 3, 4, 8), (1, 1, 1)).all()


def test_causal_sees_the_rectangle_before():
    found = depends(AxialAttention(8, 2, causal=True), torch.randn(1, 4, 5, 8), (2, 3))
    expected = torch.zeros(4, 5, dtype=torch.bool)
    expected[:3, :4] = True
    assert torch.equal(found, expected)


@pytest.mark.parametrize("causal", [False, True])
def test_positions_enter_queries_keys_and_values_by_distance(causal):
    positions = AxisPositions(6, 4).double()
    q, k, v = torch.randn(3, 2, 5, 4, dtype=torch.float64).unbind()
    y = positions(q, k, v, causal=causal)
    r_q, r_k, r_v = positions.of
    for i in range(5):
        cells = range(i + 1 if causal else 5)
        scores = torch.stack(
            [q[:, i] @ r_q[j - i + 5] + (q[:, i] * k[:, j]).sum(-1) + k[:, j] @ r_k[j - i + 5] for j in cells], -1
        )
        weights = (scores / 2).softmax(-1)
        assert_close(y[:, i], sum(weights[:, n, None] * (v[:, j] + r_v[j - i + 5]) for n, j in enumerate(cells)))


def test_without_positions_order_is_unseen_and_with_them_it_is_seen():
    x, order = torch.randn(1, 3, 4, 8), [2, 0, 3, 1]
    blind, seeing = AxialAttention(8, 2), AxialAttention(8, 2, sizes=(3, 4))
    assert_close(blind(x[:, :, order]), blind(x)[:, :, order])
    assert not torch.allclose(seeing(x[:, :, order]), seeing(x)[:, :, order], atol=1e-3)
    assert seeing(x[:, :2, :3]).shape == (1, 2, 3, 8)  # a smaller grid is fine


def test_scores_are_few():
    h, w = 12, 20
    counted = 0
    original = F.scaled_dot_product_attention

    def count(q, k, v, **kwargs):
        nonlocal counted
        counted += q.shape[:-1].numel() * k.shape[-2]
        return original(q, k, v, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", count)
        AxialAttention(8, 1)(torch.randn(1, h, w, 8))
    assert counted == h * w * (h + w)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AxialAttention(8, 2)(torch.zeros(1, 3, 8)), "channels last"),
        (lambda: AxialAttention(8, 2)(torch.zeros(1, 3, 3, 7)), "channels last"),
        (lambda: AxialAttention(8, 2, sizes=(3,)), "one extent each"),
        (lambda: AxialAttention(8, 2, sizes=(2, 3))(torch.zeros(1, 3, 3, 8)), "made for 2"),
        (lambda: AxialAttention(8, 2, num_axes=0), "num_axes"),
        (lambda: AxialAttention(9, 2), "multiple"),
        (lambda: axial_attention(*torch.zeros(3, 1, 1, 2, 2, 4), axis=2), "axes 0 to 1"),
        (lambda: axial_attention_fused(*torch.zeros(3, 1, 1, 2, 2, 4), axis=-1), "axes 0 to 1"),
        (lambda: axial_attention(*torch.zeros(3, 1, 2, 4), axis=0), "axes of the grid"),
        (
            lambda: axial_attention_fused(*torch.zeros(2, 1, 1, 2, 4), torch.zeros(1, 1, 3, 4), axis=0),
            "axes of the grid",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
