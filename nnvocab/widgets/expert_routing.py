"""A mixture of experts' router at work: which token goes to which expert, who is dropped, and what balance costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import traitlets as t
from torch import Tensor, nn

from nnvocab.widgets.base import Widget
from nnvocab.widgets.mask_patterns import uniform

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_TOKENS, MOST_EXPERTS = 32, 8
ROUTERS = ("router", "gate", "gating", "score")
SENTENCE = "the cat sat on the mat and the dog sat on the log"
NEED = (
    "ExpertRouting takes logits, a tensor (tokens, experts); or a router, an nn.Linear or a module that holds one as its "
    "router, gate or score, and x, a tensor (tokens, width)"
)


def gaussian(count: int, seed: int) -> list[float]:
    """Standard normal numbers, the same ones as in the page (Box and Muller's)."""
    numbers = uniform(seed)
    pairs = ((next(numbers), next(numbers)) for _ in range(count))
    return [math.sqrt(-2 * math.log(1 - a)) * math.cos(2 * math.pi * b) for a, b in pairs]


def _find_router(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.Linear):
        return module
    for name in ROUTERS:
        if isinstance(getattr(module, name, None), nn.Module):
            return getattr(module, name)
    raise TypeError(
        f"{NEED}; {type(module).__name__} has none of {', '.join(ROUTERS)}. Pass the linear layer that makes the logits"
    )


def _settings(module: nn.Module, router: nn.Module) -> dict[str, Any]:
    """What a module says of how it routes: k, renormalizing, its capacity, who chooses."""
    state: dict[str, Any] = {}
    for part in (router, module):
        if isinstance(k := getattr(part, "top_k", None), int) and 1 <= k <= MOST_EXPERTS:
            state["top_k"] = k
        if isinstance(value := getattr(part, "renormalize", None), bool):
            state["renormalize"] = value
    if hasattr(module, "capacity_factor"):
        state["limit"] = module.capacity_factor is not None
        if state["limit"]:
            state["capacity_factor"] = min(8.0, max(0.1, float(module.capacity_factor)))
    if "choice" in type(module).__name__.lower():
        state["mode"] = "expert"
    return state


def _run(router: nn.Module, x: Any) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(f"a router was given with x = {type(x).__name__}; {NEED}")
    flat = x.detach().reshape(-1, x.shape[-1]) if x.ndim > 1 else x.detach()[None]
    training = router.training
    try:
        with torch.no_grad():
            logits = router.eval()(flat)
    except RuntimeError as error:
        raise ValueError(f"the router did not run on x of shape {tuple(x.shape)}: {error}") from error
    finally:
        router.train(training)
    logits = logits[0] if isinstance(logits, tuple) else logits
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(flat):
        raise TypeError(f"the router returned no logits (tokens, experts) but {type(logits).__name__}; {NEED}")
    return logits


def _checked(logits: Any) -> Tensor:
    logits = torch.as_tensor(logits, dtype=torch.float64).detach().cpu()
    N, E = logits.shape if logits.ndim == 2 else (0, 0)
    if not (2 <= N <= MOST_TOKENS and 2 <= E <= MOST_EXPERTS):
        raise ValueError(
            f"logits of shape {tuple(logits.shape)} cannot be shown; give (tokens, experts) with 2 to {MOST_TOKENS} "
            f"tokens and 2 to {MOST_EXPERTS} experts, such as logits[:16, :4]"
        )
    if not bool(logits.isfinite().all()):
        raise ValueError("the logits hold nan or inf; give finite numbers")
    return logits


class ExpertRouting(Widget):
    """Tokens on their way to experts: the router's softmax, the choices, the capacity, and the losses that balance.

    Without arguments the tokens are the words of a sentence, each word a random vector of 8 numbers, and the router is
    a random linear layer (both of seed 0): nothing is trained, so the same word always wants the same expert.

    Args:
        logits_or_router: the router's logits, (tokens, experts), or a router, or a module that holds one as ``router``,
            ``gate`` or ``score``, such as ``MixtureOfExperts`` (its ``top_k`` and ``capacity_factor`` are taken too).
        x: the router's input, (tokens, width), or (1, tokens, width).
        tokens: a name for each token: a list, or a string of words.

    Notice:
        In token choice a capacity of ⌈factor · k · tokens / experts⌉ is filled in the order of the tokens, first
        choices before second ones; who comes too late is dropped, and only the residual connection carries it on. In
        expert choice each expert takes its ⌈factor · tokens / experts⌉ best tokens, with the softmax over the experts
        as the score.

    Raises:
        TypeError: for what has no router. ValueError: for logits of another shape, or names that do not fit.
    """

    file = "expert_routing"

    tokens = t.List(t.Unicode()).tag(sync=True)
    logits = t.List(help="(tokens, experts)").tag(sync=True)
    bias = t.List(t.Float(), help="added to the logits of each expert").tag(sync=True)
    mode = t.CaselessStrEnum(("token", "expert"), "token", help="who chooses").tag(sync=True)
    top_k = t.Int(1, min=1, max=MOST_EXPERTS).tag(sync=True)
    renormalize = t.Bool(True, help="divide the chosen weights by their sum").tag(sync=True)
    limit = t.Bool(True, help="an expert has a capacity").tag(sync=True)
    capacity_factor = t.Float(1.25, min=0.1, max=8.0).tag(sync=True)
    noise = t.Float(0.0, min=0.0).tag(sync=True)
    seed = t.Int(0, min=0).tag(sync=True)
    step = t.Int(1000, min=1, help="how many choices have been carried out").tag(sync=True)
    token = t.Int(1, min=0).tag(sync=True)
    expert = t.Int(0, min=0).tag(sync=True)

    def __init__(self, logits_or_router: Any = None, x: Any = None, tokens: Any = None) -> None:
        state: dict[str, Any] = {}
        if logits_or_router is None:
            if x is not None:
                raise TypeError(f"x was given without a router; {NEED}")
            names = (tokens if tokens is not None else SENTENCE).split() if not isinstance(tokens, list) else tokens
            generator = torch.Generator().manual_seed(0)
            router = torch.randn(8, 4, generator=generator, dtype=torch.float64) / 8**0.5
            words = {name: torch.randn(8, generator=generator, dtype=torch.float64) for name in dict.fromkeys(names)}
            found = 1.5 * torch.stack([words[name] for name in names]) @ router if names else torch.zeros(0, 4)
            tokens = names
        elif isinstance(logits_or_router, nn.Module):
            router = _find_router(logits_or_router)
            found, state = _run(router, x), _settings(logits_or_router, router)
        elif isinstance(logits_or_router, (Tensor, list)):
            if x is not None:
                raise TypeError(f"x belongs to a router, and logits were given; {NEED}")
            found = logits_or_router
        else:
            raise TypeError(f"{NEED}; it was given {type(logits_or_router).__name__}")
        found = _checked(found)
        N, E = found.shape
        names = (
            [str(i + 1) for i in range(N)] if tokens is None else tokens.split() if isinstance(tokens, str) else tokens
        )
        if len(names) != N:
            raise ValueError(f"{len(names)} names were given for {N} tokens; give {N}")
        rows = [[float(f"{v:.6g}") for v in row] for row in found.tolist()]
        state["top_k"] = min(state.get("top_k", 1), E)
        state |= {"bias": [0.0] * E, "token": N - 1, "expert": int(found[-1].argmax())}
        super().__init__(tokens=[str(n) for n in names], logits=rows, **state)

    @t.validate("logits")
    def _grid(self, proposal: dict) -> list:
        return [[float(v) for v in row] for row in _checked(proposal["value"]).tolist()]

    def route(self) -> dict[str, Any]:
        """The routing of the present state: p, chosen, kept and weight, each (tokens, experts); capacity; losses."""
        z = torch.tensor(self.logits, dtype=torch.float64) + torch.tensor(self.bias, dtype=torch.float64)
        N, E = z.shape
        z = z + self.noise * torch.tensor(gaussian(N * E, self.seed), dtype=torch.float64).view(N, E)
        p, k = z.softmax(dim=1), min(self.top_k, E)
        chosen, kept = torch.zeros(N, E, dtype=torch.bool), torch.zeros(N, E, dtype=torch.bool)
        share = self.capacity_factor * N / E
        if self.mode == "token":
            capacity = min(N, max(1, math.ceil(share * k - 1e-9))) if self.limit else N
            order = z.argsort(dim=1, descending=True, stable=True)
            for rank in range(k):
                for n, e in enumerate(order[:, rank].tolist()):
                    chosen[n, e] = True
                    kept[n, e] = kept[:, e].sum() < capacity
            total = (p * chosen).sum(dim=1, keepdim=True) if self.renormalize else 1.0
        else:
            capacity = min(N, max(1, math.ceil(share - 1e-9)))
            best = p.argsort(dim=0, descending=True, stable=True)[:capacity]
            kept = chosen.scatter(0, best, True)
            chosen, total = kept, 1.0
        f = chosen.double().sum(dim=0) / chosen.sum()
        return {
            **{"p": p, "chosen": chosen, "kept": kept, "weight": p * kept / total, "capacity": capacity},
            **{"balance": (E * f * p.mean(dim=0)).sum().item(), "z": z.logsumexp(dim=1).square().mean().item()},
        }

    def still(self) -> Figure:
        """The router's probabilities with what was chosen, kept and dropped, and the load of each expert."""
        from matplotlib import pyplot as plt

        from nnvocab.style import MAGNITUDE, PALETTE

        found = self.route()
        N, E = found["p"].shape
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, max(3.2, 0.26 * N)), layout="constrained")
        image = left.imshow(found["p"].numpy(), cmap=MAGNITUDE, vmin=0, vmax=1, aspect="auto")
        for n, e in found["chosen"].nonzero().tolist():
            kept = bool(found["kept"][n, e])
            colour = PALETTE["output"] if kept else PALETTE["gradient"]
            left.text(e, n, "✓" if kept else "✗", ha="center", va="center", color="white" if kept else colour, size=11)
        left.set_yticks(range(N), self.tokens, size=8)
        left.set_xticks(range(E), [str(e + 1) for e in range(E)])
        left.set(xlabel="expert", title="Router's probability: ✓ kept, ✗ dropped")
        left.grid(False)
        figure.colorbar(image, ax=left, shrink=0.6)
        kept, dropped = (x.sum(dim=0).numpy() for x in (found["kept"], found["chosen"] & ~found["kept"]))
        right.bar(range(1, E + 1), kept, color=PALETTE["output"])
        right.bar(range(1, E + 1), dropped, bottom=kept, color=PALETTE["gradient"], hatch="//")
        right.axhline(found["capacity"], color=PALETTE["masked"], linestyle="--")
        right.text(E + 0.45, found["capacity"], " capacity", va="bottom", ha="right", size=9)
        right.set_xticks(range(1, E + 1))
        right.set(xlabel="expert", ylabel="tokens", title=f"Load; balancing loss {found['balance']:.2f}")
        return figure
