"""Target propagation: give each layer a target of its own, and let it close its own gap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from nnvocab.vocabulary import Example, entry

Feedback = Literal["chain", "weights", "difference"]
FEEDBACK = ("chain", "weights", "difference")


def target_by_chain_rule(layer: nn.Module, activation: Tensor, gap: Tensor) -> Tensor:
    r"""The target below a layer by the chain rule: :math:`t = a - J^{\top} (f(a) - t')`, where ``gap`` is :math:`f(a) - t'`."""
    with torch.enable_grad():
        a = activation.detach().requires_grad_()
        (pulled,) = torch.autograd.grad(layer(a), a, gap)
    return activation - pulled


def target_by_weights(weight: Tensor, target: Tensor) -> Tensor:
    r"""The target below a linear map without derivatives: :math:`t_j = \sum_i w_{ij} t'_i \,/\, \sum_i |w_{ij}|`.

    Shapes:
        weight: (out, in); target: (B, out). Returns (B, in).
    """
    return target @ weight / weight.abs().sum(dim=0).clamp_min(1e-2)  # (B, out) @ (out, in)


def target_by_difference(inverse: nn.Module, activation: Tensor, output: Tensor, target: Tensor) -> Tensor:
    r"""The target below a layer by a learned inverse: :math:`t = a + g(t') - g(f(a))`."""
    return activation + inverse(target) - inverse(output)


def _linears(layer: nn.Module) -> list[nn.Linear]:
    return [m for m in layer.modules() if isinstance(m, nn.Linear)]


@entry(
    name="Target propagation",
    aliases=(
        "Neural tweening (TweenStep training)",
        "neural tweening",
        "TweenStep",
        "TweenState",
        "StepTween",
        "UseChainRule",
    ),
    ids=("par_tween_training",),
    page="targets",
    kind="algorithm",
    paper="lee2015difference",
    evidence="contested",
    example=lambda: Example(
        TargetPropagation([nn.Sequential(nn.Linear(4, 3), nn.Tanh()), nn.Linear(3, 2)]), (torch.randn(2, 4),)
    ),
    related=("Sequential layer", "Freezing layers"),
)
class TargetPropagation(nn.Module):
    r"""A row of layers that learns layer by layer: each gets a target and moves its own output towards it.

    .. math::
        \begin{aligned}
        a_{l+1} &= f_l(a_l), \qquad t_L = y, \qquad t_l = \mathrm{feedback}_l(a_l, a_{l+1}, t_{l+1}) \\
        \Delta\theta_l &= -\eta\, \nabla_{\theta_l} \tfrac12 \lVert f_l(a_l) - t_{l+1} \rVert^2
        \end{aligned}

    where :math:`a_l` are activations, :math:`t_l` targets, :math:`\theta_l` the parameters of layer :math:`l` and
    :math:`\eta` the rate; the gradient goes through one layer only, for :math:`a_l` and :math:`t_{l+1}` are constants.

    Args:
        layers: the layers, in order; each a module such as ``nn.Sequential(nn.Linear(8, 4), nn.Tanh())``.
        feedback: how a target is made from the one above. "chain": :math:`t = a - J^{\top}(a' - t')`, the chain rule.
            "weights": no derivative; the target above, averaged through the weights. "difference": a learned inverse
            :math:`g`, :math:`t = a + g(t') - g(a')`.
        rate: step length :math:`\eta`.
        momentum: share of the last step that is taken again, from 0 to below 1.
        generator: draws the first weights of the inverses.

    Shapes:
        x: what the first layer takes, (B, ...). Returns the last layer's output.

    Notice:
        With "chain" the update *is* gradient descent on half the squared error, to the last digit: the gap of a layer is the
        gradient that backpropagation brings it. Only the other two do something else. Without derivatives ("weights")
        a target has no reason to be better for the layer above.

    Raises:
        ValueError: if there is no layer, the feedback is unknown, the rate is not positive, momentum is outside 0 to 1, the
            batch is empty, the target has another shape than the output, or a layer has not one linear map where the
            feedback needs its weights.
        TypeError: if a layer is no module.

    Source: Lee et al. 2015, sections 2.1 to 2.3 (targets, layer-local losses, the difference correction).

    >>> net = TargetPropagation([nn.Linear(2, 2, bias=False)], rate=2.0)
    >>> x = torch.eye(2)
    >>> net.step(x, x)
    >>> torch.allclose(net(x), x)
    True
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        *,
        feedback: Feedback = "chain",
        rate: float = 0.1,
        momentum: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if isinstance(layers, nn.Module) and not hasattr(layers, "__iter__"):
            raise TypeError(f"layers is one {type(layers).__name__}, but must be a list of modules")
        layers = list(layers)
        if not layers:
            raise ValueError("no layer was given, but at least one is needed to learn")
        if feedback not in FEEDBACK:
            raise ValueError(f"feedback is {feedback!r}, but must be one of {', '.join(FEEDBACK)}")
        if not rate > 0 or not 0 <= momentum < 1:
            raise ValueError(f"rate {rate} must be positive and momentum {momentum} at least 0 and below 1")
        for i, layer in enumerate(layers):
            if not isinstance(layer, nn.Module):
                raise TypeError(f"layer {i} is a {type(layer).__name__}, but must be an nn.Module")
            count = len(_linears(layer))
            if feedback != "chain" and i and count != 1:
                raise ValueError(
                    f"layer {i} has {count or 'no'} nn.Linear inside, but feedback={feedback!r} needs exactly one in each "
                    f"layer above the first: split the layer, or use feedback='chain'"
                )
        self.layers = nn.ModuleList(layers)
        self.feedback, self.rate, self.momentum = feedback, rate, momentum
        self.inverses = nn.ModuleList()
        if feedback == "difference":
            for layer in layers[1:]:
                self.inverses.append(self._inverse(_linears(layer)[0], generator))
        self._velocity: dict[nn.Parameter, Tensor] = {}

    @staticmethod
    def _inverse(linear: nn.Linear, generator: torch.Generator | None) -> nn.Module:
        """A map from a layer's output back to its input, to be learned; it starts as the layer's own weights, transposed."""
        back = nn.Linear(linear.out_features, linear.in_features).to(linear.weight)
        with torch.no_grad():
            back.weight.copy_(linear.weight.T)
            back.weight.add_(torch.randn(back.weight.shape, generator=generator).to(back.weight), alpha=0.01)
            back.bias.zero_()
        return nn.Sequential(back, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    @torch.no_grad()
    def activations(self, x: Tensor) -> list[Tensor]:
        """The input and the output of every layer: L + 1 tensors."""
        found = [x]
        for layer in self.layers:
            found.append(layer(found[-1]))
        return found

    @torch.no_grad()
    def targets(self, activations: Sequence[Tensor], target: Tensor) -> list[Tensor]:
        """The target of every layer's output, from the first layer's to the last's, which is ``target`` itself."""
        found = [target]
        for i in range(len(self.layers) - 1, 0, -1):
            a, above, t = activations[i], activations[i + 1], found[0]
            if self.feedback == "chain":
                found.insert(0, target_by_chain_rule(self.layers[i], a, above - t))
            elif self.feedback == "weights":
                found.insert(0, target_by_weights(_linears(self.layers[i])[0].weight, t))
            else:
                found.insert(0, target_by_difference(self.inverses[i - 1], a, above, t))
        return found

    def step(self, x: Tensor, target: Tensor) -> None:
        """Let every layer close its gap once.

        Args:
            x: a batch of inputs.
            target: what the output should be, of the output's shape.
        """
        if len(x) == 0:
            raise ValueError("the batch is empty, and the mean of no gap is not a number: give one row at least")
        a = self.activations(x)
        if target.shape != a[-1].shape:
            raise ValueError(
                f"the target has shape {tuple(target.shape)}, but the output {tuple(a[-1].shape)}: they must be equal; "
                f"write classes as one-hot rows"
            )
        t = self.targets(a, target.to(a[-1]))
        for i, layer in enumerate(self.layers):
            self._descend(layer, a[i], t[i])
        for i, inverse in enumerate(self.inverses, start=1):
            self._descend(inverse, a[i + 1], a[i])  # learn to undo layer i where it is used

    def _descend(self, module: nn.Module, x: Tensor, target: Tensor) -> None:
        """One step of gradient descent on half the squared gap of one module, a mean over the batch."""
        weights = [p for p in module.parameters() if p.requires_grad]
        if not weights:
            return
        with torch.enable_grad():
            loss = 0.5 * (module(x) - target).square().flatten(1).sum(dim=1).mean()
            gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for p, g in zip(weights, gradients, strict=True):
                last = self._velocity.get(p)
                v = g if last is None else self.momentum * last + g
                self._velocity[p] = v
                p.sub_(v, alpha=self.rate)

    def extra_repr(self) -> str:
        return f"feedback={self.feedback!r}, rate={self.rate}, momentum={self.momentum}"
