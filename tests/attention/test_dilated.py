"""Dilated attention: every d-th position, each head its own d."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention import (
    DilatedAttention,
    dependencies,
    dilated_attention,
    dilated_attention_blocked,
    dilated_mask,
    layers_to_reach_all,
    reach,
    sliding_window_attention,
)

FORMS = (dilated_attention, dilated_attention_blocked)


def heads(T, B=2, H=3, D=4):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(B, H, T, D, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(3)]


@pytest.mark.oracle("dilated-attention", by="brute force")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("causal", [False, True])
def test_is_the_mean_over_every_dth_position_written_out(form, causal):
    q, k, v = heads(14)
    y = form(q, k, v, window_size=2, dilations=(1, 2, 5), causal=causal)
    for h, d in enumerate((1, 2, 5)):
        for i in range(14):
            steps = (0, -1) if causal else (-2, -1, 0, 1, 2)
            seen = [i + d * m for m in steps if 0 <= i + d * m < 14]
            weights = torch.exp(torch.einsum("bd,bsd->bs", q[:, h, i], k[:, h, seen]) / 2)
            expected = torch.einsum("bs,bsd->bd", weights / weights.sum(-1, keepdim=True), v[:, h, seen])
            assert_close(y[:, h, i], expected)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("T", "w", "dilations"), [(50, 3, (1, 2, 7)), (40, 20, (4, 4, 1)), (5, 2, (9, 1, 3))])
def test_residues_agree_with_the_mask_on_the_value_and_on_every_gradient(T, w, dilations, causal):
    given = heads(T)
    plain, fast = (f(*given, window_size=w, dilations=dilations, causal=causal) for f in FORMS)
    c = torch.randn_like(plain)
    assert_close(plain, fast)
    assert_close(torch.autograd.grad((plain * c).sum(), given), torch.autograd.grad((fast * c).sum(), given))


def test_dilation_one_is_a_sliding_window():
    given = heads(20)
    for causal in (False, True):
        y = dilated_attention_blocked(*given, window_size=3, dilations=(1, 1, 1), causal=causal)
        assert_close(y, sliding_window_attention(*given, window_size=3, causal=causal))


def test_one_dilation_everywhere_leaves_groups_that_never_meet_and_a_local_head_joins_them():
    apart = dilated_mask(24, 2, (4,))[0]
    assert layers_to_reach_all(apart) is None
    assert reach([apart] * 10)[0].nonzero().flatten().tolist() == list(range(0, 24, 4))
    joined = dilated_mask(24, 2, (4, 1)).any(0)
    assert layers_to_reach_all(joined) == 4


def test_it_looks_back_as_well_as_ahead_and_causal_only_back():
    mask = dilated_mask(9, 1, (3,))[0]
    assert torch.equal(mask, mask.T)
    assert mask[8].nonzero().flatten().tolist() == [5, 8]
    assert not dilated_mask(9, 2, (3,), causal=True)[0].triu(1).any()


def test_a_layer_depends_on_what_its_heads_see():
    layer = DilatedAttention(8, 2, window_size=1, dilations=(1, 4))
    assert torch.equal(dependencies(layer, torch.randn(1, 15, 8)), dilated_mask(15, 1, (1, 4)).any(0))


@pytest.mark.parametrize(
    ("window_size", "dilations", "message"), [(1, (1,), "one each"), (1, (1, 0), "dilations"), (0, (1, 1), "window")]
)
def test_what_makes_no_sense_is_refused(window_size, dilations, message):
    with pytest.raises(ValueError, match=message):
        DilatedAttention(8, 2, window_size=window_size, dilations=dilations)
    x = torch.zeros(1, 2, 5, 4)
    for form in FORMS:
        with pytest.raises(ValueError, match=message):
            form(x, x, x, window_size=window_size, dilations=dilations)
