"""Positional encodings: one interface, and what order means to attention without and with it."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.attention import (
    ALiBi,
    BidirectionalAttention,
    CausalAttention,
    LearnedPositions,
    RotaryEmbedding,
    SinusoidalEncoding,
)
from nnvocab.attention.positions import PositionalEncoding, permutation_sensitivity

SCHEMES = {
    "sinusoidal": lambda: SinusoidalEncoding(16),
    "learned": lambda: LearnedPositions(12, 16),
    "alibi": lambda: ALiBi(4, symmetric=True),
    "rotary": lambda: RotaryEmbedding(4),
}


class Model(nn.Module):
    """Calls the one place where tokens change and gives the scheme to attention, which calls the other two."""

    def __init__(self, scheme):
        super().__init__()
        self.scheme, self.attention = scheme, BidirectionalAttention(16, 4, positions=scheme)

    def forward(self, x):
        return self.attention(self.scheme.embed(x))


@pytest.mark.oracle("positional-encodings", by="brute force")
def test_without_positions_attention_sees_a_set():
    model, x = Model(PositionalEncoding()), torch.randn(2, 8, 16)
    for order in (torch.arange(8).flip(0), torch.randperm(8)):
        assert_close(model(x[:, order]), model(x)[:, order])
    assert permutation_sensitivity(model, x, torch.Generator().manual_seed(0)) < 1e-5


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_makes_order_matter(name):
    torch.manual_seed(1)
    scheme = SCHEMES[name]()
    if name == "learned":
        nn.init.normal_(scheme.table.weight)
    x = torch.randn(2, 8, 16)
    assert permutation_sensitivity(Model(scheme), x, torch.Generator().manual_seed(0)) > 0.01


@pytest.mark.parametrize("name", SCHEMES)
def test_all_have_the_same_three_places(name):
    scheme, x = SCHEMES[name](), torch.randn(2, 8, 16)
    q = torch.randn(2, 4, 8, 4)
    assert scheme.embed(x, offset=2).shape == x.shape
    assert scheme.rotate(q, offset=2).shape == q.shape
    bias = scheme.bias(torch.arange(8), torch.arange(8))
    assert bias is None or bias.shape == (4, 8, 8)
    changed = {
        "embed": not torch.equal(scheme.embed(x, offset=2), x),
        "rotate": not torch.equal(scheme.rotate(q, offset=2), q),
        "bias": bias is not None,
    }
    expected = {"sinusoidal": "embed", "learned": "embed", "alibi": "bias", "rotary": "rotate"}[name]
    assert [place for place, used in changed.items() if used] == [expected]


def test_a_causal_mask_alone_breaks_the_symmetry():
    layer, x = CausalAttention(16, 4), torch.randn(2, 8, 16)
    assert permutation_sensitivity(layer, x, torch.Generator().manual_seed(0)) > 0.1


@pytest.mark.parametrize("name", ["sinusoidal", "learned", "rotary"])
def test_positions_before_the_first_are_refused(name):
    scheme = SCHEMES[name]()
    with pytest.raises(ValueError, match="count from 0"):
        scheme(torch.zeros(1, 2, 16), offset=-1)


def test_two_tokens_always_change_places():
    model, x = Model(RotaryEmbedding(4)), torch.randn(2, 2, 16)
    for seed in range(8):  # half of all permutations of two leave them where they are
        assert permutation_sensitivity(model, x, torch.Generator().manual_seed(seed)) > 1e-4
    with pytest.raises(ValueError, match="at least two positions"):
        permutation_sensitivity(model, x[:, :1], torch.Generator())
