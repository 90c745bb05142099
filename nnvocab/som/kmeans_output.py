"""What a k-means layer returns: shares, features or centres, and which gradients they carry."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nnvocab.vocabulary import Example, entry

OUTPUTS = ("probabilities", "features", "reconstruction")
"""What a k-means layer can return."""


@entry(
    name="Output modes of a k-means layer",
    aliases=(
        "KMeans output modes (probabilities, features, reconstruction)",
        "probabilities mode",
        "features mode",
        "reconstruction mode",
    ),
    ids=("loom_kmeans_output_modes",),
    page="prototypes",
    kind="concept",
    paper="oord2017neural",
    peer="vector_quantize_pytorch.VectorQuantize",
    related=("Differentiable k-means layer",),
    example=lambda: Example(
        kmeans_output,
        (torch.randn(4, 3), torch.randn(5, 3), torch.rand(4, 5), "reconstruction"),
        skip={"batch_of_one": "the centres are not a batch"},
    ),
)
def kmeans_output(
    z: Tensor, centres: Tensor, shares: Tensor, mode: str = "probabilities", *, straight_through: bool = False
) -> Tensor:
    r"""Turn features, centres and shares into what a k-means layer returns.

    .. math::
        y = p,\qquad y = z,\qquad y = \sum_k p_k\, c_k

    and, straight through, :math:`y = \text{onehot}(b) + p - \operatorname{sg}(p)` and
    :math:`y = c_b + z - \operatorname{sg}(z)`, with :math:`b` the largest share and :math:`\operatorname{sg}` a copy
    that stops gradients.

    Args:
        z: features.
        centres: :math:`c`, K of them.
        shares: :math:`p`, the soft assignment.
        mode: "probabilities", "features" or "reconstruction".
        straight_through: return the hard choice. The one-hot vector passes gradients on as :math:`p` would; the nearest
            centre passes its gradient to :math:`z` unchanged, and to itself.

    Shapes:
        z: (..., D); centres: (K, D); shares: (..., K). Returns (..., K) for "probabilities", else (..., D).

    Notice:
        Without ``straight_through`` gradients are the true derivatives of the value. A bare argmin has none: it would
        leave the encoder without any. "features" has none for the centres, since it does not use them.

    Raises:
        ValueError: if the mode is unknown, or z, centres and shares do not fit each other.

    Source: van den Oord et al. 2017, section 3.2, for the nearest centre; there it learns from a loss of its own.

    >>> z, centres = torch.tensor([[0.9]]), torch.tensor([[0.0], [1.0]])
    >>> kmeans_output(z, centres, torch.tensor([[0.25, 0.75]]), "reconstruction")
    tensor([[0.7500]])
    >>> kmeans_output(z, centres, torch.tensor([[0.25, 0.75]]), "reconstruction", straight_through=True)
    tensor([[1.]])
    """
    if mode not in OUTPUTS:
        raise ValueError(f"mode is {mode!r}, but must be one of {OUTPUTS}")
    if shares.shape != (*z.shape[:-1], len(centres)) or z.shape[-1] != centres.shape[-1]:
        raise ValueError(
            f"z has shape {tuple(z.shape)}, centres {tuple(centres.shape)} and shares {tuple(shares.shape)}, but (..., D), "
            f"(K, D) and (..., K) are needed"
        )
    if mode == "features":
        return z
    if not straight_through:
        return shares if mode == "probabilities" else shares @ centres  # (..., K) @ (K, D)
    best = shares.argmax(-1)
    if mode == "probabilities":
        return F.one_hot(best, shares.shape[-1]).to(shares.dtype) + (shares - shares.detach())
    return centres[best] + (z - z.detach())
