"""Branches side by side."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.compose.branches import SequenceBranch
from nnvocab.compose.combine import combine
from nnvocab.compose.filtered import FilteredParallel
from nnvocab.compose.freezing import freeze, trainable
from nnvocab.compose.gate import Gate
from nnvocab.compose.observers import Recorder, observe
from nnvocab.compose.parallel import Parallel
from nnvocab.compose.sequential import Sequential


def three(C=4, sizes=(3, 3, 3)):
    return [nn.Linear(C, n) for n in sizes]


@pytest.mark.oracle("parallel-layer", by="brute force")
def test_is_each_branch_on_the_whole_input_combined_by_hand():
    branches, x = three(), torch.randn(2, 4)
    a, b, c = (branch(x) for branch in branches)
    gate = Gate(nn.Linear(4, 3))
    w = gate(x)
    cells = [(0, 0), (0, 1), (1, 1)]
    by_hand = torch.zeros(2, 2, 2, 1, 3)
    by_hand[:, 0, 0, 0], by_hand[:, 0, 1, 0], by_hand[:, 1, 1, 0] = a, b, c
    assert_close(Parallel(branches)(x), torch.cat([a, b, c], 1))
    assert_close(Parallel(branches, "add")(x), a + b + c)
    assert_close(Parallel(branches, "avg")(x), (a + b + c) / 3)
    assert_close(Parallel(branches, "filter", gate=gate)(x), w[:, :1] * a + w[:, 1:2] * b + w[:, 2:] * c)
    assert_close(Parallel(branches, "grid_scatter", grid=(2, 2), positions=cells)(x), by_hand)


def test_every_branch_sees_the_whole_input_and_their_gradients_add_up():
    branches, seen = three(), []
    for branch in branches:
        branch.register_forward_pre_hook(lambda m, a: seen.append(tuple(a[0].shape)))
    x = torch.randn(2, 4, requires_grad=True)
    y = Parallel(branches)(x)
    assert seen == [(2, 4)] * 3
    g = torch.randn(2, 9)
    (whole,) = torch.autograd.grad(y, x, g)
    parts = [torch.autograd.grad(b(x), x, g[:, 3 * i : 3 * i + 3])[0] for i, b in enumerate(branches)]
    assert_close(whole, parts[0] + parts[1] + parts[2])


def test_layers_of_any_kind_stand_side_by_side():
    x = torch.randn(2, 10, 64)
    layers = [
        SequenceBranch(nn.Linear(64, 32)),
        SequenceBranch(nn.LSTM(64, 32, batch_first=True)),
        SequenceBranch(nn.MultiheadAttention(64, 4, batch_first=True)),
    ]
    layer = Parallel(layers)
    assert layer(x).shape == (2, 128) and layer.output_shape((10, 64)) == (128,)
    for branch in layers:
        branch.take = "flat"
    assert layer(x).shape == (2, 10 * 128) and layer.output_shape((10, 64)) == (1280,)


def test_pictures_are_joined_along_their_channels():
    layer = Parallel([nn.Conv2d(3, 4, 1), nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(3, 1, 1)], dim=1)
    assert layer(torch.randn(2, 3, 6, 6)).shape == (2, 15, 6, 6) and layer.output_shape((3, 6, 6)) == (15, 6, 6)


@pytest.mark.parametrize("mode", ["concat", "add", "avg", "filter", "grid_scatter"])
@pytest.mark.parametrize("pad", [False, True])
def test_shapes_are_known_without_computing(mode, pad):
    sizes = (3, 2, 3) if pad else (3, 3, 3)
    more = {
        "filter": {"gate": Gate(nn.Linear(4, 3))},
        "grid_scatter": {"grid": (3, 1), "positions": [(0, 0), (1, 0), (2, 0)]},
    }
    layer = Parallel(three(sizes=sizes), mode, pad=pad, **more.get(mode, {}))
    assert layer.output_shape((4,)) == tuple(layer(torch.zeros(2, 4)).shape[1:])


def nested():
    inner = FilteredParallel(three(), Gate(nn.Linear(4, 3)))
    return Parallel([inner, nn.Linear(4, 2), SequenceBranch(nn.LSTM(4, 3, batch_first=True))])


def test_nested_layers_recurse_in_all_that_they_do():
    model, x = nested(), torch.randn(2, 4)
    inner, dense, lstm = model.branches
    assert_close(model(x), combine([inner(x), dense(x), lstm(x)]))
    model(x).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    other = nested()
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    assert_close(other(x), model(x))
    recorder = Recorder()
    with observe(model, recorder):
        model(x)
    assert "branches.0.branches.2" in recorder.paths() and "branches.0.gate" in recorder.paths()
    freeze(model, keep=[inner.gate])
    assert set(trainable(model)) == {"branches.0.gate.layer.weight", "branches.0.gate.layer.bias"}


def test_frozen_branches_hand_gradients_on():
    upstream = nn.Linear(4, 4)
    model = Sequential(upstream, Parallel([freeze(nn.Linear(4, 2)), nn.Linear(4, 2)]))
    model(torch.randn(3, 4)).square().sum().backward()
    assert upstream.weight.grad.abs().max() > 0
    assert set(trainable(model[1])) == {"branches.1.weight", "branches.1.bias"}


def test_skipping_zeros_changes_nothing_but_the_work():
    gate = Gate(nn.Linear(4, 3), kind="sparsemax", temperature=0.1)
    branches, x = three(), torch.randn(8, 4)
    assert_close(
        Parallel(branches, "filter", gate=gate, skip_zeros=True)(x), Parallel(branches, "filter", gate=gate)(x)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "sum"}, "concat, add, avg, grid_scatter, filter"),
        ({"mode": "filter"}, "needs gate="),
        ({"mode": "add", "gate": nn.Linear(4, 3)}, "leave the gate out"),
        ({"mode": "grid_scatter"}, "needs grid="),
        ({"mode": "grid_scatter", "grid": (2, 2)}, "needs grid="),
        ({"mode": "add", "grid": (2, 2)}, "leave it out"),
        ({"mode": "grid_scatter", "grid": (2, 2), "positions": [(0, 0)]}, "1 positions for 3 branches"),
        ({"mode": "filter", "gate": Gate(nn.Linear(4, 2))}, "2 outputs for 3 branches"),
        ({"skip_zeros": True}, "needs mode='filter'"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Parallel(three(), **options)


def test_branches_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="no branch"):
        Parallel([])
    with pytest.raises(TypeError, match="branch 0 is a str"):
        Parallel("concat")
    with pytest.raises(ValueError, match="branch 1: Linear cannot take"):
        Parallel([nn.Linear(4, 2), nn.Linear(5, 2)]).output_shape((4,))
    with pytest.raises(ValueError, match="pad=True"):
        Parallel(three(sizes=(3, 2, 3)), "add")(torch.zeros(1, 4))


def test_attention_needs_a_wrapper_and_a_linear_layer_is_no_gate():
    with pytest.raises(TypeError, match="branch 1 is a MultiheadAttention.*SequenceBranch"):
        Parallel([nn.Linear(4, 4), nn.MultiheadAttention(4, 2)])
    with pytest.raises(ValueError, match=r"returns logits.*Gate\(layer\)"):
        Parallel(three(), "filter", gate=nn.Linear(4, 3))


class Two(nn.Module):
    """A gate that always returns two weights, and does not say so before."""

    def forward(self, x):
        return x.new_full((len(x), 2), 0.5)


@pytest.mark.parametrize("skip", [False, True])
def test_a_gate_with_another_number_of_weights_is_refused_when_it_runs(skip):
    with pytest.raises(ValueError, match="2 weights for 3 branches"):
        Parallel(three(), "filter", gate=Two(), skip_zeros=skip)(torch.zeros(2, 4))


def test_without_its_gate_a_parallel_layer_does_not_skip():
    with pytest.raises(ValueError, match="without pad"):
        Parallel(three(), "filter", gate=Gate(nn.Linear(4, 3)), pad=True, skip_zeros=True)
    with pytest.raises(ValueError, match="leave it out"):
        Parallel(three(), positions=[(0, 0), (0, 1), (1, 0)])


def test_every_kind_of_layer_may_be_a_branch():
    from nnvocab.layers import SwiGLUFeedForward
    from nnvocab.normalization import RMSNorm
    from nnvocab.som import KMeansLayer

    C, x = 8, torch.randn(2, 5, 8)
    kinds = [
        *(nn.Linear(C, 3), nn.RNN(C, 3, batch_first=True), nn.GRU(C, 3, batch_first=True)),
        *(nn.MultiheadAttention(C, 2, batch_first=True), SwiGLUFeedForward(C, 16), nn.LayerNorm(C), RMSNorm(C)),
        *(KMeansLayer(4, C), Sequential(nn.Linear(C, 6), nn.Tanh()), Parallel([nn.Linear(C, 1), nn.Identity()])),
    ]
    convolution = Sequential(nn.Conv1d(5, 2, 3), nn.Flatten())  # the five steps as channels: (2, 5, 8) to (2, 2 * 6)
    layer = Parallel([*(SequenceBranch(kind) for kind in kinds), convolution])
    widths = [3, 3, 3, 8, 8, 8, 8, 4, 6, 9, 12]
    y = layer(x)
    assert y.shape == (2, sum(widths)) and layer.output_shape((5, 8)) == (sum(widths),)
    for part, branch in zip(y.split(widths, dim=1), layer.branches, strict=True):
        assert_close(part, branch(x))
    y.square().sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
