"""The table of everything that a manifest can name, read from the registry."""

from __future__ import annotations

from pydantic import BaseModel
from torch import nn

from nnvocab.compose.layer_configs import CONFIGS
from nnvocab.compose.layer_specs import spec_of
from nnvocab.vocabulary import entry


@entry(
    name="Layer table",
    aliases=("All layer types table", "layer registry", "layer types"),
    ids=("caramba_all_layers",),
    page="from_yaml",
    kind="function",
    paper="yadan2019hydra",
    related=("Model manifest", "Layer configuration"),
)
def layer_table() -> list[tuple[str, str, str]]:
    """List what a manifest can name: the layer, what it is, and its arguments with their defaults.

    .. math::
        \\text{row} = (\\text{name},\\ \\text{what it is},\\ \\text{arguments})

    where the rows are read from the configurations and from the registry, so that none can be out of date.

    Shapes:
        Returns (name, what it is, arguments) for every configuration, then for every module of the vocabulary.

    Notice:
        An argument without a default is needed. Each name stands once: where a configuration and a module are called the same,
        a manifest means the configuration.

    Source: this package's own registry.

    >>> [row for row in layer_table() if row[0] == "DropoutLayer"]
    [('DropoutLayer', 'Set features to zero at random while training.', 'p')]
    """
    from nnvocab import entries

    def arguments(model: type[BaseModel]) -> str:
        return ", ".join(
            name if field.is_required() else f"{name}={field.default!r}" for name, field in model.model_fields.items()
        )

    rows = []
    for name, made in CONFIGS.items():
        first = (made.__doc__ or "").strip().splitlines()[0]
        rows.append((name, first, arguments(made)))
    for record in entries():
        if isinstance(record.object, type) and issubclass(record.object, nn.Module):
            if record.object.__name__ in CONFIGS:  # the name means the configuration, which is listed already
                continue
            try:
                rows.append((record.object.__name__, record.summary, arguments(spec_of(record.object))))
            except TypeError:  # its constructor takes any number of arguments: a topology does that in a manifest
                continue
    return rows
