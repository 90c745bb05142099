"""Growing neural gas, held to a second writing of the algorithm with lists and sets."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.som.growing_neural_gas import GrowingNeuralGas


class ByHand:
    """The algorithm of the paper, step by step, with a dictionary of edges."""

    def __init__(self, a, b, insert_every, max_units, max_age):
        self.units, self.error, self.edges = {0: a.clone(), 1: b.clone()}, {0: 0.0, 1: 0.0}, {}
        self.insert_every, self.max_units, self.max_age, self.seen = insert_every, max_units, max_age, 0

    def neighbours(self, unit):
        return [next(iter(edge - {unit})) for edge in self.edges if unit in edge]

    def learn(self, x):
        self.seen += 1
        order = sorted(self.units, key=lambda u: float((self.units[u] - x).square().sum()))
        first, second = order[:2]
        for edge in self.edges:
            if first in edge:
                self.edges[edge] += 1
        self.error[first] += float((self.units[first] - x).square().sum())
        near = self.neighbours(first)
        self.units[first] = self.units[first] + 0.2 * (x - self.units[first])
        for unit in near:
            self.units[unit] = self.units[unit] + 0.006 * (x - self.units[unit])
        self.edges[frozenset((first, second))] = 0
        self.edges = {edge: age for edge, age in self.edges.items() if age <= self.max_age}
        for unit in [u for u in self.units if not self.neighbours(u)]:
            del self.units[unit], self.error[unit]
        self.error = {u: e * 0.995 for u, e in self.error.items()}
        if self.seen % self.insert_every == 0 and len(self.units) < self.max_units:
            worst = max(self.units, key=self.error.get)
            other = max(self.neighbours(worst), key=self.error.get)
            new = min(set(range(self.max_units)) - set(self.units))
            self.units[new] = (self.units[worst] + self.units[other]) / 2
            del self.edges[frozenset((worst, other))]
            self.edges[frozenset((worst, new))] = self.edges[frozenset((other, new))] = 0
            self.error[worst] *= 0.5
            self.error[other] *= 0.5
            self.error[new] = self.error[worst]


@pytest.mark.oracle("growing-neural-gas", by="brute force")
def test_it_is_the_algorithm_written_out_with_dictionaries():
    x = torch.rand(400, 2, dtype=torch.float64)
    x[200:] += 3.0
    gas = GrowingNeuralGas(2, 12, insert_every=20, max_age=8).double()
    gas.fit(x, 500, generator=torch.Generator().manual_seed(0))
    drawn = x[torch.randint(400, (502,), generator=torch.Generator().manual_seed(0))]
    hand = ByHand(drawn[0], drawn[1], 20, 12, 8)
    for row in drawn[2:]:
        hand.learn(row)
    assert set(hand.units) == set(torch.nonzero(gas.alive).flatten().tolist())
    for unit, weight in hand.units.items():
        assert_close(gas.weight[unit], weight)
        assert gas.error[unit].item() == pytest.approx(hand.error[unit])
    pairs = {frozenset(pair) for pair in torch.nonzero(gas.age >= 0).tolist()}
    assert pairs == set(hand.edges)
    assert all(int(gas.age[tuple(edge)]) == age for edge, age in hand.edges.items())


def parts(shot):
    """Number of connected parts of the graph."""
    left, count = set(range(len(shot.weight))), 0
    while left:
        count, reach = count + 1, [left.pop()]
        while reach:
            unit = reach.pop()
            near = {b if a == unit else a for a, b in shot.edges.tolist() if unit in (a, b)} & left
            left -= near
            reach += near
    return count


def test_the_graph_falls_into_as_many_parts_as_the_data():
    x = torch.rand(600, 2, generator=torch.Generator().manual_seed(0))
    x[200:400, 0] += 5.0
    x[400:, 1] += 5.0
    gas = GrowingNeuralGas(2, 24)
    history = gas.fit(x, 4000, generator=torch.Generator().manual_seed(1))
    assert parts(history[-1]) == 3


def test_on_a_ring_every_unit_has_two_neighbours_or_nearly():
    angle = torch.rand(500, generator=torch.Generator().manual_seed(0)) * 6.283
    x = torch.stack([angle.cos(), angle.sin()], dim=-1)
    shot = GrowingNeuralGas(2, 20).fit(x, 4000, generator=torch.Generator().manual_seed(1))[-1]
    assert abs(len(shot.edges) - len(shot.weight)) <= 2  # a ring has as many edges as units


def test_units_are_inserted_every_lambda_steps_until_there_is_no_room():
    x = torch.rand(300, 2)
    gas = GrowingNeuralGas(2, 8, insert_every=50, max_age=10_000)
    history = gas.fit(x, 600, record_every=50)
    assert [len(shot.weight) for shot in history[:8]] == [2, 3, 4, 5, 6, 7, 8, 8]
    assert not gas.insert()


def test_history_keeps_the_first_and_the_last_graph():
    shots = GrowingNeuralGas(2, 8).fit(torch.rand(100, 2), 25, record_every=10)
    assert [shot.step for shot in shots] == [0, 10, 20, 25]


def test_a_snapshot_numbers_the_living_units_anew_and_names_each_edge_once():
    gas = GrowingNeuralGas(1, 5)
    gas.weight.copy_(torch.arange(5.0)[:, None])
    gas.alive.copy_(torch.tensor([True, False, True, True, False]))
    for one, two in ((0, 2), (2, 3)):
        gas.age[one, two] = gas.age[two, one] = 4
    shot = gas.snapshot(7)
    assert shot.step == 7
    assert shot.weight.flatten().tolist() == [0, 2, 3]
    assert shot.edges.tolist() == [[0, 1], [1, 2]]


def test_a_stale_unit_is_deleted_and_its_place_used_again():
    gas = GrowingNeuralGas(1, 4, max_age=2)
    gas.weight[:3] = torch.tensor([[0.0], [1.0], [50.0]])
    gas.alive[:3] = True
    gas.age[0, 2] = gas.age[2, 0] = 0
    for _ in range(3):
        gas.adapt(torch.tensor([0.1]))
    assert gas.alive.tolist() == [True, True, False, False]
    assert gas.insert()
    assert gas.alive.tolist() == [True, True, True, False]


def test_the_nearest_living_unit_is_found():
    gas = GrowingNeuralGas(2, 5)
    gas.weight[4] = torch.tensor([9.0, 9.0])  # there is no such unit yet
    distance, unit = gas(torch.tensor([[9.0, 9.0]]))
    assert unit.item() < 2 and distance > 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GrowingNeuralGas(0), "features is 0"),
        (lambda: GrowingNeuralGas(2, 1), "max_units is 1"),
        (lambda: GrowingNeuralGas(2, insert_every=0), "insert_every is 0"),
        (lambda: GrowingNeuralGas(2, rate_winner=1.5), "rate_winner is 1.5"),
        (lambda: GrowingNeuralGas(2).fit(torch.zeros(0, 2), 5), "empty"),
        (lambda: GrowingNeuralGas(2).fit(torch.rand(4, 2), 0), "steps is 0"),
        (lambda: GrowingNeuralGas(2).adapt(torch.rand(4, 2)), "one input of shape"),
        (lambda: GrowingNeuralGas(2).adapt(torch.full((2,), torch.nan)), "NaN or infinity"),
        (lambda: GrowingNeuralGas(2).insert(), "no edge to split"),
        (lambda: GrowingNeuralGas(2).fit(torch.zeros(4, 3), 5), "as wide as the map"),
        (lambda: GrowingNeuralGas(2).fit(torch.zeros(4, 2), 5), "are the same"),
        (lambda: GrowingNeuralGas(2).fit(torch.full((4, 2), torch.nan), 5), "4 of 4 rows"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
