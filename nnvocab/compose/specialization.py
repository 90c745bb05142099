"""Who does what: how far the branches behind a gate have divided the work."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from nnvocab.vocabulary import Example, entry

SCENARIOS = ("task", "frequency", "horizon", "difficulty", "modality")


def usage_by_group(weights: Tensor, groups: Tensor, num_groups: int | None = None) -> Tensor:
    """The mean weight of each branch within each group of samples.

    Args:
        weights: (B, N), what the gate returned.
        groups: (B,), to which group each sample belongs, from 0.
        num_groups: how many groups there are; None counts them.

    Shapes:
        Returns (groups, N).

    Raises:
        ValueError: if there is not one group for each sample, a whole number (or True and False), or a weight is below 0.

    >>> usage_by_group(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 1, 1])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if weights.dim() != 2 or groups.shape != weights.shape[:1]:
        raise ValueError(
            f"weights have shape {tuple(weights.shape)} and groups {tuple(groups.shape)}, but (B, N) and (B,) are needed"
        )
    if groups.is_floating_point() or len(groups) == 0:
        raise ValueError(f"groups are {len(groups)} numbers of {groups.dtype}, but one whole number a sample is needed")
    if bool((weights < 0).any()):
        raise ValueError("a weight is below 0: give what the gate returned, not its logits")
    groups = groups.long()
    count = int(groups.max()) + 1 if num_groups is None else num_groups
    member = torch.nn.functional.one_hot(groups, count).to(weights)  # (B, groups)
    return member.mT @ weights / member.sum(0).clamp_min(1).unsqueeze(-1)


@entry(
    name="Expert specialization",
    aliases=(
        "Expert specialization (fast, deep, memory)",
        "difficulty routing",
        "Use cases of gated branches",
        "multi-task routing",
        "feature specialisation",
        "temporal patterns",
        "modality fusion",
    ),
    ids=("par_expert_specialization", "par_gate_use_cases"),
    page="gates",
    kind="function",
    paper="jacobs1991adaptive",
    related=("Learned routing by the gate", "Filter combine mode"),
    example=lambda: Example(
        lambda z: specialization(
            z.softmax(-1), torch.arange(len(z)) % 2 if z.device.type == "cpu" else z.argmax(-1) % 2
        ),
        (torch.randn(4, 3),),
        skip={
            "batch_of_one": "it is a property of the batch: a single sample has nothing to divide",
            "fake_cuda": "how many groups there are is read from the data",
        },
    ),
)
def specialization(weights: Tensor, groups: Tensor) -> Tensor:
    r"""How much the choice of the branch tells about the group of a sample: 0 nothing, 1 all that it could.

    .. math::
        S = \frac{I(g; e)}{\min(H(g), \log N)}, \qquad I(g; e) = \sum_{g, e} p(g, e) \log \frac{p(g, e)}{p(g)\, p(e)}

    where g is the group, e the branch, :math:`p(e \mid g)` the mean weight of the branch within the group, and N the
    number of branches.

    Args:
        weights: what the gate returned.
        groups: to which group each sample belongs, from 0.

    Shapes:
        weights: (B, N); groups: (B,). Returns a scalar between 0 and 1.

    Notice:
        It says that the gate tells groups apart, not that the branches do what one thinks they do. Branches that are
        all alike can be chosen in groups too: remove a branch and look what fails.

    Raises:
        ValueError: if there are fewer than two groups or branches, or the shapes do not fit.

    Source: mutual information over its bound; the question is that of Jacobs et al. 1991.

    >>> specialization(torch.eye(2), torch.tensor([0, 1])).item()
    1.0
    """
    usage = usage_by_group(weights, groups)  # p(e | g)
    if min(usage.shape) < 2:
        raise ValueError(
            f"there are {usage.shape[0]} groups and {usage.shape[1]} branches, but at least two of each are needed"
        )
    p_group = torch.bincount(groups.long(), minlength=len(usage)).to(weights) / len(groups)
    p_group = p_group[:, None]
    p_branch = (p_group * usage).sum(0)
    ratio = (usage / p_branch.clamp_min(1e-30)).clamp_min(1e-30)
    information = (p_group * usage * ratio.log()).sum()
    H = -(p_group * p_group.clamp_min(1e-30).log()).sum()
    return information / H.clamp_max(math.log(usage.shape[1]))


class Scenario(NamedTuple):
    """Data in which the right branch depends on the sample: inputs, targets, and the group that decides."""

    x: Tensor
    y: Tensor
    group: Tensor


def routing_scenario(name: str, n: int, *, generator: torch.Generator) -> Scenario:
    """Draw a tiny task for one of the five uses of gated branches.

    task: two tasks in one input, and a flag that says which. frequency: a slow or a fast wave; asked is the amplitude,
    with the opposite sign for fast ones. horizon: a sequence; asked is its last or its first number. difficulty: a linear
    function, or the sign of a product of two numbers. modality: two halves, one of them faint noise; asked is a function of
    the other.

    Args:
        name: "task", "frequency", "horizon", "difficulty" or "modality".
        n: how many samples.
        generator: draws them.

    Shapes:
        x: for task (n, 10), frequency (n, 32), horizon (n, 12, 2), difficulty (n, 4), modality (n, 16); y: (n, 1); group: (n,).

    Raises:
        ValueError: if there is no such scenario.

    >>> routing_scenario("modality", 5, generator=torch.Generator().manual_seed(0)).x.shape
    torch.Size([5, 16])
    """
    if name not in SCENARIOS:
        raise ValueError(f"name is {name!r}, but must be one of {', '.join(SCENARIOS)}")
    group = torch.arange(n) % 2
    first = group.eq(0)[:, None]
    if name == "task":
        x = torch.randn(n, 8, generator=generator)
        y = torch.where(first, x[:, :4].sum(1, keepdim=True), x[:, 4:].sum(1, keepdim=True)) / 2
        return Scenario(torch.cat([x, first.float(), 1 - first.float()], 1), y, group)
    if name == "frequency":
        t, turn = torch.arange(32) / 32, 2 * math.pi
        size = 0.5 + torch.rand(n, 1, generator=generator)
        rate = torch.where(
            first, 1 + torch.rand(n, 1, generator=generator), 6 + 2 * torch.rand(n, 1, generator=generator)
        )
        wave = size * torch.sin(turn * (rate * t + torch.rand(n, 1, generator=generator)))
        return Scenario(wave, torch.where(first, size, -size), group)
    if name == "horizon":
        x = torch.randn(n, 12, generator=generator)
        flag = first.float().expand(n, 12)
        return Scenario(torch.stack([x, flag], -1), torch.where(first, x[:, -1:], x[:, :1]), group)
    if name == "difficulty":
        x = torch.randn(n, 4, generator=generator)
        x[:, 0] = torch.where(group == 0, x[:, 0].abs(), -x[:, 0].abs())  # the sign of the first number tells
        y = torch.where(first, x[:, 1:4].sum(1, keepdim=True) / 2, x[:, 1:3].prod(1, keepdim=True).sign())
        return Scenario(x, y, group)
    halves = torch.randn(n, 2, 8, generator=generator)
    faint = torch.where(first[..., None], torch.tensor([1.0, 0.1])[:, None], torch.tensor([0.1, 1.0])[:, None])
    y = torch.where(first, halves[:, 0].amax(1, keepdim=True), halves[:, 1].amin(1, keepdim=True))
    return Scenario((halves * faint).flatten(1), y, group)
