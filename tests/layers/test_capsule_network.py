"""What only the capsule network must hold."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.layers.capsule_network import CapsuleDecoder, CapsuleNetwork
from nnvocab.layers.capsules import margin_loss, route, squash


@pytest.mark.oracle("capsule-network", by="brute force")
def test_is_its_parts_votes_and_routing_written_out():
    network = CapsuleNetwork((1, 7, 8), 3, channels=4, capsule_types=2, primary_dim=4, capsule_dim=5)
    x = torch.rand(2, 1, 7, 8)
    maps = network.primary(F.relu(network.first(x)))  # (2, 8, 2, 2): stride 2 over 5 x 6 places
    assert maps.shape == (2, 8, 2, 2)
    parts = [maps[:, 4 * t : 4 * t + 4, r, c] for t in range(2) for r in range(2) for c in range(2)]
    u = squash(torch.stack(parts, dim=1))  # (2, I, 4)
    votes = torch.zeros(2, 8, 3, 5)
    for i in range(8):
        for j in range(3):
            votes[:, i, j] = u[:, i] @ network.classes.weight[i, j].T
    wholes, couplings = route(votes, 3)
    out = network(x, torch.tensor([0, 2]))
    assert_close(out.capsules, wholes)
    assert_close(out.lengths, wholes.norm(dim=-1))
    assert_close(out.couplings, couplings)


def test_the_decoder_sees_the_chosen_capsule_alone():
    decoder, capsules, target = CapsuleDecoder(3, 4, (1, 6, 6)), torch.randn(2, 3, 4), torch.tensor([1, 2])
    other = capsules.clone()
    other[0, 0] += 1.0
    other[1, :2] -= 1.0
    assert_close(decoder(capsules, target), decoder(other, target))
    changed = capsules.clone()
    changed[0, 1] += 1.0
    assert not torch.allclose(decoder(capsules, target)[0], decoder(changed, target)[0])


def test_without_a_target_the_longest_capsule_is_drawn():
    network, x = CapsuleNetwork((1, 6, 6), 3, channels=4), torch.rand(4, 1, 6, 6)
    out = network(x)
    assert_close(out.reconstruction, network(x, out.lengths.argmax(1)).reconstruction)
    assert (out.lengths < 1).all() and (out.reconstruction >= 0).all() and (out.reconstruction <= 1).all()


def test_loss_is_the_margin_loss_and_a_little_of_the_drawing():
    network, x, target = CapsuleNetwork((1, 6, 6), 3, channels=4), torch.rand(4, 1, 6, 6), torch.tensor([0, 1, 2, 0])
    out = network(x, target)
    error = sum(float((out.reconstruction[n] - x[n]).square().sum().detach()) for n in range(4)) / 4
    assert_close(network.loss(x, target), margin_loss(out.lengths, target) + 0.0005 * error)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="too small for two convolutions"):
        CapsuleNetwork((1, 4, 4))
    with pytest.raises(ValueError, match="must be \\(channels, height, width\\)"):
        CapsuleNetwork((8, 8))
    with pytest.raises(ValueError, match="needs \\(batch, 1, 8, 8\\)"):
        CapsuleNetwork((1, 8, 8))(torch.zeros(2, 8, 8))


def test_five_pixels_a_side_are_enough_and_four_are_not():
    assert CapsuleNetwork((1, 5, 5))(torch.rand(2, 1, 5, 5)).lengths.shape == (2, 10)
    for shape in ((1, 5, 4), (1, 4, 5)):
        with pytest.raises(ValueError, match="at least 5 pixels"):
            CapsuleNetwork(shape)


def test_sizes_are_those_that_are_said():
    network = CapsuleNetwork((1, 8, 8))
    assert network.classes.weight.shape == (8 * 2 * 2, 10, 16, 8)  # kinds at 2 x 2 places, classes, widths
    wide = [layer.out_features for layer in network.decoder.layers if hasattr(layer, "out_features")]
    assert wide == [64, 128, 64]


def test_a_capsule_of_length_zero_has_a_length_and_a_gradient():
    network = CapsuleNetwork((1, 6, 6), 3, channels=4)
    torch.nn.init.zeros_(network.classes.weight)  # no part votes for anything
    lengths = network(torch.rand(2, 1, 6, 6)).lengths
    lengths.sum().backward()
    assert_close(lengths, torch.zeros(2, 3), atol=1e-5, rtol=0)
    assert network.classes.weight.grad.isfinite().all()
