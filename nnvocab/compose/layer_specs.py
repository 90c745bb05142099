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
    if not isinstance(name, str):
        raise TypeError(f"a layer is named by a string; given: {name!r}")
    if name.startswith("torch.nn."):
        made = getattr(nn, name.removeprefix("torch.nn."), None)
        if not _callable(made):
            from nnvocab.compose.manifest_text import near

            known = [word for word in dir(nn) if _callable(getattr(nn, word))]
            close = near(name.removeprefix("torch.nn."), known)
            hint = f"; {close}" if close.startswith("did") else ""
            raise KeyError(f"torch.nn has no module {name.removeprefix('torch.nn.')!r} that can be called{hint}")
        return made
    record = vocabulary.find(name)
    chapter = importlib.import_module(f"nnvocab.{record.chapter}")
    made = getattr(chapter, name, record.object)  # a class of the same entry may be named by itself
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise TypeError(f"{record.name} is filed as a {record.kind} ({record.import_path}) and is no module to build")
    return made


def _callable(made: Any) -> bool:
    """Whether it is a module that computes something: a list of modules, for one, does not."""
    return isinstance(made, type) and issubclass(made, nn.Module) and made.forward is not nn.Module.forward


def _parameters(layer: type[nn.Module]) -> list[inspect.Parameter]:
    """The parameters of the constructor; torch's recurrent layers hide theirs behind ``*args``."""
    if layer.__init__ is nn.Module.__init__ or layer is nn.Identity:  # which ignores whatever it is given
        return []
    if layer in (nn.RNN, nn.LSTM, nn.GRU):
        unknown = {"self", "mode"} if layer is nn.LSTM else {"self", "mode", "proj_size"}
        return [p for name, p in inspect.signature(nn.RNNBase.__init__).parameters.items() if name not in unknown]
    return list(inspect.signature(layer.__init__).parameters.values())[1:]


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
        hints = get_type_hints(nn.RNNBase.__init__ if issubclass(layer, nn.RNNBase) else layer.__init__)
    except NameError:  # a name that only a type checker knows
        hints = {}
    fields: dict[str, Any] = {}
    for p in _parameters(layer):
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise TypeError(
                f"{layer.__name__} takes any number of unnamed arguments (*{p.name}), which a manifest cannot write: use a "
                f"topology such as stacked"
            )
        default = Field(...) if p.default is p.empty else p.default
        fields[p.name] = (
            _annotation(hints.get(p.name, p.annotation if not isinstance(p.annotation, str) else Any)),
            default,
        )
    return create_model(f"{layer.__name__}Arguments", __config__=STRICT, **fields)


def explain(error: ValidationError, what: str, known: list[str]) -> list[tuple[tuple[str | int, ...], str]]:
    """Turn pydantic's findings into (place, sentence) pairs that say what is needed and how to mend it."""
    from nnvocab.compose.manifest_text import near

    said = []
    for e in sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden"):  # what is misspelt is not missing
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


def writable(value: Any) -> bool:
    """Whether YAML can hold it."""
    if isinstance(value, dict):
        return all(writable(v) for v in value.values())
    if isinstance(value, list | tuple):
        return all(writable(v) for v in value)
    return value is None or isinstance(value, str | int | float | bool)
