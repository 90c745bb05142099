"""Reading prototypes."""

import pytest
import torch

from nnvocab.som.prototype_uses import read_prototypes


@pytest.mark.oracle("uses-of-prototype-layers", by="brute force")
@pytest.mark.parametrize("distance", ["squared", "manhattan"])
def test_readings_are_those_of_a_search_through_all_pairs(distance):
    z, centres = torch.randn(9, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)

    def d(a, b):
        return float(((a - b) ** 2).sum() if distance == "squared" else (a - b).abs().sum())

    found = read_prototypes(z, centres, distance)
    assert found.symbol.tolist() == [min(range(4), key=lambda k: d(row, centres[k])) for row in z]
    assert found.example.tolist() == [min(range(9), key=lambda b: d(z[b], c)) for c in centres]
    assert found.distance.tolist() == pytest.approx([min(d(row, c) for c in centres) for row in z])
    assert found.gap.tolist() == pytest.approx([min(d(row, c) for row in z) for c in centres])


def test_a_centre_on_an_input_has_no_gap():
    z = torch.randn(5, 2)
    found = read_prototypes(z, z[[3, 1]])
    assert found.example.tolist() == [3, 1]
    assert found.gap.tolist() == [0, 0]


def test_one_input_without_its_batch_is_refused():
    with pytest.raises(ValueError, match=r"z\[None\]"):
        read_prototypes(torch.zeros(2), torch.zeros(3, 2))


def test_no_inputs_are_refused():
    with pytest.raises(ValueError, match="z is empty"):
        read_prototypes(torch.zeros(0, 2), torch.zeros(3, 2))
