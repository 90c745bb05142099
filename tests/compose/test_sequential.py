"""Layers in a row."""

import pickle

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.compose.parallel import Parallel
from nnvocab.compose.residual import Residual
from nnvocab.compose.sequential import Sequential


@pytest.mark.oracle("sequential-layer", by="peer: torch")
def test_is_the_container_of_torch_with_the_same_names():
    theirs = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    ours = Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(4, 6, requires_grad=True)
    assert_close(ours(x), theirs(x))
    grads = [torch.autograd.grad(m(x).square().sum(), [x, *m.parameters()]) for m in (ours, theirs)]
    assert_close(*grads)


def test_three_layers_of_a_branch_train():
    branch = Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 32))
    assert branch(torch.zeros(2, 64)).shape == (2, 32)
    branch(torch.randn(2, 64)).sum().backward()
    assert all(p.grad is not None for p in branch.parameters())


def test_sizes_are_found_with_the_first_call():
    model = Sequential(nn.LazyLinear(512), nn.ReLU(), nn.LazyLinear(256), nn.ReLU(), nn.LazyLinear(10))
    assert model.output_shape((784,)) == (10,)
    model(torch.zeros(2, 784))
    assert model[0].in_features == 784 and model[2].in_features == 512 and model.output_shape((784,)) == (10,)


def test_nests_in_parallel_and_residual_and_keeps_its_values_when_stored():
    model = Sequential(
        Residual(Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))),
        Parallel([nn.Linear(4, 2), Sequential(nn.Identity())]),
    )
    x = torch.randn(3, 4)
    assert model.output_shape((4,)) == (6,)
    assert_close(pickle.loads(pickle.dumps(model))(x), model(x))


def test_parts_are_reached_by_number_and_by_slice():
    layers = [nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)]
    model = Sequential(*layers)
    assert len(model) == 3 and list(model) == layers and model[-1] is layers[-1]
    assert list(model[:2]) == layers[:2]


def test_a_layer_that_does_not_fit_is_named():
    model = Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(6, 2))
    with pytest.raises(ValueError, match="layer 2, Linear.*was given a tensor of shape"):
        model(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="layer 2: Linear cannot take"):
        model.output_shape((4,))


def test_what_is_no_layer_is_refused():
    with pytest.raises(ValueError, match="no layer"):
        Sequential()
    with pytest.raises(TypeError, match="unpack the list"):
        Sequential([nn.ReLU()])
    with pytest.raises(TypeError, match="layer 0 is a function"):
        Sequential(lambda x: x)


def test_other_errors_pass_as_they_are():
    class Fails(nn.Module):
        def forward(self, x):
            raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="^out of luck$"):
        Sequential(Fails())(torch.zeros(1))


def test_a_layer_that_returns_several_things_is_named_by_the_next():
    with pytest.raises(TypeError, match="layer 1, Linear.*given a tuple.*SequenceBranch"):
        Sequential(nn.LSTM(4, 8), nn.Linear(8, 2))(torch.zeros(2, 4))
    y, state = Sequential(nn.Linear(4, 4), nn.LSTM(4, 8))(torch.zeros(2, 4))  # as the last it may
    assert y.shape == (2, 8) and len(state) == 2

    class Fails(nn.Module):
        def forward(self, x):
            raise TypeError("dict: no")

    with pytest.raises(TypeError, match="^dict: no$"):
        Sequential(Fails())(torch.zeros(1))
