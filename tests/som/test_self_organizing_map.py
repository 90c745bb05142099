"""The map: one step held to MiniSom, batch forms to each other, and both errors to MiniSom's after training."""

import numpy as np
import pytest
import torch
from minisom import MiniSom
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from torch.testing import assert_close

from nnvocab.som.self_organizing_map import SOM, som_batch_step, som_batch_step_fused, som_step


def digits():
    return load_digits().data / 16  # (1797, 64), scaled to [0, 1]


@pytest.mark.oracle("self-organizing-map", by="peer: minisom.MiniSom")
@pytest.mark.parametrize("kind", ["gaussian", "mexican_hat"])
def test_one_online_step_is_that_of_minisom(kind):
    theirs = MiniSom(5, 4, 3, sigma=1.5, learning_rate=0.3, neighborhood_function=kind, random_seed=0)
    som = SOM((5, 4), 3, neighbourhood=kind).double()
    som.weight.copy_(torch.tensor(theirs.get_weights().reshape(20, 3)))
    for row in np.random.RandomState(0).rand(10, 3):
        theirs.update(row, theirs.winner(row), 0, 100)
        som.step(torch.tensor(row), 0.3, 1.5)
    assert_close(som.weight, torch.tensor(theirs.get_weights().reshape(20, 3)))


def test_one_step_is_the_three_lines_written_out():
    weight, x = torch.rand(6, 2, dtype=torch.float64), torch.rand(2, dtype=torch.float64)
    places = torch.tensor([[i, j] for i in range(2) for j in range(3)], dtype=torch.float64)
    best = min(range(6), key=lambda i: sum((x[c] - weight[i, c]) ** 2 for c in range(2)))
    for kind, h in (("gaussian", lambda d2: np.exp(-d2 / 2 / 0.9**2)), ("bubble", lambda d2: float(d2 <= 0.81))):
        expected = torch.stack(
            [w + 0.2 * h(float((places[i] - places[best]).square().sum())) * (x - w) for i, w in enumerate(weight)]
        )
        assert_close(som_step(weight, x, places, 0.2, 0.9, kind), expected)


@pytest.mark.parametrize("kind", ["gaussian", "bubble"])
def test_batch_step_is_the_weighted_mean_written_out(kind):
    som = SOM((3, 4), 2, neighbourhood=kind).double()
    x = torch.rand(40, 2, dtype=torch.float64)
    winner = torch.cdist(x, som.weight).argmin(-1)
    expected = som.weight.clone()
    for i in range(12):
        d2 = (som.positions[winner] - som.positions[i]).square().sum(-1)
        h = torch.exp(-d2 / 2) if kind == "gaussian" else (d2 <= 1).double()
        if h.sum() > 0:
            expected[i] = (h[:, None] * x).sum(0) / h.sum()
    assert_close(som_batch_step(som.weight, x, som.positions, 1.0, kind), expected)
    som.fit_batch(x, 1, radius=(1.0, 1.0))
    assert_close(som.weight, expected)


@pytest.mark.parametrize("kind", ["gaussian", "bubble"])
def test_fused_batch_step_agrees_on_the_value_and_on_every_gradient(kind):
    som = SOM((3, 4), 2).double()
    inputs = (som.weight.requires_grad_(), torch.rand(40, 2, dtype=torch.float64, requires_grad=True))
    weights = torch.randn(12, 2, dtype=torch.float64)
    plain, fused = (f(*inputs, som.positions, 0.8, kind) for f in (som_batch_step, som_batch_step_fused))
    assert_close(plain, fused)
    gradients = [torch.autograd.grad((y * weights).sum(), inputs, allow_unused=True) for y in (plain, fused)]
    assert_close(gradients[0][1], gradients[1][1])
    assert_close(*[g[0] if g[0] is not None else torch.zeros_like(som.weight) for g in gradients])


def test_with_a_tiny_radius_a_batch_step_is_a_step_of_lloyds_k_means():
    x = digits()
    start = x[:10].copy()
    theirs = KMeans(10, init=start, n_init=1, max_iter=1, algorithm="lloyd", tol=0)
    theirs.fit(x)
    som = SOM(10, 64).double()
    som.weight.copy_(torch.tensor(start))
    som.fit_batch(torch.tensor(x), 1, radius=(0.05, 0.05))
    assert_close(som.weight, torch.tensor(theirs.cluster_centers_))


