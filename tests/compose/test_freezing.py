"""What is frozen stands still, whatever the optimizer; what passes through still learns."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.compose.branches import SequenceBranch
from nnvocab.compose.filtered import FilteredParallel
from nnvocab.compose.freezing import freeze, trainable, unfreeze
from nnvocab.compose.gate import Gate
from nnvocab.compose.parallel import Parallel
from nnvocab.compose.sequential import Sequential


def train_some(model, optimizer, steps=5):
    model.train()
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=False)
        model(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()


@pytest.mark.oracle("freezing-layers", by="brute force")
@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.5),
    ],
)
def test_neither_momentum_nor_decay_nor_statistics_move_what_is_frozen(make):
    model = Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2))
    optimizer = make(model.parameters())
    train_some(model, optimizer)  # momentum and gradients are there
    freeze(model, keep=[model[3]])
    before = copy.deepcopy(model.state_dict())
    train_some(model, optimizer)
    after = model.state_dict()
    still = [name for name in before if torch.equal(before[name], after[name])]
    assert set(before) - set(still) == {"3.weight", "3.bias"}


def test_a_zero_gradient_is_not_enough():
    weight = nn.Parameter(torch.ones(()))
    weight.grad = torch.zeros(())
    torch.optim.AdamW([weight], lr=1.0, weight_decay=0.01).step()
    assert_close(weight.item(), 0.99)
    weight = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    weight.grad = torch.ones(())
    optimizer.step()
    at = weight.item()
    weight.grad = torch.zeros(())
    optimizer.step()
    assert weight.item() < at


def test_the_gradient_passes_through():
    frozen = freeze(nn.Linear(3, 2))
    upstream = nn.Linear(4, 3)
    frozen(upstream(torch.randn(5, 4))).sum().backward()
    assert upstream.weight.grad.abs().max() > 0 and frozen.weight.grad is None
    x = torch.randn(5, 3, requires_grad=True)
    assert_close(torch.autograd.grad(frozen(x).sum(), x)[0], frozen.weight.sum(0).expand(5, 3))


def test_everything_inside_is_frozen_the_inner_gate_too():
    inner = FilteredParallel([nn.Linear(4, 2), nn.Linear(4, 2)], Gate(nn.Linear(4, 2)))
    model = Sequential(Parallel([inner, Sequential(nn.Linear(4, 3), nn.LSTM(3, 2))]), nn.Identity())
    freeze(model[0])
    assert trainable(model) == {}
    freeze(unfreeze(model), keep=[inner.gate])
    assert trainable(model) == {
        "0.branches.0.gate.layer.weight": 8,
        "0.branches.0.gate.layer.bias": 2,
    }


def test_unfreezing_undoes_it():
    model = freeze(Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)))
    model.train()
    model(torch.randn(8, 4))
    assert model[1].num_batches_tracked == 0
    unfreeze(model)
    model(torch.randn(8, 4))
    assert model[1].num_batches_tracked == 1 and len(trainable(model)) == 4
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_a_copy_of_a_frozen_module_is_frozen():
    model = copy.deepcopy(freeze(nn.BatchNorm1d(3)))
    model.train()
    model(torch.randn(4, 3))
    assert model.num_batches_tracked == 0


def test_what_is_not_inside_cannot_be_kept():
    with pytest.raises(ValueError, match="not inside"):
        freeze(nn.Linear(2, 2), keep=[nn.ReLU()])
    for function in (freeze, unfreeze):
        with pytest.raises(TypeError, match=r"must be an nn.Module"):
            function(torch.zeros(2))


def test_a_frozen_lstm_drops_nothing_and_passes_its_gradient():
    lstm = freeze(nn.LSTM(4, 4, num_layers=2, dropout=0.9, batch_first=True))
    model, x = Sequential(nn.Linear(3, 4), SequenceBranch(lstm)), torch.randn(2, 5, 3)
    quiet = model.eval()(x)
    assert_close(model.train()(x), quiet)
    assert lstm.training  # cuDNN passes a gradient in this mode alone
    model(x).sum().backward()
    assert model[0].weight.grad.abs().max() > 0 and all(p.grad is None for p in lstm.parameters())
    assert freeze(lstm) is lstm and unfreeze(lstm).dropout == 0.9 and trainable(lstm)


def test_what_contains_the_part_that_is_kept_still_trains_as_a_whole():
    model = Sequential(Sequential(nn.Dropout(0.5), nn.Linear(4, 4)), nn.Dropout(0.5))
    freeze(model, keep=[model[0][1]])
    model.train()
    model(torch.randn(2, 4))
    assert model.training and model[0].training and model[0][1].training
    assert not model[0][0].training and not model[1].training
