"""Sizes that do not fit: run a model once on the input of its manifest, and say on which line it stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nnvocab.compose.manifest_text import Manifest, ManifestError, Where

SIZES = ("in_features", "in_channels", "input_size", "normalized_shape", "num_features", "embed_dim", "num_embeddings")
"""How modules name the size that they take."""


def check_sizes(model: nn.Module, x: Tensor, places: Mapping[nn.Module, Where], manifest: Manifest) -> None:
    """Run the model once, without training it, and turn what goes wrong into an error that names the line.

    Args:
        model: what was built.
        x: the input to try.
        places: where in the manifest each part stands.
        manifest: makes the error.

    Raises:
        ManifestError: if a part cannot take what it is given: which part, what it was given, what it takes.
    """
    running: list[tuple[nn.Module, Any]] = []

    def begin(module: nn.Module, given: Any) -> None:
        running.append((module, given))

    def end(module: nn.Module, given: Any, output: Any) -> None:
        running.pop()

    handles = [h for part in places for h in (part.register_forward_pre_hook(begin), part.register_forward_hook(end))]
    was_training = model.training
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model.eval()(x)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        raise _explain(error, *running[-1], places, manifest) from error
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()


def _explain(
    error: BaseException, module: nn.Module, given: Any, places: Mapping[nn.Module, Where], manifest: Manifest
) -> ManifestError:
    """Name the part that stopped, what it was given and what it takes."""
    while error.__cause__ is not None:  # what the part itself said, before the parts around it added to it
        error = error.__cause__
    size = next((f", but takes {name} {getattr(module, name)}" for name in SIZES if _is_size(module, name)), "")
    said = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
    return manifest.error(
        places[module],
        f"{module.manifest['type']} was given {_shapes(given)}{size} ({said}); change its sizes, or those of what comes "
        f"before it, until they agree",
    )


def _is_size(module: nn.Module, name: str) -> bool:
    return isinstance(getattr(module, name, None), int | tuple)


def _shapes(given: Any) -> str:
    """``"(1, 4)"`` for a tensor, ``"(1, 4) and (1, 3)"`` for two, and the type of anything else."""
    name: Callable[[Any], str] = lambda g: str(tuple(g.shape)) if isinstance(g, Tensor) else f"a {type(g).__name__}"  # noqa: E731
    return " and ".join(name(g) for g in given)
