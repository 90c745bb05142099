from __future__ import annotations

import pytest
import torch
from torch import nn

from nnvocab.compose import Cyclic, Graph, Recurrent


@pytest.mark.oracle("cyclic-topology", by="closed form")
def test_turns_of_a_linear_map_are_the_power_of_its_matrix():
    layer = nn.Linear(4, 4, bias=False, dtype=torch.float64)
    x = torch.randn(3, 4, dtype=torch.float64)
    expected = x @ torch.linalg.matrix_power(layer.weight.T, 5)
    torch.testing.assert_close(Cyclic([layer], 5)(x), expected)


def test_a_cycle_has_the_parameters_of_one_turn_and_the_gradient_of_all():
    layer = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    cycle = Cyclic([layer], 3)
    assert sum(p.numel() for p in cycle.parameters()) == 1
    cycle(torch.ones(1, 1, dtype=torch.float64)).backward()
    torch.testing.assert_close(layer.weight.grad, 3 * layer.weight.detach() ** 2)  # d w^3 / d w


def test_one_turn_is_the_row_itself():
    row = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 3))
    x = torch.randn(2, 3)
    torch.testing.assert_close(Cyclic(list(row), 1)(x), row(x))


@pytest.mark.oracle("recurrent-topology", by="peer: torch")
def test_two_lstm_layers_are_torchs_lstm_of_two_layers():
    torch.manual_seed(0)
    both = nn.LSTM(4, 3, num_layers=2, batch_first=True)
    one, two = nn.LSTM(4, 3, batch_first=True), nn.LSTM(3, 3, batch_first=True)
    for layer, made in ((0, one), (1, two)):
        for name, p in made.named_parameters():
            p.data.copy_(getattr(both, name.replace("l0", f"l{layer}")))
    x = torch.randn(2, 5, 4)
    y, (h, c) = both(x)
    ours, states = Recurrent([one, two])(x)
    torch.testing.assert_close(ours, y)
    torch.testing.assert_close(torch.cat([s[0] for s in states]), h)
    torch.testing.assert_close(torch.cat([s[1] for s in states]), c)


def test_reading_in_two_parts_gives_what_reading_at_once_gives():
    net = Recurrent([nn.GRU(4, 3, batch_first=True), nn.Linear(3, 3), nn.RNN(3, 2, batch_first=True)])
    x = torch.randn(2, 7, 4)
    whole, _ = net(x)
    first, states = net(x[:, :3])
    second, _ = net(x[:, 3:], states)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    assert states[1] is None


@pytest.mark.oracle("graph-topology", by="closed form")
def test_a_diamond_is_the_expression_written_out():
    a, b, c, d = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 5), nn.Bilinear(3, 5, 2)
    nodes = {"d": (d, ["b", "c"]), "b": (b, ["a"]), "c": (c, ["a"]), "a": (a, ["input"])}  # in no order
    x = torch.randn(3, 4)
    torch.testing.assert_close(Graph(nodes)(x), d(b(a(x)), c(a(x))))


def test_a_node_runs_once_however_many_take_its_value():
    calls = []
    a = nn.Identity()
    a.register_forward_hook(lambda *_: calls.append(1))
    nodes = {"a": (a, ["input"]), "b": (nn.Identity(), ["a"]), "c": (nn.Bilinear(2, 2, 1), ["a", "b"])}
    Graph(nodes)(torch.ones(1, 2))
    assert len(calls) == 1


def test_the_output_may_be_named():
    nodes = {"a": (nn.Linear(2, 3), ["input"]), "b": (nn.Linear(3, 3), ["a"])}
    assert Graph(nodes, "b")(torch.ones(1, 2)).shape == (1, 3)


@pytest.mark.parametrize(
    ("nodes", "output", "text"),
    [
        ({}, None, "no layer was given"),
        ({"input": (nn.Identity(), ["input"])}, None, "rename it"),
        ({"a": (nn.Identity(), [])}, None, "takes nothing"),
        ({"a": (nn.Identity(), ["z"])}, None, "'z', which is no node; there is input, a"),
        (
            {"a": (nn.Identity(), ["b"]), "b": (nn.Identity(), ["a"])},
            None,
            r"a -> b -> a form a cycle|b -> a -> b form a cycle",
        ),
        ({"a": (nn.Identity(), ["input"]), "b": (nn.Identity(), ["input"])}, None, "say which one is the output"),
        ({"a": (nn.Identity(), ["input"])}, "z", "'z', which is no node"),
        ({"a": (nn.Identity(), ["input"]), "b": (nn.Identity(), ["input"])}, "a", "join or drop them"),
    ],
)
def test_a_graph_that_cannot_be_computed_is_refused(nodes, output, text):
    with pytest.raises(ValueError, match=text):
        Graph(nodes, output)


def test_bad_cycles_and_rows_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Cyclic([nn.Identity()], 0)
    with pytest.raises(ValueError, match="no layer was given"):
        Cyclic([], 1)
    with pytest.raises(TypeError, match="layer 0 is a str"):
        Recurrent(["lstm"])
    with pytest.raises(ValueError, match=r"must keep its shape: let the last layer give 3 features"):
        Cyclic([nn.Linear(3, 4)], 2)(torch.ones(1, 3))
    with pytest.raises(ValueError, match="3 states were given, but there are 1"):
        Recurrent([nn.GRU(2, 2)])(torch.ones(1, 2), (None, None, None))