@pytest.mark.parametrize("steps, epochs", [(5_000, 4), (20_000, 8)])
def test_batch_training_reaches_both_errors_of_minisom_on_the_digits(steps, epochs):
    """The very settings of benchmarks/som.py: MiniSom with its defaults, ours from the plane of most variance."""
    data = digits()
    x = torch.tensor(data, dtype=torch.float32)
    som = SOM((20, 20), 64)
    som.init_weights(x, "pca")
    som.fit_batch(x, epochs, radius=(3.0, 0.4))
    as_theirs = MiniSom(20, 20, 64)
    as_theirs._weights = som.weight.double().view(20, 20, 64).numpy()
    for train in ("train", "train_random")[: 2 if steps == 5_000 else 1]:
        theirs = MiniSom(20, 20, 64, random_seed=0)
        getattr(theirs, train)(data, steps)
        assert as_theirs.quantization_error(data) <= theirs.quantization_error(data)
        assert as_theirs.topographic_error(data) <= theirs.topographic_error(data)


@pytest.mark.parametrize("shape", [12, (6, 5), (4, 3, 3)])
@pytest.mark.parametrize("kind", ["gaussian", "bubble", "mexican_hat"])
def test_online_training_unfolds_a_map_of_any_dimension(shape, kind):
    x = torch.rand(300, 3)
    som = SOM(shape, 3, neighbourhood=kind)
    som.weight.mul_(0.1)
    before = som.quantization_error(x)
    trace = som.fit_online(x, 600, rate=(0.3, 0.02), radius=(1.5, 0.6), generator=torch.Generator().manual_seed(0))
    assert trace.shape == (600,)
    assert som.quantization_error(x) < before * (1 if kind == "mexican_hat" else 0.5)


def test_online_training_is_its_steps_one_after_the_other():
    x, seed = torch.rand(20, 2, dtype=torch.float64), torch.Generator().manual_seed(5)
    som = SOM((3, 3), 2, topology="hexagonal").double()
    weight = som.weight.clone()
    som.fit_online(x, 3, rate=(0.4, 0.1), radius=(2.0, 0.5), schedule="linear", generator=seed)
    drawn = torch.randint(20, (3,), generator=torch.Generator().manual_seed(5))
    for row, rate, radius in zip(x[drawn], (0.4, 0.25, 0.1), (2.0, 1.25, 0.5), strict=True):
        weight = som_step(weight, row, som.positions, rate, radius)
    assert_close(som.weight, weight)


def test_training_keeps_neighbours_near():
    x = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
    som = SOM((8, 8), 2, topology="hexagonal")
    assert som.topographic_error(x) > 0.5
    som.init_weights(x)
    som.fit_batch(x, 20)
    assert som.topographic_error(x) < 0.1
    assert som.quantization_error(x) < 0.06
    assert som.u_matrix().shape == (8, 8)


def test_constant_rates_keep_the_error_moving_and_decay_settles_it():
    x = torch.rand(500, 2, generator=torch.Generator().manual_seed(0))

    def wobble(rate, radius):
        som = SOM((6, 6), 2, generator=torch.Generator().manual_seed(1))
        errors = []
        for part in range(20):
            fraction = [decayed[0] * (decayed[1] / decayed[0]) ** (part / 19) for decayed in (rate, radius)]
            som.fit_online(
                x,
                100,
                rate=(fraction[0],) * 2,
                radius=(fraction[1],) * 2,
                generator=torch.Generator().manual_seed(part),
            )
            errors.append(som.quantization_error(x))
        return torch.stack(errors[-6:])

    constant, decaying = wobble((0.5, 0.5), (2.0, 2.0)), wobble((0.5, 0.01), (2.0, 0.5))
    assert decaying.std() < constant.std()
    assert decaying.mean() < constant.mean() / 1.5


def test_pca_start_spans_the_two_directions_of_most_variance():
    x = torch.randn(500, 3) * torch.tensor([5.0, 1.0, 0.1])
    som = SOM((9, 5), 3)
    som.init_weights(x, "pca")
    assert_close(som.weight.mean(0), x.mean(0))
    spread = som.weight.std(0)
    assert spread[0] > 3 * spread[1] > 9 * spread[2]


