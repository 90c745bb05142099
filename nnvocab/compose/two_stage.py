"""Experts first, the gate after: each expert learns its own part, then the gate learns whom to ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.compose.filtered import FilteredParallel
from nnvocab.compose.freezing import freeze, trainable
from nnvocab.compose.sequential import Sequential
from nnvocab.vocabulary import entry

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class TwoStages:
    """What came out of the two stages.

    Args:
        model: the filtered layer, with the head behind it if one was given.
        expert_losses: the loss of each expert at each step of the first stage.
        losses: the loss of the whole at each step of the second stage.
        weights: the gate's weights for the data, at some steps of the second stage: (records, B, N).
        trained: the weights that the second stage could train, and how many numbers each has.
        moved: the largest change that the second stage made in each weight; exactly 0 where it is frozen.
        course: the same at the steps at which ``weights`` were recorded.
    """

    model: nn.Module
    expert_losses: list[list[float]]
    losses: list[float]
    weights: Tensor
    trained: dict[str, int]
    moved: dict[str, float]
    course: list[dict[str, float]]


def fit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss = F.mse_loss,
    steps: int = 300,
    lr: float = 0.02,
    before_step: Callable[[int], None] | None = None,
) -> list[float]:
    """Train what is trainable in a module with Adam on all data at once; returns the loss of each step.

    Args:
        model: a module of x.
        x: the inputs.
        y: the targets, of the shape that the module returns.
        loss: of what is returned and the targets.
        steps: how many steps.
        lr: the learning rate.
        before_step: called with the number of each step before it is made, to look at the module on its way.

    Raises:
        ValueError: if nothing is trainable, there is no sample, or the targets do not have the shape of what is returned.
    """
    free = [p for p in model.parameters() if p.requires_grad]
    if not free:
        raise ValueError("nothing in the module is trainable: unfreeze a part of it")
    if len(x) == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}: give at least one sample")
    optimizer, course = torch.optim.Adam(free, lr=lr), []
    for step in range(steps):
        if before_step is not None:
            before_step(step)
        optimizer.zero_grad()
        out = model(x)
        if y.is_floating_point() and out.shape != y.shape:
            raise ValueError(
                f"the targets have shape {tuple(y.shape)}, but the module returns {tuple(out.shape)}: broadcasting would "
                f"train every output to the same target; give one target for each output, or a head of {y.shape[-1]}"
            )
        value = loss(out, y)
        value.backward()
        optimizer.step()
        course.append(value.item())
    return course


@entry(
    name="Expert pre-training then gate training",
    aliases=(
        "two-stage MoE training",
        "Frozen experts with a trainable gate",
        "complete frozen pattern",
        "Pre-training + stitching + gate training",
        "three-stage composition",
    ),
    ids=("par_expert_pretraining", "par_frozen_experts_gate", "par_pretrain_stitch_gate"),
    page="gates",
    kind="algorithm",
    paper="jordan1994hierarchical",
    related=("Freezing layers", "Filter combine mode", "Stitched branches"),
)
def train_experts_then_gate(
    experts: Sequence[nn.Module],
    expert_data: Sequence[tuple[Tensor, Tensor]],
    gate: nn.Module,
    data: tuple[Tensor, Tensor],
    *,
    loss: Loss = F.mse_loss,
    steps: int = 300,
    lr: float = 0.02,
    head: nn.Module | None = None,
) -> TwoStages:
    r"""Train each expert on its own data, freeze all of them, then train the gate on data of every kind.

    .. math::
        \theta_i = \arg\min_\theta L(f_\theta;\, D_i), \qquad
        \phi = \arg\min_\phi L\Big(\textstyle\sum_i w_i(x; \phi)\, f_{\theta_i}(x);\, D\Big)

    where :math:`\theta_i` are the weights of expert i with its data :math:`D_i`, and :math:`\phi` those of the gate.

    Args:
        experts: modules of the same input and output size; :func:`nnvocab.compose.stitched_branches` makes it one size.
        expert_data: for each expert its inputs and targets.
        gate: a :class:`nnvocab.compose.Gate` with one output for each expert.
        data: inputs and targets of the second stage, in which the right expert depends on the input.
        loss: of what is returned and the targets.
        steps: of each stage.
        lr: the learning rate of Adam in both stages.
        head: a module behind the mixture. It is trained together with the gate, and may then solve the task instead
            of the gate: freeze it, or leave it out, where routing is to be learned.

    Notice:
        The gate can only learn to route if the target says which expert was right. A target that is the same for all
        inputs is met by a head's offset alone. ``moved`` shows what changed in the second stage.

    Raises:
        ValueError: if there are not as many data sets as experts, or targets do not fit what an expert returns.

    Source: Jordan and Jacobs 1994, section 2 (experts and gate), here in two stages instead of together.

    >>> x = torch.rand(64, 1)
    >>> high, low = (x, 2 * x), (x, -x)
    >>> from nnvocab.compose import Gate
    >>> experts = [nn.Linear(1, 1), nn.Linear(1, 1)]
    >>> result = train_experts_then_gate(experts, [high, low], Gate(nn.Linear(1, 2)), high, steps=5)
    >>> list(result.trained), result.moved["branches.0.weight"]
    (['gate.layer.weight', 'gate.layer.bias'], 0.0)
    """
    if len(experts) != len(expert_data):
        raise ValueError(f"there are {len(expert_data)} data sets for {len(experts)} experts: give one for each")
    expert_losses = [fit(e, *own, loss=loss, steps=steps, lr=lr) for e, own in zip(experts, expert_data, strict=True)]
    for expert in experts:
        freeze(expert)
    mixture = FilteredParallel(experts, gate)
    model = mixture if head is None else Sequential(mixture, head)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trained, every, weights, course = trainable(model), max(1, steps // 50), [], []

    @torch.no_grad()
    def look(step: int) -> None:
        if step % every == 0 or step == steps:
            weights.append(gate(data[0]))
            course.append({name: (p - before[name]).abs().max().item() for name, p in model.named_parameters()})

    losses = fit(model, *data, loss=loss, steps=steps, lr=lr, before_step=look)
    look(steps)
    return TwoStages(model, expert_losses, losses, torch.stack(weights), trained, course[-1], course)
