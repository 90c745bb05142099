"""What a layer of a manifest may say: read from the constructor of the class that it names, and held to it."""

from __future__ import annotations

import importlib
import inspect
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from torch import nn

from nnvocab import vocabulary

STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())


def find_layer(name: str) -> type[nn.Module]:
    """Find the class that a manifest names: an entry by any of its names, or ``torch.nn.Name``.

    Raises:
        KeyError: if there is none; the message names the nearest.
        TypeError: if the entry is a function or a concept, which has no weights to build.

    >>> find_layer("RMSNorm").__name__, find_layer("torch.nn.Flatten").__name__
    ('RMSNorm', 'Flatten')
    """
    if name.startswith("torch.nn."):
        made = getattr(nn, name.removeprefix("torch.nn."), None)
        if not (isinstance(made, type) and issubclass(made, nn.Module)):
            raise KeyError(f"torch.nn has no module {name.removeprefix('torch.nn.')!r}")
        return made
    record = vocabulary.find(name)
    chapter = importlib.import_module(f"nnvocab.{record.chapter}")
    made = getattr(chapter, name, record.object)  # a class of the same entry may be named by itself
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise TypeError(f"{record.name} is filed as a {record.kind} ({record.import_path}) and is no module to build")
    return made


def _annotation(hint: Any) -> Any:
    return Any if hint is inspect.Parameter.empty else hint


@cache
def spec_of(layer: type[nn.Module]) -> type[BaseModel]:
    """Make the model that checks a layer's arguments: names, types and defaults are those of its constructor.

    Raises:
        TypeError: if the constructor takes any number of arguments, so that they have no names.

    >>> sorted(spec_of(nn.Linear).model_fields)
    ['bias', 'device', 'dtype', 'in_features', 'out_features']
    """
    try:
        hints = get_type_hints(layer.__init__)
    except NameError:  # a name that only a type checker knows
        hints = {}
    fields: dict[str, Any] = {}
    bare = layer.__init__ is nn.Module.__init__ or layer is nn.Identity  # which ignores whatever it is given
    named = {} if bare else inspect.signature(layer.__init__).parameters
    for name, p in list(named.items())[1:]:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise TypeError(
                f"{layer.__name__} takes any number of unnamed arguments (*{name}), which a manifest cannot write: use a "
                f"topology such as stacked"
            )
        default = Field(...) if p.default is p.empty else p.default
        fields[name] = (
            _annotation(hints.get(name, p.annotation if not isinstance(p.annotation, str) else Any)),
            default,
        )
    return create_model(f"{layer.__name__}Arguments", __config__=STRICT, **fields)


def explain(error: ValidationError, what: str, known: list[str]) -> list[tuple[tuple[str | int, ...], str]]:
    """Turn pydantic's findings into (place, sentence) pairs that say what is needed and how to mend it."""
    from nnvocab.compose.manifest_text import near

    said = []
    for e in error.errors():
        place = tuple(e["loc"])
        key = str(place[0]) if place else what
        if e["type"] == "extra_forbidden":
            text = f"{what} has no argument {key!r}; {near(key, known)}"
        elif e["type"] == "missing":
            text = f"{what} needs the argument {key!r}: add it"
        else:
            text = f"{key} is {e['input']!r}, but {e['msg'][0].lower()}{e['msg'][1:]}"
        said.append((place[:1] if e["type"] != "missing" else (), text))
    return said
