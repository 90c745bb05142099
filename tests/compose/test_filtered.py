"""Filter mode: the mixture, and the branches that need not run."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.compose.filtered import (
    FilteredParallel,
    balance_loss,
    mix_branches,
    mix_branches_skipping,
    mixture_of_branches,
)
from nnvocab.compose.gate import Gate, gate_weights


class Fixed(nn.Module):
    """A gate that always says the same."""

    def __init__(self, weights):
        super().__init__()
        self.weights = torch.tensor(weights)

    def forward(self, x):
        return self.weights.expand(len(x), -1)


def calls_of(branches):
    counts = [0] * len(branches)
    for i, branch in enumerate(branches):
        branch.register_forward_hook(lambda m, a, y, i=i: counts.__setitem__(i, counts[i] + len(a[0])))
    return counts


@pytest.mark.oracle("filter-combine-mode", by="brute force")
def test_is_the_mixture_sample_by_sample():
    branches = [nn.Linear(4, 3) for _ in range(3)]
    layer = FilteredParallel(branches, Gate(nn.Linear(4, 3), temperature=0.7))
    x = torch.randn(5, 4)
    y, w = layer(x, need_weights=True)
    for b in range(5):
        assert_close(y[b], sum(w[b, i] * branches[i](x[b]) for i in range(3)))
    assert_close(w.sum(-1), torch.ones(5))
    assert_close(layer(x), y)


@pytest.mark.parametrize("options", [{"kind": "sparsemax"}, {"kind": "entmax"}, {"top_k": 1}, {"top_k": 2}])
def test_skipping_agrees_on_the_value_and_on_every_gradient(options):
    torch.manual_seed(0)
    branches = nn.ModuleList(nn.Linear(4, 3) for _ in range(4)).double()
    x, z = (torch.randn(6, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    w = gate_weights(3 * z, **options)
    assert (w == 0).any()
    values = [mix(branches, x, w) for mix in (mix_branches, mix_branches_skipping)]
    assert_close(*values)
    g = torch.randn(6, 3, dtype=torch.float64)
    weights = [x, z, *branches.parameters()]
    grads = [torch.autograd.grad(v, weights, g, retain_graph=True, allow_unused=True) for v in values]
    for dense, sparse in zip(*grads, strict=True):
        assert_close(torch.zeros_like(dense) if sparse is None else sparse, dense)


def test_zeros_save_work_only_where_they_are_skipped():
    x = torch.randn(10, 4)
    for skip, expected in ((False, [10, 10, 10]), (True, [10, 0, 0])):
        layer = FilteredParallel([nn.Linear(4, 2) for _ in range(3)], Fixed([1.0, 0.0, 0.0]), skip_zeros=skip)
        counts = calls_of(layer.branches)
        layer(x)
        assert counts == expected


def test_skipping_works_for_pictures():
    branches = nn.ModuleList(nn.Conv2d(1, 2, 3) for _ in range(2))
    x, w = torch.randn(4, 1, 5, 5), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    assert_close(mix_branches_skipping(branches, x, w), mix_branches(branches, x, w))


@pytest.mark.oracle("filtered-parallel-layer-mixture-of-experts", by="brute force")
def test_one_call_builds_branches_gate_and_top_k():
    torch.manual_seed(0)
    layer = mixture_of_branches([nn.Linear(6, 3) for _ in range(4)], 6, top_k=2, temperature=0.5)
    x = torch.randn(5, 6)
    y, w = layer(x, need_weights=True)
    for b in range(5):
        logits = layer.gate.layer(x[b]) / 0.5
        best = logits.argsort(descending=True)[:2]
        share = torch.exp(logits[best]) / torch.exp(logits[best]).sum()
        assert_close(y[b], sum(s * layer.branches[int(i)](x[b]) for s, i in zip(share, best, strict=True)))
        assert int((w[b] > 0).sum()) == 2
    assert layer.skip_zeros and not mixture_of_branches([nn.Linear(6, 3)], 6).skip_zeros


def test_the_balancing_loss_is_one_when_even_and_N_when_one_takes_all():
    assert_close(balance_loss(torch.eye(4)), torch.tensor(1.0))
    assert_close(balance_loss(torch.eye(4)[:1].expand(8, 4)), torch.tensor(4.0))
    z = torch.zeros(8, 3)
    z[:, 0] = 1.0
    z.requires_grad_()
    balance_loss(z.softmax(-1)).backward()
    assert (z.grad[:, 0] > 0).all() and (z.grad[:, 1:] < 0).all()  # a step takes weight from the one in use


def test_its_shape_is_known_without_computing():
    layer = FilteredParallel([nn.Linear(4, 3), nn.Linear(4, 2)], Gate(nn.Linear(4, 2)), pad=True)
    assert layer.output_shape((4,)) == tuple(layer(torch.zeros(1, 4)).shape[1:]) == (3,)


def test_what_does_not_fit_is_refused():
    two = [nn.Linear(4, 3), nn.Linear(4, 3)]
    with pytest.raises(ValueError, match=r"3 outputs for 2 branches.*nn.Linear\(in_features, 2\)"):
        FilteredParallel(two, Gate(nn.Linear(4, 3)))
    with pytest.raises(ValueError, match="returned 3 weights for 2 branches"):
        FilteredParallel(two, Fixed([1.0, 0.0, 0.0]))(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="no branch"):
        FilteredParallel([], Gate(nn.Linear(4, 2)))
    with pytest.raises(TypeError, match="branch 1 is a function"):
        FilteredParallel([nn.Identity(), lambda x: x], Gate(nn.Linear(4, 2)))
    with pytest.raises(TypeError, match="gate is a"):
        FilteredParallel(two, lambda x: x)
    with pytest.raises(ValueError, match="pad or skip_zeros"):
        FilteredParallel(two, Gate(nn.Linear(4, 2)), pad=True, skip_zeros=True)
    unequal = [nn.Linear(4, 3), nn.Linear(4, 2)]
    with pytest.raises(ValueError, match="Stitch"):
        FilteredParallel(unequal, Gate(nn.Linear(4, 2)))(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="Stitch"):
        mix_branches_skipping(unequal, torch.zeros(1, 4), torch.tensor([[0.5, 0.5]]))
    with pytest.raises(ValueError, match="no width to pad to"):
        mix_branches_skipping(two, torch.zeros(1, 4), torch.tensor([[0.5, 0.5]]), pad=True)
    with pytest.raises(ValueError, match=r"\(B, N\) is needed"):
        mix_branches_skipping(two, torch.zeros(1, 4), torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match="every weight is zero"):
        mix_branches_skipping(two, torch.zeros(1, 4), torch.zeros(1, 2))


def test_with_probabilities_the_balancing_loss_reaches_what_was_not_chosen():
    z = torch.tensor([[3.0, 1.0, 0.0]] * 8, requires_grad=True)
    w = gate_weights(z, top_k=2)
    (alone,) = torch.autograd.grad(balance_loss(w), z, retain_graph=True)
    (full,) = torch.autograd.grad(balance_loss(w, z.softmax(-1)), z)
    assert alone[:, 2].abs().max() == 0 and (full[:, 2] < 0).all()


def test_an_empty_batch_passes_with_and_without_skipping():
    for kind in ("softmax", "sparsemax"):
        layer = mixture_of_branches([nn.Linear(4, 3), nn.Linear(4, 3)], 4, kind=kind)
        assert layer(torch.zeros(0, 4)).shape == (0, 3)


def test_mixed_precision_runs_whether_branches_are_skipped_or_not():
    layer = mixture_of_branches([nn.Linear(4, 3) for _ in range(3)], 4, top_k=2)
    x = torch.randn(5, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        skipping = layer(x)
        layer.skip_zeros = False
        dense = layer(x)
    assert_close(skipping.float(), dense.float(), rtol=0.02, atol=0.02)


def test_the_gate_has_the_type_of_the_branches():
    layer = mixture_of_branches([nn.Linear(4, 3).double(), nn.Linear(4, 3).double()], 4)
    assert layer(torch.zeros(2, 4, dtype=torch.float64)).dtype == layer.gate.layer.weight.dtype == torch.float64
    assert mixture_of_branches([nn.Tanh(), nn.ReLU()], 4)(torch.zeros(2, 4)).shape == (2, 4)  # branches without weights


def test_what_cannot_be_balanced_is_refused():
    with pytest.raises(ValueError, match="a sample at least"):
        balance_loss(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="must be equal"):
        balance_loss(torch.ones(2, 3) / 3, torch.ones(2, 2) / 2)
    with pytest.raises(ValueError, match="top_k is 5"):
        mixture_of_branches([nn.Linear(4, 3), nn.Linear(4, 3)], 4, top_k=5)
