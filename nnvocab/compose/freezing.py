"""Freezing: weights, momentum, weight decay and running statistics stand still, gradients still pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from torch import nn

from nnvocab.vocabulary import entry

M = TypeVar("M", bound=nn.Module)


def _keep_still(module: nn.Module, inputs: Any) -> None:
    """Before each call: a frozen module does not train, even after ``model.train()``.

    cuDNN sends gradients back through a recurrent layer in training mode alone, so these stay in it; their dropout is 0.
    """
    recurrent = isinstance(module, nn.RNNBase)
    if module.training is not recurrent:
        module.training = recurrent


def _is_marked(module: nn.Module) -> bool:
    return _keep_still in module._forward_pre_hooks.values()


@entry(
    name="Freezing layers",
    aliases=(
        "frozen branch",
        "Frozen flag",
        "requires_grad",
        "freezeLayer",
        "recursive freezing",
        "pass-through gradient",
        "transfer learning",
        "feature extraction",
        "fine-tuning",
        "gradient flow through a frozen layer",
        "use cases for frozen layers",
    ),
    ids=("par_freezing", "par_freeze_recursive", "par_freezing_internals", "par_freezing_uses"),
    page="in_a_row",
    kind="function",
    paper="yosinski2014transferable",
    related=("Sequential layer", "Expert pre-training then gate training"),
)
def freeze(module: M, *, keep: Iterable[nn.Module] = ()) -> M:
    r"""Freeze a module and everything in it: no step of any optimizer and no forward call changes its state.

    .. math::
        \theta \leftarrow \theta, \qquad \frac{\partial L}{\partial x} = \frac{\partial L}{\partial y}
        \frac{\partial f_\theta(x)}{\partial x} \ \text{as before}

    where :math:`\theta` are the weights and running statistics of the module :math:`f_\theta`, with :math:`y = f_\theta(x)`.

    Args:
        module: what is frozen, with all that it contains: layers in a row, branches, gates, sub-networks.
        keep: modules inside it that stay trainable, as ``keep=[model.gate]``.

    Notice:
        Three things stand still. Weights: ``requires_grad`` is off **and** a gradient left over from before is dropped,
        since momentum and weight decay move a weight whose gradient is zero, but not one whose gradient is None.
        Running statistics: the module stays in evaluation mode, also after ``model.train()``; its dropout is off. (A
        recurrent layer of torch keeps its training flag, without which cuDNN passes no gradient; its dropout is off too.)
        The gradient to the input still flows. A weight that is shared with another module is frozen there too.

    Raises:
        TypeError: if ``module`` is no module.
        ValueError: if a module of ``keep`` is not inside it.

    Source: Yosinski et al. 2014, section 2 (layers that are copied and frozen, against fine-tuned).

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    >>> list(trainable(freeze(model, keep=[model[2]])))
    ['2.weight', '2.bias']
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module is a {type(module).__name__}, but must be an nn.Module")
    kept = list(keep)
    inside = {id(m) for m in module.modules()}
    for other in kept:
        if id(other) not in inside:
            raise ValueError(f"keep names a {type(other).__name__} that is not inside the module that is frozen")
    spared_modules = {id(m) for other in kept for m in other.modules()}
    spared_weights = {id(p) for other in kept for p in other.parameters()}
    for part in module.modules():
        holds_kept = any(id(m) in spared_modules for m in part.modules())
        if id(part) not in spared_modules and not holds_kept and not _is_marked(part):
            part.register_forward_pre_hook(_keep_still)
            _keep_still(part, ())
            if isinstance(part, nn.RNNBase):
                part.dropout, part.dropout_before_freeze = 0.0, part.dropout
    for weight in module.parameters():
        if id(weight) not in spared_weights:
            weight.requires_grad_(False)
            weight.grad = None
    return module


def unfreeze(module: M) -> M:
    """Undo :func:`freeze` for a module and all in it; it trains again with the mode of ``train()``.

    Raises:
        TypeError: if ``module`` is no module.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module is a {type(module).__name__}, but must be an nn.Module")
    for part in module.modules():
        for key, hook in list(part._forward_pre_hooks.items()):
            if hook is _keep_still:
                del part._forward_pre_hooks[key]
                if isinstance(part, nn.RNNBase):
                    part.dropout = part.dropout_before_freeze
    module.requires_grad_(True)
    return module.train()


def trainable(module: nn.Module) -> dict[str, int]:
    """What is left to train: the name of each trainable weight and how many numbers it has.

    >>> trainable(nn.Linear(3, 2))
    {'weight': 6, 'bias': 2}
    """
    return {name: p.numel() for name, p in module.named_parameters() if p.requires_grad}
