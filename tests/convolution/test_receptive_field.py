"""The rule must give what the gradient shows."""

import pytest
import torch
from torch import nn

from nnvocab.convolution.receptive_field import measured_receptive_field, receptive_field

STACKS = [
    [(3, 1, 1)],
    [(3, 1, 1), (3, 1, 1)],
    [(3, 1, 1), (3, 1, 2), (3, 1, 4), (3, 1, 8)],
    [(5, 2, 1), (3, 1, 1)],
    [(3, 2, 1), (2, 2, 1), (3, 1, 2)],
]


@pytest.mark.oracle("receptive-field", by="brute force")
@pytest.mark.parametrize("layers", STACKS, ids=str)
def test_is_the_extent_of_inputs_that_change_one_output(layers):
    model = nn.Sequential(*(nn.Conv1d(1, 1, k, stride=s, dilation=d) for k, s, d in layers)).double()
    x = torch.randn(1, 1, 60, dtype=torch.float64)
    before = model(x)
    middle = before.shape[-1] // 2
    moved = []
    for i in range(60):
        changed = x.clone()
        changed[..., i] += 1
        if not torch.equal(model(changed)[..., middle], before[..., middle]):
            moved.append(i)
    field, jump = receptive_field(layers)
    assert moved[-1] - moved[0] + 1 == field
    assert measured_receptive_field(model, x)[0] == (field,)
    ((first, _, _), *rest) = layers
    assert jump == torch.tensor([s for _, s, _ in layers]).prod()


def test_doubled_dilations_double_the_field():
    fields = [receptive_field([(3, 1, 2**i) for i in range(depth)])[0] for depth in range(1, 7)]
    assert fields == [2 ** (depth + 1) - 1 for depth in range(1, 7)]


@pytest.mark.parametrize("layer", [(3, 1), (3, 0, 1), (2.5, 1, 1), 3])
def test_layers_that_are_not_three_numbers_are_refused(layer):
    with pytest.raises(ValueError, match="layer 1 is .* but needs"):
        receptive_field([(3, 1, 1), layer])


def test_an_output_that_sees_nothing_is_refused():
    with pytest.raises(ValueError, match="does not depend on the input"):
        measured_receptive_field(lambda x: torch.relu(-x.abs() - 1), torch.randn(1, 1, 5))


def test_an_output_without_positions_is_refused():
    with pytest.raises(ValueError, match="before it is flattened"):
        measured_receptive_field(nn.Flatten(), torch.randn(1, 1, 5))


def test_the_strength_is_the_size_of_the_gradient_over_batch_and_channels():
    x = torch.randn(3, 2, 7)
    _, strength = measured_receptive_field(lambda z: z[:, :1] - 2 * z[:, 1:], x)
    assert strength.tolist() == [0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0]
