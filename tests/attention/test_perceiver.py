"""Perceiver: latents ask, the input answers, and what leaves has the size of the latents."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.attention import Perceiver, perceiver_scores


def block_by_hand(block, z, memory=None, hidden=None):
    """One block from its weights: every head and every row written out."""
    asked = F.layer_norm(z, z.shape[-1:], block.norm.weight, block.norm.bias)
    if memory is None:
        memory = asked
    else:
        memory = F.layer_norm(memory, memory.shape[-1:], block.norm_memory.weight, block.norm_memory.bias)
    a = block.attention
    q, k, v = a.q(asked), a.k(memory), a.v(memory)
    D, rows = q.shape[-1] // a.num_heads, torch.zeros_like(q)
    for b in range(q.shape[0]):
        read = [s for s in range(k.shape[1]) if hidden is None or not hidden[b, s]]
        for h in range(a.num_heads):
            cut = slice(h * D, h * D + D)
            for m in range(q.shape[1]):
                weights = torch.exp(k[b, read, cut] @ q[b, m, cut] / D**0.5)
                rows[b, m, cut] = (weights / weights.sum()) @ v[b, read, cut]
    z = z + a.out(rows)
    norm, first, _, second = block.feed
    return z + second(F.gelu(first(norm(z))))


@pytest.mark.oracle("perceiver-cross-attention-to-latents", by="brute force")
@pytest.mark.parametrize("share", [False, True])
@torch.no_grad()
def test_is_reading_and_thinking_written_out(share):
    torch.manual_seed(0)
    perceiver = Perceiver(3, 8, 5, 2, depth=2, repeats=3, share=share, query_dim=4).double()
    perceiver.latents.normal_()
    x, queries = torch.randn(2, 6, 5).double(), torch.randn(7, 4).double()
    hidden = torch.zeros(2, 6, dtype=torch.bool)
    hidden[1, 4:] = True
    z = perceiver.latents.expand(2, 3, 8)
    for n in (0, 1, 1) if share else (0, 1, 2):
        z = block_by_hand(perceiver.read[n], z, x, hidden)
        for block in perceiver.think[n]:
            z = block_by_hand(block, z)
    assert_close(perceiver(x, key_padding_mask=hidden), z)
    expected = block_by_hand(perceiver.write, queries.expand(2, 7, 4), z)
    assert_close(perceiver(x, queries=queries, key_padding_mask=hidden), expected)
    assert_close(perceiver(x, queries=queries.expand(2, 7, 4), key_padding_mask=hidden), expected)


@pytest.mark.parametrize("length", [1, 10, 1000])
def test_the_output_is_as_long_as_the_latents_whatever_the_input(length):
    assert Perceiver(4, 8, 3, 2)(torch.randn(2, length, 3)).shape == (2, 4, 8)


def test_shared_rounds_add_no_weights_beyond_the_second():
    def size(repeats, share):
        return sum(p.numel() for p in Perceiver(4, 8, 3, 2, repeats=repeats, share=share).parameters())

    assert size(2, True) == size(2, False) == size(8, True) < size(8, False)


def test_the_order_of_the_input_is_unseen():
    perceiver, x = Perceiver(4, 8, 3, 2), torch.randn(2, 9, 3)
    assert_close(perceiver(x[:, torch.randperm(9)]), perceiver(x))


def test_reading_costs_in_proportion_to_the_input_and_thinking_does_not():
    counts = []
    original = F.scaled_dot_product_attention

    def count(q, k, v, **kwargs):
        counts[-1].append(q.shape[-2] * k.shape[-2])
        return original(q, k, v, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", count)
        for S in (100, 200):
            counts.append([])
            Perceiver(4, 8, 3, 2, depth=3, repeats=2, query_dim=8)(torch.randn(1, S, 3), queries=torch.randn(5, 8))
    for S, found in zip((100, 200), counts, strict=True):
        expected = perceiver_scores(S, num_latents=4, depth=3, repeats=2, outputs=5)
        assert found == [4 * S, 16, 16, 16, 4 * S, 16, 16, 16, 20]
        assert expected == {"read": 8 * S, "latent": 96, "write": 20}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Perceiver(4, 8, 3, 2)(torch.zeros(1, 5, 4)), "width 4"),
        (lambda: Perceiver(4, 8, 3, 2)(torch.zeros(1, 0, 3)), "no position"),
        (lambda: Perceiver(4, 8, 3, 2, query_dim=6)(torch.zeros(2, 5, 3), queries=torch.zeros(7, 8)), "outputs, 6"),
        (lambda: Perceiver(4, 8, 3, 2, query_dim=6)(torch.zeros(2, 5, 3), queries=torch.zeros(6)), "outputs, 6"),
        (
            lambda: Perceiver(4, 8, 3, 2, query_dim=6)(torch.zeros(2, 5, 3), queries=torch.zeros(3, 7, 6)),
            "the 2 inputs",
        ),
        (lambda: Perceiver(4, 8, 3, 2, repeats=0), "repeats"),
        (lambda: Perceiver(4, 8, 3, 2)(torch.zeros(5, 3)), "positions, 3"),
        (lambda: Perceiver(4, 8, 3, 2)(torch.zeros(1, 5, 3), queries=torch.zeros(2, 8)), "query_dim"),
        (lambda: Perceiver(4, 9, 3, 2), "multiple"),
        (lambda: Perceiver(0, 8, 3, 2), "num_latents"),
        (lambda: Perceiver(4, 8, 3, 2, depth=-1), "depth"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