def test_the_other_starts_stay_within_the_data_and_follow_the_generator():
    x = torch.rand(30, 4)
    for method in ("sample", "random"):
        one, two = SOM((3, 3), 4), SOM((3, 3), 4)
        for som in (one, two):
            som.init_weights(x, method, generator=torch.Generator().manual_seed(7))
        assert_close(one.weight, two.weight)
        assert (one.weight >= x.amin(0)).all() and (one.weight <= x.amax(0)).all()
    one.init_weights(x, "sample")
    assert (one.weight[:, None] == x).all(-1).any(-1).all()


def test_forward_gives_the_distance_and_the_place_of_the_winner():
    som = SOM((4, 5), 3)
    distance, place = som(som.weight[[7]] + 0.001)
    assert place.tolist() == [[1, 2]]
    assert distance.item() == pytest.approx(0.001 * 3**0.5, rel=1e-2)


@pytest.mark.parametrize("given", [{"rate": 0.5}, {"radius": 2.0}])
def test_one_number_for_what_decays_is_refused(given):
    with pytest.raises(TypeError, match="must be a pair"):
        SOM((3, 3), 2).fit_online(torch.rand(4, 2), 3, **given)


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
def test_a_map_of_data_far_from_the_origin_is_the_map_of_the_same_data_near_it(topology):
    x = torch.rand(400, 2, generator=torch.Generator().manual_seed(0))
    near, far = SOM((5, 5), 2, topology=topology), SOM((5, 5), 2, topology=topology)
    for som, shift in ((near, 0.0), (far, 4096.0)):
        som.init_weights(x + shift)
        som.fit_batch(x + shift, 8)
    assert_close(far.weight - 4096.0, near.weight, rtol=0, atol=0.02)
    assert far.quantization_error(x + 4096.0) < 1.05 * near.quantization_error(x)


def test_training_that_is_refused_leaves_the_map_as_it_was():
    som, x = SOM((3, 3), 2), torch.rand(9, 2)
    before = som.weight.clone()
    with pytest.raises(ValueError, match="cosine"):
        som.fit_batch(x, 3, schedule="cosine")
    assert torch.equal(som.weight, before)


def test_each_input_has_exactly_one_winner():
    som = SOM((4, 5), 3)
    assert som(torch.rand(9, 3))[1].shape == (9, 2)


def test_a_row_that_is_not_finite_is_refused_in_training():
    x = torch.rand(10, 3)
    x[4, 1] = torch.nan
    for call in (lambda s: s.fit_batch(x), lambda s: s.fit_online(x, 5), lambda s: s.init_weights(x)):
        with pytest.raises(ValueError, match="1 of 10 rows"):
            call(SOM((3, 3), 3))
    with pytest.raises(ValueError, match="NaN or infinity"):
        SOM((3, 3), 3).step(x[4], 0.1, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SOM((3, 3), 0), "features is 0"),
        (lambda: SOM((3, 3), 2, neighbourhood="ricker"), "neighbourhood is 'ricker'"),
        (lambda: SOM((3, 3), 2, topology="torus"), "topology is 'torus'"),
        (lambda: SOM((3, 3), 2).fit_batch(torch.rand(4, 3)), "as wide as the map"),
        (lambda: SOM((3, 3), 2).fit_batch(torch.rand(0, 2)), "empty"),
        (lambda: SOM((3, 3), 2, neighbourhood="mexican_hat").fit_batch(torch.rand(4, 2)), "use fit_online"),
        (lambda: SOM((3, 3), 2).init_weights(torch.rand(4, 2), "zeros"), "method is 'zeros'"),
        (lambda: SOM((3, 3), 1).init_weights(torch.rand(4, 1)), "there are 1"),
        (lambda: SOM((3, 3), 2).fit_online(torch.rand(4, 2), 3, schedule="cosine"), "decay is 'cosine'"),
        (lambda: SOM((3, 3), 2).fit_online(torch.rand(4, 2), 0), "steps is 0"),
        (lambda: SOM((3, 3), 2).fit_batch(torch.rand(4, 2), 0), "epochs is 0"),
        (lambda: SOM((3, 3), 2).step(torch.rand(9, 2), 0.5, 1.0), "one input of shape"),
        (lambda: som_step(torch.rand(9, 2), torch.rand(9, 2), torch.rand(9, 2), 0.5, 1.0), "one input of shape"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
