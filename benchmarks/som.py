"""The chapter on self-organizing maps beside its peers: MiniSom, scikit-learn.

Both trainings of a map start from nothing: they make the map, start its prototypes and learn. MiniSom learns with its
defaults; ours learns in batches from the plane of most variance. That both errors are no worse than MiniSom's is
tested in ``tests/som/test_self_organizing_map.py`` with these very settings.
"""

from __future__ import annotations

from importlib.metadata import version

import torch
from bench import Case
from minisom import MiniSom
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture

from nnvocab.som import (
    SOM,
    KMeansLayer,
    neighbour_pairs,
    quantization_error,
    soft_assignment_fused,
    topographic_error,
    u_matrix,
)

SETTINGS = {5_000: {"epochs": 4, "radius": (3.0, 0.4)}, 20_000: {"epochs": 8, "radius": (3.0, 0.4)}}
"""Steps of MiniSom -> how ours reaches both of its errors."""


def _trained(x: torch.Tensor, epochs: int, radius: tuple[float, float]) -> torch.Tensor:
    som = SOM((20, 20), x.shape[-1])
    som.init_weights(x, "pca")
    som.fit_batch(x, epochs, radius=radius)
    return som.weight


def cases() -> list[Case]:
    """Training to MiniSom's errors, the errors themselves, and the k-means layer's assignments."""
    data = load_digits().data / 16  # (1797, 64)
    x = torch.tensor(data, dtype=torch.float32)
    sizes = "digits 1797x64, 20x20 units"
    peer = f"minisom {version('minisom')}"
    sklearn = f"scikit-learn {version('scikit-learn')}"

    def minisom(steps: int) -> MiniSom:
        map_ = MiniSom(20, 20, 64, random_seed=0)
        map_.train(data, steps)
        return map_

    found = [
        Case(
            f"training to the errors of {steps:,} steps, {sizes}",
            "Self-organizing map",
            peer,
            lambda given=given: _trained(x, **given),
            lambda steps=steps: minisom(steps),
            backward=False,
            goal=0.05,
        )
        for steps, given in SETTINGS.items()
    ]
    other = minisom(500)
    som = SOM((20, 20), 64)
    som.weight.copy_(torch.tensor(other.get_weights().reshape(400, 64)))
    pairs = neighbour_pairs((20, 20))
    found += [
        Case(
            f"quantization error, {sizes}",
            "Quantization error",
            peer,
            lambda: quantization_error(x, som.weight),
            lambda: other.quantization_error(data),
            backward=False,
        ),
        Case(
            f"topographic error, {sizes}",
            "Topographic error",
            peer,
            lambda: topographic_error(x, som.weight, som.positions),
            lambda: other.topographic_error(data),
            backward=False,
        ),
        Case(
            "U-matrix, 20x20 units",
            "U-matrix",
            peer,
            lambda: u_matrix(som.weight, pairs),
            lambda: other.distance_map(scaling="mean"),
            backward=False,
        ),
    ]
    kmeans = KMeans(32, n_init=1, random_state=0).fit(data.astype("float32"))
    layer = KMeansLayer(32, 64, temperature=1.0)
    layer.centres.data = torch.tensor(kmeans.cluster_centers_)
    mixture = GaussianMixture(32, covariance_type="spherical", random_state=0, max_iter=1, init_params="random")
    mixture.fit(data.astype("float32"))
    centres = torch.tensor(mixture.means_, dtype=torch.float32)
    found += [
        Case(
            "nearest of 32 centres, digits 1797x64",
            "Differentiable k-means layer",
            sklearn,
            lambda: layer.symbols(x),
            lambda: kmeans.predict(data.astype("float32")),
            backward=False,
        ),
        Case(
            "posterior of 32 Gaussians, digits 1797x64",
            "Soft cluster assignment",
            sklearn,
            lambda: soft_assignment_fused(x, centres),
            lambda: mixture.predict_proba(data.astype("float32")),
            backward=False,
        ),
    ]
    return found
