"""The layer: held to sklearn's k-means where the temperature is low, its centres started, revived and trained."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from torch import nn
from torch.testing import assert_close

from nnvocab.som.kmeans_layer import KMeansLayer, kmeans_plus_plus


def digits():
    return torch.tensor(load_digits().data[:600] / 16)


@pytest.mark.oracle("differentiable-k-means-layer", by="peer: sklearn.cluster.KMeans")
def test_at_a_low_temperature_it_assigns_and_scores_as_sklearn_does():
    x = digits()
    theirs = KMeans(10, n_init=1, random_state=0).fit(x.numpy())
    layer = KMeansLayer(10, 64, temperature=1e-4).double()
    layer.centres.data = torch.tensor(theirs.cluster_centers_)
    assert_close(layer(x), nn.functional.one_hot(torch.tensor(theirs.labels_).long(), 10).double())
    assert (layer.clustering_loss(x) * len(x)).item() == pytest.approx(theirs.inertia_, rel=1e-4)
    assert_close(layer.outlier_score(x).sqrt(), torch.tensor(theirs.transform(x.numpy()).min(1)))


def test_at_a_low_temperature_a_newton_step_on_its_loss_is_a_step_of_lloyds():
    x = digits()
    start = x[:10].clone()
    theirs = KMeans(10, init=start.numpy(), n_init=1, max_iter=1, algorithm="lloyd").fit(x.numpy())
    layer = KMeansLayer(10, 64, temperature=1e-5).double()
    layer.centres.data = start.clone()
    layer.clustering_loss(x).backward()
    share = layer.usage(x)[:, None]  # the second derivative is twice the share of the inputs
    assert_close(start - layer.centres.grad / (2 * share), torch.tensor(theirs.cluster_centers_))


def test_trained_by_gradients_it_comes_near_to_the_inertia_of_sklearn():
    x = digits().float()
    best = KMeans(10, n_init=10, random_state=0).fit(x.numpy()).inertia_ / len(x)
    layer = KMeansLayer(10, 64, temperature=0.05)
    layer.init_centres(x, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        layer.clustering_loss(x).backward()
        optimizer.step()
    assert layer.outlier_score(x).mean() < 1.06 * best


def test_gradients_reach_the_centres_and_the_sub_network():
    layer = KMeansLayer(3, 4, encoder=nn.Linear(5, 4))
    layer(torch.randn(6, 5))[:, 0].sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in layer.parameters())


def test_any_module_can_be_the_sub_network():
    convolution = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert KMeansLayer(6, 4, encoder=convolution)(torch.randn(2, 1, 8, 8)).shape == (2, 6)


def test_k_means_plus_plus_draws_by_the_squared_distance():
    z = torch.tensor([[0.0], [1.0], [3.0]])
    counts = np.zeros(3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2000):
        first, second = kmeans_plus_plus(z, 2, generator=generator).flatten().tolist()
        if first == 0.0:
            counts[int((z.flatten() == second).nonzero())] += 1
    assert counts[0] == 0
    assert counts[2] / counts[1:].sum() == pytest.approx(0.9, abs=0.03)  # 9 : 1


@pytest.mark.parametrize("distance", ["squared", "euclidean", "manhattan", "cosine"])
def test_k_means_plus_plus_never_takes_a_point_twice(distance):
    z = torch.randn(8, 2, dtype=torch.float64)
    picked = kmeans_plus_plus(z, 8, distance, generator=torch.Generator().manual_seed(0))
    assert len({tuple(row) for row in picked.tolist()}) == 8


@pytest.mark.parametrize("method", ["k-means++", "sample"])
def test_centres_start_on_encoded_inputs(method):
    layer, x = KMeansLayer(5, 3, encoder=nn.Linear(4, 3)), torch.randn(20, 4)
    layer.init_centres(x, method, generator=torch.Generator().manual_seed(0))
    assert (torch.cdist(layer.centres, layer.encode(x)).amin(-1) < 1e-3).all()
    again = KMeansLayer(5, 3, encoder=layer.encoder)
    again.init_centres(x, method, generator=torch.Generator().manual_seed(0))
    assert_close(layer.centres, again.centres)


def test_dead_centres_are_found_and_moved_to_where_the_others_are_far():
    x = torch.cat([torch.zeros(50, 2), torch.full((50, 2), 10.0)]) + 0.1 * torch.randn(100, 2)
    layer = KMeansLayer(3, 2)
    layer.centres.data = torch.tensor([[0.0, 0.0], [500.0, 0.0], [900.0, 0.0]])
    assert layer.usage(x).tolist() == [1.0, 0.0, 0.0]
    assert layer.revive(x, generator=torch.Generator().manual_seed(0)).tolist() == [1, 2]
    assert (layer.usage(x) > 0).all()
    assert layer.revive(x).tolist() == []


def test_a_dead_centre_has_nowhere_to_go_where_every_input_lies_on_a_centre():
    layer = KMeansLayer(2, 2)
    layer.centres.data = torch.tensor([[1.0, 1.0], [5.0, 5.0]])
    with pytest.raises(ValueError, match="no place"):
        layer.revive(torch.ones(4, 2))


@pytest.mark.parametrize("shift", [0.0, 2000.0])
@pytest.mark.parametrize("distance", ["squared", "euclidean", "manhattan", "cosine"])
def test_symbols_are_the_numbers_of_the_least_distances(distance, shift):
    layer, x = KMeansLayer(6, 3, distance=distance), torch.randn(4, 50, 3) + shift
    layer.centres.data += shift
    found = layer.symbols(x)
    assert found.shape == (4, 50)
    apart = layer.distances(x)
    assert_close(apart.gather(-1, found[..., None])[..., 0], apart.amin(-1))
    assert_close(layer.usage(x), torch.bincount(found.flatten(), minlength=6) / 200)


def test_probabilities_do_not_tell_how_far_a_point_is_and_the_score_does():
    layer = KMeansLayer(2, 2)
    layer.centres.data = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    near, far = torch.tensor([[0.0, 0.0]]), torch.tensor([[-1000.0, 0.0]])
    assert layer(far).amax() > layer(near).amax() > 0.7
    assert layer.outlier_score(far) > 1e5 * (layer.outlier_score(near) + 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KMeansLayer(0, 2), "0 centres"),
        (lambda: KMeansLayer(2, 2, distance="chebyshev"), "distance is 'chebyshev'"),
        (lambda: KMeansLayer(2, 2, temperature=-1.0), "temperature is -1.0"),
        (lambda: KMeansLayer(2, 2, output="logits"), "output is 'logits'"),
        (lambda: KMeansLayer(2, 3)(torch.zeros(1, 2)), "the input has width 2"),
        (lambda: KMeansLayer(2, 3, encoder=nn.Linear(2, 4))(torch.zeros(1, 2)), "encoder returns has width 4"),
        (lambda: KMeansLayer(2, 2).init_centres(torch.zeros(0, 2)), "empty"),
        (lambda: KMeansLayer(2, 2).init_centres(torch.full((4, 2), torch.nan)), "NaN or infinity"),
        (lambda: KMeansLayer(3, 2).init_centres(torch.ones(9, 2)), "only 1 distinct"),
        (lambda: kmeans_plus_plus(torch.zeros(0, 2), 1), "empty"),
        (lambda: kmeans_plus_plus(torch.zeros(4), 1), r"\(B, D\)"),
        (lambda: kmeans_plus_plus(torch.rand(4, 2), 0), "num_clusters is 0"),
        (lambda: KMeansLayer(2, 2).init_centres(torch.full((4, 2), torch.inf), "sample"), "NaN or infinity"),
        (lambda: KMeansLayer(2, 2).revive(torch.rand(9, 2), 1.0), "give a smaller share"),
        (lambda: KMeansLayer(2, 2).revive(torch.zeros(0, 2)), "empty"),
        (lambda: KMeansLayer(3, 2).init_centres(torch.ones(2, 2), "sample"), "2 points"),
        (lambda: KMeansLayer(3, 2).init_centres(torch.ones(2, 2), "zeros"), "method is 'zeros'"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
