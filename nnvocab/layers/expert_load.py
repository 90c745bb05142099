"""A moving average of what share of the tokens each expert gets."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.layers.load_balancing import expert_shares
from nnvocab.vocabulary import Example, entry


@entry(
    name="Expert load",
    aliases=("expert_load", "utilisation EMA", "expert load tracking (EMA)", "expert load tracking"),
    page="experts",
    ids=("caramba_expert_load",),
    paper="fedus2022switch",
    example=lambda: Example(
        ExpertLoad(4),
        (torch.tensor([[[0, 1], [1, 2]], [[3, 1], [0, 1]]]),),
        skip={
            "gradcheck": "counting has no gradient",
            "batch_of_one": "it is one average over everything seen, not a row for each input",
        },
    ),
    related=("Mixture of experts", "Load-balancing loss"),
)
class ExpertLoad(nn.Module):
    r"""Buffer with each expert's share of the choices, averaged over the training steps; it sums to 1.

    .. math::
        \ell_e \leftarrow (1 - m)\, \ell_e + m\, \frac{\text{choices of } e}{N k}

    where :math:`m` is the momentum, and N tokens made k choices each.

    Args:
        num_experts: how many experts E.
        momentum: weight m of the newest step, as in batch normalization.

    Shapes:
        experts: (..., k), numbers of the chosen experts. Returns (E,), the average after this step.

    Notice:
        Shares are of choices, so that balance is 1 / E whatever k is. (Divided by tokens instead, they would sum to
        k and balance at k / E.) It starts at balance and not at 0, so that it sums to 1 from the first step on; this
        start fades with :math:`(1 - m)^t`. What a capacity drops is counted, for the router did choose it. In
        evaluation nothing changes. The buffer is in the state dict.

    Raises:
        ValueError: if the momentum is not in (0, 1], or there is no expert.

    Source: the shares are those of Fedus et al. 2022, equation 5.

    >>> load = ExpertLoad(4, momentum=0.5)
    >>> load(torch.tensor([[0, 1], [0, 1]]))
    tensor([0.3750, 0.3750, 0.1250, 0.1250])
    """

    share: Tensor

    def __init__(self, num_experts: int, *, momentum: float = 0.1) -> None:
        super().__init__()
        if num_experts < 1:
            raise ValueError(f"num_experts is {num_experts}, but must be at least 1")
        if not 0.0 < momentum <= 1.0:
            raise ValueError(
                f"momentum is {momentum}, but must be above 0 and at most 1: the weight of the newest step"
            )
        self.momentum = momentum
        self.register_buffer("share", torch.full((num_experts,), 1 / num_experts))

    @torch.no_grad()
    def forward(self, experts: Tensor) -> Tensor:
        if self.training and experts.numel():
            now = expert_shares(experts, len(self.share)).to(self.share.dtype)  # (E,)
            self.share.lerp_(now, self.momentum)
        return self.share.clone()
