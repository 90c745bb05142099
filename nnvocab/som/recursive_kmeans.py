"""K-means layers inside k-means layers: clusters of clusters, a taxonomy that is learned end to end."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.som.kmeans_layer import KMeansLayer
from nnvocab.som.soft_assignment import centre_distance
from nnvocab.vocabulary import Example, entry


@entry(
    name="Recursive k-means layers",
    aliases=("Recursive (stacked) KMeans layers", "hierarchical prototypes", "concept taxonomy"),
    ids=("loom_kmeans_recursive",),
    page="prototypes",
    kind="block",
    paper="li2018deep",
    evidence="speculative",
    related=("Differentiable k-means layer", "Uses of prototype layers"),
    example=lambda: Example(RecursiveKMeans(3, (4, 2), encoder=nn.Linear(5, 3)), (torch.randn(2, 5),)),
)
class RecursiveKMeans(nn.Module):
    r"""Stack of k-means layers in which each one is the sub-network of the next.

    .. math::
        z_1 = f(x),\qquad z_{l+1} = \sum_k p_k^{(l)} c_k^{(l)},\qquad
        p^{(l)} = \operatorname{softmax}\bigl(-d(z_l, c^{(l)})/\tau_l\bigr),\qquad y = p^{(L)}

    Args:
        features: width D of what the encoder returns.
        num_clusters: K of each level, the finest first, e.g. ``(8, 2)``.
        encoder: the sub-network :math:`f` of the first level, or none.
        distance: of all levels.
        temperature: :math:`\tau`, one for all levels or one for each.
        between: what a level passes on: "reconstruction" (its centres weighed by the shares, as in the equation) or
            "probabilities" (the shares themselves).
        generator: draws the first centres.

    Shapes:
        x: what the encoder takes. Returns the shares of the last level, (..., K).

    Notice:
        ``taxonomy`` reads the tree off the centres: each is sent up one level as if it were an input. Nothing in the
        loss makes a coarse centre a kind that people would name.

    Raises:
        TypeError: if num_clusters is one number.
        ValueError: if there are fewer than two levels, or not as many temperatures as levels.

    Source: nesting is speculative, without a paper of its own; layers of prototypes: Li et al. 2018.

    >>> tree = RecursiveKMeans(16, (8, 2), encoder=nn.Linear(64, 16))
    >>> tree(torch.zeros(5, 64)).shape, tree.taxonomy()[0].shape
    (torch.Size([5, 2]), torch.Size([8]))
    """

    def __init__(
        self,
        features: int,
        num_clusters: tuple[int, ...] = (8, 2),
        *,
        encoder: nn.Module | None = None,
        distance: str = "squared",
        temperature: float | tuple[float, ...] = 1.0,
        between: str = "reconstruction",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if isinstance(num_clusters, int):
            raise TypeError(
                f"num_clusters is {num_clusters}, but names the K of each level: give e.g. ({num_clusters}, 2)"
            )
        taus = tuple(temperature) if isinstance(temperature, tuple | list) else (temperature,) * len(num_clusters)
        if len(num_clusters) < 2 or len(taus) != len(num_clusters):
            raise ValueError(
                f"num_clusters is {num_clusters} and temperature {temperature}, but there must be two levels or more, "
                f"and one temperature for all or one for each"
            )
        if between not in ("reconstruction", "probabilities"):
            raise ValueError(f"between is {between!r}, but must be 'reconstruction' or 'probabilities'")
        self.between = between
        layer, width = encoder, features
        for count, tau in zip(num_clusters, taus, strict=True):
            layer = KMeansLayer(
                count, width, encoder=layer, distance=distance, temperature=tau, output=between, generator=generator
            )
            width = features if between == "reconstruction" else count
        layer.output = "probabilities"
        self.top = layer

    @property
    def levels(self) -> list[KMeansLayer]:
        """The layers, the finest first."""
        found, layer = [], self.top
        for _ in range(self._depth()):
            found.append(layer)
            layer = layer.encoder
        return found[::-1]

    def _depth(self) -> int:
        depth, layer = 0, self.top
        while isinstance(layer, KMeansLayer):
            depth, layer = depth + 1, layer.encoder
        return depth

    def forward(self, x: Tensor) -> Tensor:
        return self.top(x)

    def path(self, x: Tensor) -> Tensor:
        """Number of the nearest centre at every level, the finest first, (..., L)."""
        return torch.stack([layer.symbols(x) for layer in self.levels], dim=-1)

    def init_centres(self, x: Tensor, *, generator: torch.Generator | None = None) -> None:
        """Put the centres of each level on what the level below makes of the inputs, the finest first."""
        for layer in self.levels:
            layer.init_centres(x, generator=generator)

    @torch.no_grad()
    def taxonomy(self) -> list[Tensor]:
        """To which centre of the next level each centre belongs, for all levels but the last: [(K_1,), ...]."""
        parents = []
        levels = self.levels
        for below, above in zip(levels, levels[1:], strict=False):
            eye = F.one_hot(torch.arange(below.num_clusters, device=below.centres.device), below.num_clusters)
            sent = below.centres if self.between == "reconstruction" else eye.to(below.centres.dtype)
            parents.append(centre_distance(sent, above.centres, above.distance).argmin(-1))
        return parents
