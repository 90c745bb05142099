"""The three outputs, hard and soft, and the gradients of each."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.som.kmeans_layer import KMeansLayer
from nnvocab.som.kmeans_output import kmeans_output
from nnvocab.som.soft_assignment import soft_assignment


def parts():
    z = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    centres = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    return z, centres, torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)


@pytest.mark.oracle("output-modes-of-a-k-means-layer", by="closed form")
def test_gradients_of_the_soft_outputs_are_those_worked_out_by_hand():
    """For l_k = -|z - c_k|^2 / tau: dl = p (g - <g, p>), dc_k = sum_b dl_k 2 (z - c_k) / tau, dz = -sum_k of it."""
    z, centres, g_wide, g_short = parts()
    tau = 0.8
    p = soft_assignment(z, centres, tau)
    for mode, g in (("probabilities", g_short), ("reconstruction", g_wide)):
        found = torch.autograd.grad((kmeans_output(z, centres, p, mode) * g).sum(), (z, centres), retain_graph=True)
        gp = g if mode == "probabilities" else g @ centres.mT
        gl = p * (gp - (gp * p).sum(-1, keepdim=True))  # (B, K)
        pull = gl[..., None] * 2 * (z[:, None] - centres) / tau  # (B, K, D)
        direct = torch.zeros_like(centres) if mode == "probabilities" else p.mT @ g
        assert_close(found, (-pull.sum(1), direct + pull.sum(0)))


def test_features_are_those_of_the_sub_network_and_leave_the_centres_alone():
    z, centres, g, _ = parts()
    y = kmeans_output(z, centres, soft_assignment(z, centres), "features")
    assert y is z
    dz, dc = torch.autograd.grad((y * g).sum(), (z, centres), allow_unused=True)
    assert_close(dz, g)
    assert dc is None


def test_straight_through_the_nearest_centre_passes_its_gradient_to_the_features_unchanged():
    z, centres, g, _ = parts()
    p = soft_assignment(z, centres)
    y = kmeans_output(z, centres, p, "reconstruction", straight_through=True)
    best = torch.cdist(z, centres).argmin(-1)
    assert_close(y, centres[best])
    dz, dc = torch.autograd.grad((y * g).sum(), (z, centres))
    assert_close(dz, g)
    assert_close(dc, torch.zeros_like(centres).index_add(0, best, g))


def test_straight_through_the_one_hot_vector_has_the_gradient_of_the_soft_one():
    z, centres, _, g = parts()
    p = soft_assignment(z, centres)
    y = kmeans_output(z, centres, p, straight_through=True)
    assert_close(y.sum(-1), torch.ones(6, dtype=torch.float64))
    assert set(y.detach().flatten().round(decimals=6).abs().tolist()) == {0.0, 1.0}
    hard, soft = (torch.autograd.grad((o * g).sum(), (z, centres), retain_graph=True) for o in (y, p))
    assert_close(hard, soft)


def test_a_bare_argmin_has_no_gradient():
    z, centres, _, _ = parts()
    assert not centres.detach()[torch.cdist(z, centres).argmin(-1)].requires_grad


def test_the_straight_through_value_is_that_of_a_vector_quantizer():
    peer = pytest.importorskip("vector_quantize_pytorch", reason="an optional peer")
    quantizer = peer.VectorQuantize(dim=3, codebook_size=4, decay=1.0, commitment_weight=0.0).eval()
    layer = KMeansLayer(4, 3, output="reconstruction", straight_through=True)
    layer.centres.data = quantizer.codebook.detach().clone()
    z = torch.randn(2, 5, 3)
    assert_close(layer(z), quantizer(z)[0])


def test_at_a_low_temperature_the_soft_reconstruction_is_the_nearest_centre():
    z, centres, _, _ = parts()
    soft, hard = (
        KMeansLayer(4, 3, temperature=1e-4, output="reconstruction", straight_through=s).double() for s in (False, True)
    )
    soft.centres.data = hard.centres.data = centres.data
    assert_close(soft(z), hard(z))


@pytest.mark.parametrize("shapes", [((1, 2), (3, 2), (1, 4)), ((1, 2), (3, 1), (1, 3)), ((2, 2), (3, 2), (1, 3))])
def test_shapes_that_do_not_fit_each_other_are_refused(shapes):
    with pytest.raises(ValueError, match="are needed"):
        kmeans_output(*(torch.zeros(s) for s in shapes))


def test_an_output_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="mode is 'nearest'"):
        kmeans_output(torch.zeros(1, 2), torch.zeros(3, 2), torch.zeros(1, 3), "nearest")
