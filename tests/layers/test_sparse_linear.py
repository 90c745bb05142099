"""What only the sparse linear layer must hold."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune
from torch.testing import assert_close

from nnvocab.layers.sparse_linear import SparseLinear, masked_linear, masked_linear_csr
from nnvocab.layers.sparse_storage import stored_bytes


@pytest.mark.parametrize("bias", [False, True])
def test_compressed_rows_agree_on_the_value_and_on_every_gradient(bias):
    draw = torch.Generator().manual_seed(0)
    x, weight, offset = (
        torch.randn(s, generator=draw, dtype=torch.float64, requires_grad=True) for s in ((2, 5, 8), (6, 8), (6,))
    )
    mask, out = torch.rand(6, 8, generator=draw) > 0.7, torch.randn(2, 5, 6, dtype=torch.float64)
    free = [x, weight, offset] if bias else [x, weight]
    values = [f(x, weight, mask, offset if bias else None) for f in (masked_linear, masked_linear_csr)]
    assert_close(*values)
    assert_close(*(torch.autograd.grad((y * out).sum(), free) for y in values))


@pytest.mark.oracle("sparse-linear-layer", by="brute force")
def test_is_the_sum_over_the_weights_that_are_kept():
    layer, x = SparseLinear(6, 4).prune(0.6), torch.randn(3, 6)
    for n in range(3):
        for o in range(4):
            kept = [i for i in range(6) if layer.mask[o, i]]
            expected = sum(x[n, i] * layer.weight[o, i] for i in kept) + layer.bias[o]
            assert_close(layer(x)[n, o], expected)


def test_equals_torch_pruning_with_the_same_weights():
    theirs = nn.Linear(12, 10)
    ours = SparseLinear.from_linear(theirs).prune(0.8)
    prune.l1_unstructured(theirs, "weight", amount=0.8)
    x = torch.randn(3, 12)
    assert_close(ours(x), theirs(x))
    assert_close(ours.mask, theirs.weight_mask.bool())


@pytest.mark.parametrize(
    "make", [lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), lambda p: torch.optim.AdamW(p, lr=0.1)]
)
def test_pruned_weights_stay_out_whatever_the_optimizer_does(make):
    layer = SparseLinear(12, 10)
    optimizer = make(layer.parameters())
    for step in range(6):
        optimizer.zero_grad()
        (layer(torch.randn(8, 12)) ** 2).mean().backward()
        if step == 3:
            layer.prune(0.7)  # momentum of the weights that go is not zero
        optimizer.step()
    assert layer.report()["zeros"] == 84 and layer.mask.dtype == torch.bool
    assert_close(layer(torch.eye(12)).T - layer.bias[:, None], layer.weight * layer.mask)


@pytest.mark.parametrize("method", ["magnitude", "gradient", "random", "structured", "2:4"])
def test_masks_only_grow_and_shares_are_exact(method):
    layer = SparseLinear(16, 10)
    layer(torch.randn(4, 16)).square().sum().backward()
    before = layer.prune(0.3, method).mask.clone()
    after = layer.prune(0.6, method).mask
    assert not (after & ~before).any()
    expected = {"2:4": 80}.get(method, 96)
    assert layer.report()["zeros"] == expected


def test_structured_pruning_takes_whole_rows():
    mask = SparseLinear(8, 10).prune(0.4, "structured").mask
    assert sorted(mask.sum(1).tolist()) == [0] * 4 + [8] * 6


def test_mask_is_saved_and_comes_back():
    layer, other, x = SparseLinear(6, 4).prune(0.5), SparseLinear(6, 4), torch.randn(2, 6)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer.mask, other.mask)
    assert_close(layer(x), other(x))


def test_rewinding_keeps_the_mask_and_brings_the_first_weights_back():
    layer = SparseLinear(6, 4)
    first, offset = layer.weight.detach().clone(), layer.bias.detach().clone()
    with torch.no_grad():
        layer.weight += torch.randn(4, 6)
        layer.bias += 1.0
    mask = layer.prune().mask.clone()  # half of the weights
    layer.rewind(first)
    assert torch.equal(layer.mask, mask) and int(mask.sum()) == 12
    assert_close((layer.weight.detach(), layer.bias.detach()), (first, offset + 1))
    layer.rewind(first, offset)
    assert_close(layer.bias.detach(), offset)


def test_l1_counts_the_weights_that_are_kept():
    layer = SparseLinear(6, 4).prune(0.5)
    assert_close(layer.l1_penalty(), (layer.weight * layer.mask).abs().sum())
    layer.l1_penalty().backward()
    assert (layer.weight.grad[~layer.mask] == 0).all()


def test_exports_compute_the_same_and_the_report_counts_their_bytes():
    x = torch.randn(2, 3, 64)
    layer = SparseLinear(64, 32).prune(0.9)
    small = layer.to_csr()
    assert_close(small(x), layer(x), rtol=1e-4, atol=1e-5)
    report = layer.report()
    bias = 32 * 4
    assert stored_bytes(small) == report["bytes_csr"] + bias and stored_bytes(layer) == report["bytes_masked"] + bias
    assert report["bytes_csr"] < 0.25 * report["bytes_dense"] < report["bytes_masked"]
    pattern = SparseLinear(64, 32).prune(method="2:4")
    packed = pattern.to_two_four()
    assert_close(packed(x), pattern(x))
    assert stored_bytes(packed) - bias == pattern.report()["bytes_dense"] * 17 // 32


def test_a_mask_and_a_dense_product_save_neither_bytes_nor_products():
    layer = SparseLinear(512, 256).prune(0.9)
    assert stored_bytes(layer) > stored_bytes(nn.Linear(512, 256))
    with pytest.raises(RuntimeError):
        F.linear(torch.zeros(1, 512), layer.weight * (torch.rand(512, 256) > 0.9))  # the mask lies the other way round


def test_impossible_pruning_is_refused():
    with pytest.raises(ValueError, match="must be 'magnitude'"):
        SparseLinear(6, 4).prune(0.5, "size")
    with pytest.raises(ValueError, match="call backward"):
        SparseLinear(6, 4).prune(0.5, "gradient")
    with pytest.raises(ValueError, match="between 0 and 1"):
        SparseLinear(6, 4).prune(2.0)
    with pytest.raises(ValueError, match="at least 1"):
        SparseLinear(6, 0)
    pruned = SparseLinear(8, 4).prune(method="2:4")
    for layer in (pruned, pruned.to_csr(), pruned.to_two_four()):
        with pytest.raises(ValueError, match="last axis must have 8 features"):
            layer(torch.zeros(2, 4))


def test_rewinding_to_weights_of_another_layer_is_refused():
    with pytest.raises(ValueError, match="have the shapes \\(4, 6\\)"):
        SparseLinear(6, 4).rewind(torch.zeros(6))  # would fit by repeating the row
    with pytest.raises(ValueError, match="have the shapes"):
        SparseLinear(6, 4).rewind(torch.zeros(4, 6), torch.zeros(1))
    with pytest.raises(ValueError, match="rewind the weight alone"):
        SparseLinear(6, 4, bias=False).rewind(torch.zeros(4, 6), torch.zeros(4))


def test_a_mask_of_zeros_and_ones_means_the_same_in_both_forms():
    x, weight, mask = torch.randn(3, 8), torch.randn(6, 8), torch.rand(6, 8) > 0.5
    for kind in (torch.bool, torch.long, torch.float32):
        assert_close(masked_linear_csr(x, weight, mask.to(kind)), x @ (weight * mask).T)


def test_the_smallest_is_one_weight_and_it_shows_its_sizes():
    assert SparseLinear(1, 1).prune(0.0)(torch.ones(2, 1)).shape == (2, 1)
    assert repr(SparseLinear(6, 4, bias=False)) == "SparseLinear(in_features=6, out_features=4, bias=False)"
    assert repr(SparseLinear(6, 4)) == "SparseLinear(in_features=6, out_features=4, bias=True)"
