"""The k-means layer: an encoder, K learnable centres, and soft assignments that carry gradients to both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.som.kmeans_output import OUTPUTS, kmeans_output
from nnvocab.som.nearest import nearest_units
from nnvocab.som.soft_assignment import centre_distance, check_distance, check_temperature, soft_assignment_fused
from nnvocab.vocabulary import Example, entry


def kmeans_plus_plus(
    z: Tensor, num_clusters: int, distance: str = "squared", *, generator: torch.Generator | None = None
) -> Tensor:
    r"""Pick centres among the points, each drawn by its squared distance to the nearest one picked so far.

    .. math::
        P(z) \propto \min_k \lVert z - c_k \rVert^2

    Args:
        z: points.
        num_clusters: K, how many centres.
        distance: what is squared; "squared" is the square already.

    Shapes:
        z: (B, D). Returns (K, D).

    Raises:
        ValueError: if there are fewer distinct points than centres, no centre is asked for, or a number is not finite.

    Source: Arthur and Vassilvitskii 2007.

    >>> sorted(kmeans_plus_plus(torch.tensor([[0.0], [0.0], [9.0]]), 2).flatten().tolist())
    [0.0, 9.0]
    """
    check_points(z)
    if num_clusters < 1:
        raise ValueError(f"num_clusters is {num_clusters}, but must be 1 or more")
    first = torch.randint(len(z), (1,), generator=generator, device=z.device)
    picked, nearest = [z[first]], None
    for _ in range(num_clusters - 1):
        d = centre_distance(z, picked[-1], distance)[:, 0].detach().float()  # (B,)
        d = d.clamp_min(0) if distance == "squared" else d.clamp_min(0).square()
        nearest = d if nearest is None else torch.minimum(nearest, d)
        if not bool((nearest > 0).any()):
            raise ValueError(f"x has only {len(picked)} distinct points, but {num_clusters} centres are asked for")
        picked.append(z[torch.multinomial(nearest, 1, generator=generator)])
    return torch.cat(picked)


@entry(
    name="Differentiable k-means layer",
    aliases=("Differentiable KMeans (prototype) layer", "prototype layer", "soft k-means", "soft vector quantisation"),
    ids=("loom_kmeans",),
    page="prototypes",
    kind="layer",
    paper="xie2016unsupervised",
    peer="sklearn.cluster.KMeans",
    related=("Soft cluster assignment", "Recursive k-means layers", "Self-organizing map"),
    example=lambda: Example(KMeansLayer(3, 4, encoder=nn.Linear(5, 4)), (torch.randn(2, 5),)),
)
class KMeansLayer(nn.Module):
    r"""Layer that compares what its encoder makes of an input with K learnable centres.

    .. math::
        z = f(x),\qquad p_k = \operatorname{softmax}_k\bigl(-d(z, c_k)/\tau\bigr),\qquad
        y = p,\quad z \quad\text{or}\quad \textstyle\sum_k p_k\, c_k

    Args:
        num_clusters: K.
        features: width D of what the encoder returns, and of a centre.
        encoder: the attached sub-network :math:`f`, any module, also another k-means layer; or none.
        distance: :math:`d`: "squared", "euclidean", "manhattan" or "cosine".
        temperature: :math:`\tau`, above 0.
        output: "probabilities" (:math:`p`), "features" (:math:`z`) or "reconstruction" (the centres weighed by
            :math:`p`).
        straight_through: return the hard choice (a one-hot vector, the nearest centre) and let gradients pass as
            ``kmeans_output`` says. Without it every gradient is the true derivative of the value.
        generator: draws the first centres, from a standard normal distribution.

    Shapes:
        x: what the encoder takes, without one (..., D). Returns (..., K) or (..., D).

    Notice:
        Call ``init_centres`` with data first: centres far from all data win nothing and learn next to nothing.
        ``revive`` moves those that won nothing. ``outlier_score`` is the raw distance to the nearest centre; the
        probabilities sum to 1 however far a point is.

    Raises:
        ValueError: if K or D is below 1, a choice does not exist, the temperature is not above 0, or the encoder
            returns another width.

    Source: Xie et al. 2016 learn centres together with an encoder (with a Student t kernel in place of the softmax).

    >>> layer = KMeansLayer(10, 16, encoder=nn.Linear(64, 16))
    >>> layer(torch.zeros(5, 64)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        num_clusters: int,
        features: int,
        *,
        encoder: nn.Module | None = None,
        distance: str = "squared",
        temperature: float = 1.0,
        output: str = "probabilities",
        straight_through: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if num_clusters < 1 or features < 1:
            raise ValueError(f"there are {num_clusters} centres of width {features}, but both must be 1 or more")
        check_distance(distance)
        check_temperature(temperature)
        if output not in OUTPUTS:
            raise ValueError(f"output is {output!r}, but must be one of {OUTPUTS}")
        self.num_clusters, self.features, self.encoder = num_clusters, features, encoder
        self.distance, self.temperature = distance, temperature
        self.output, self.straight_through = output, straight_through
        self.centres = nn.Parameter(torch.randn(num_clusters, features, generator=generator))

    def encode(self, x: Tensor) -> Tensor:
        """Run the encoder: (..., D)."""
        z = x if self.encoder is None else self.encoder(x)
        if z.shape[-1] != self.features:
            source = "the input" if self.encoder is None else "what the encoder returns"
            raise ValueError(f"{source} has width {z.shape[-1]}, but the centres have features={self.features}")
        return z

    def forward(self, x: Tensor) -> Tensor:
        z = self.encode(x)
        p = soft_assignment_fused(z, self.centres, self.temperature, self.distance)  # (..., K)
        return kmeans_output(z, self.centres, p, self.output, straight_through=self.straight_through)

    def distances(self, x: Tensor) -> Tensor:
        """Distance of each encoded input to each centre, (..., K)."""
        return centre_distance(self.encode(x), self.centres, self.distance)

    def outlier_score(self, x: Tensor) -> Tensor:
        """Raw distance to the nearest centre, (...): large means unlike all that the centres stand for."""
        return self.distances(x).amin(-1)

    def symbols(self, x: Tensor) -> Tensor:
        """Number of the nearest centre, (...); of two that are equally near the first."""
        if self.distance not in ("squared", "euclidean"):
            return self.distances(x).argmin(-1)
        z = self.encode(x)
        return nearest_units(z.reshape(-1, self.features), self.centres)[:, 0].view(z.shape[:-1])

    def clustering_loss(self, x: Tensor) -> Tensor:
        r"""Mean of :math:`-\tau \log \sum_k \exp(-d_k / \tau)`: for a small tau the mean least distance.

        Its gradient to a centre is that of the distances, each weighed by its share. With the squared distance it is,
        up to a constant, :math:`\tau` times the negative log-likelihood of the Gaussian mixture.
        """
        return -self.temperature * torch.logsumexp(-self.distances(x) / self.temperature, dim=-1).mean()

    @torch.no_grad()
    def init_centres(self, x: Tensor, method: str = "k-means++", *, generator: torch.Generator | None = None) -> None:
        """Put the centres on encoded inputs: spread out ("k-means++"), or drawn evenly ("sample").

        Raises:
            ValueError: if the method is unknown, or there are too few distinct inputs.
        """
        z = self.encode(x).reshape(-1, self.features)  # (B, D)
        if method == "k-means++":
            self.centres.copy_(kmeans_plus_plus(z, self.num_clusters, self.distance, generator=generator))
        elif method == "sample":
            check_points(z)
            if len(z) < self.num_clusters:
                raise ValueError(f"x has {len(z)} points, but {self.num_clusters} centres are asked for")
            self.centres.copy_(z[torch.randperm(len(z), generator=generator, device=z.device)[: self.num_clusters]])
        else:
            raise ValueError(f"method is {method!r}, but must be one of ('k-means++', 'sample')")

    @torch.no_grad()
    def usage(self, x: Tensor) -> Tensor:
        """Share of the inputs that each centre is nearest to, (K,)."""
        won = self.symbols(x).flatten()
        return torch.bincount(won, minlength=self.num_clusters).to(self.centres.dtype) / len(won)

    @torch.no_grad()
    def revive(self, x: Tensor, min_share: float = 0.0, *, generator: torch.Generator | None = None) -> Tensor:
        """Move each centre that wins no more than ``min_share`` of the inputs to one of the inputs that lie badly.

        Inputs are drawn by their squared distance to the centres that stay, as k-means++ does.

        Returns: the numbers of the centres that moved.

        Raises:
            ValueError: if no centre would stay, or all inputs lie on those that stay.
        """
        z = self.encode(x).reshape(-1, self.features)
        check_points(z)
        dead = torch.nonzero(self.usage(x) <= min_share).flatten()
        stays = torch.ones(self.num_clusters, dtype=torch.bool, device=z.device)
        stays[dead] = False
        if not bool(stays.any()):
            raise ValueError(f"no centre wins more than min_share = {min_share} of the inputs: give a smaller share")
        for k in dead:
            d = centre_distance(z, self.centres[stays], self.distance).amin(-1).clamp_min(0).float()
            d = d if self.distance == "squared" else d.square()
            if not bool((d > 0).any()):
                raise ValueError("every input lies on a centre, so there is no place to move a dead one to")
            self.centres[k] = z[torch.multinomial(d, 1, generator=generator)[0]]
            stays[k] = True
        return dead


def check_points(z: Tensor) -> None:
    """Refuse points from which no centre can be made.

    Raises:
        ValueError: if they are not (B, D), there are none, or a number among them is not finite.
    """
    if z.dim() != 2:
        raise ValueError(f"the points have shape {tuple(z.shape)}, but (B, D) is needed")
    if len(z) == 0:
        raise ValueError("x is empty, but centres need at least one point each")
    if not torch.isfinite(z).all():
        raise ValueError("what the encoder returns holds NaN or infinity: mend the inputs first")
