"""Read a manifest's text: YAML with variables, and the line on which everything stands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

KEYS = ("name", "notes", "vars", "input", "topology")
VARIABLE = r"\$\{\s*([^}:]*?)\s*\}"
WHOLE = "(manifest)"  # beside the variables, under a name that none of them has
Where = tuple[str | int, ...]


class ManifestError(ValueError):
    """A manifest that cannot be built: the message names the file, the line, what is wrong and how to mend it."""


def near(word: str, known: Iterable[str]) -> str:
    """``"did you mean 'd_model'?"``, or what there is to choose from."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"there is {', '.join(known) or 'none'}"


@dataclass
class Manifest:
    """A manifest that was read: its variables are filled in, and each value still knows its line.

    Args:
        data: the mapping, with every ``${variable}`` replaced by its value.
        source: the name of the file, for messages.
        lines: the line of each value by its path, such as ``("topology", "layers", 0)``.
    """

    data: dict[str, Any]
    source: str
    lines: dict[Where, int] = field(default_factory=dict)

    def error(self, where: Where, text: str) -> ManifestError:
        """Make the error for what stands at ``where``."""
        known = where
        while known and known not in self.lines:
            known = known[:-1]
        path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in where).lstrip(".")
        line = f", line {self.lines[known]}" if known in self.lines else ""
        return ManifestError(f"{self.source}{line}: {path + ': ' if path else ''}{text}")


def _walk(node: yaml.Node, where: Where, found: Manifest) -> None:
    """Note the lines, and refuse a key that is given twice."""
    found.lines[where] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                found.lines[(*where, key.value)] = key.start_mark.line + 1
                raise found.error((*where, key.value), "the key is given twice: keep one of the two")
            seen.add(key.value)
            _walk(value, (*where, key.value), found)
            found.lines[(*where, key.value)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _walk(value, (*where, i), found)


def _variables(value: Any, where: Where, known: Mapping[str, Any], found: Manifest) -> None:
    """Refuse a variable that has no value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _variables(inner, (*where, key), known, found)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _variables(inner, (*where, i), known, found)
    elif isinstance(value, str):
        for name in re.findall(VARIABLE, value):
            if name not in known:
                raise found.error(where, f"the variable ${{{name}}} has no value under vars; {near(name, known)}")


def read_manifest(source: str | Path | Mapping[str, Any], variables: Mapping[str, Any] | None = None) -> Manifest:
    """Read a manifest and fill in its variables.

    Args:
        source: a file, the text of one (it has a line break), or a mapping.
        variables: values that replace those under ``vars``.

    Raises:
        ManifestError: if it is no YAML mapping, a key is unknown or given twice, or a variable has no value.
        FileNotFoundError: if there is no such file.
        TypeError: if ``source`` is none of these.

    >>> read_manifest("vars: {d: 4}\\ntopology: {type: torch.nn.Linear, in_features: '${d}', out_features: 2}").data["topology"]
    {'type': 'torch.nn.Linear', 'in_features': 4, 'out_features': 2}
    """
    if not isinstance(source, Mapping | str | Path):
        raise TypeError(
            f"source is a {type(source).__name__}, but must be a file, the text of a manifest, or a mapping"
        )
    if isinstance(source, Mapping):
        found, data = Manifest({}, "manifest"), dict(source)
    else:
        is_text = isinstance(source, str) and "\n" in source
        path = Path("manifest" if is_text else source)
        text = source if is_text else path.read_text(encoding="utf-8")
        found = Manifest({}, path.name)
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            raise ManifestError(f"{path.name}{line}: this is no YAML: {getattr(error, 'problem', error)}") from error
        if node is not None:
            _walk(node, (), found)
    if not isinstance(data, dict) or "topology" not in data:
        raise ManifestError(f"{found.source}: a manifest is a mapping with the key 'topology'; given: {str(data)[:60]}")
    for key in data:
        if key not in KEYS:
            raise found.error((key,), f"unknown key; {near(str(key), KEYS)}")
    given = data.get("vars") or {}
    if not isinstance(given, dict):
        raise found.error(("vars",), f"vars is a mapping of names to values; given: {given!r}")
    for name in variables or {}:
        if name not in given:
            raise ManifestError(f"{found.source}: there is no variable {name!r} to set; {near(name, given)}")
    values = {**given, **(variables or {})}
    _variables({**data, "vars": values}, (), values, found)
    _circle(values, found)
    try:
        whole = OmegaConf.create({**values, WHOLE: {**data, "vars": values}})
        found.data = OmegaConf.to_container(whole, resolve=True)[WHOLE]
    except (OmegaConfBaseException, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else "variables refer to each other in a circle"
        raise found.error(_place(error, values), f"a variable cannot be filled in: {first}") from error
    return found


def _circle(values: Mapping[str, Any], found: Manifest) -> None:
    """Refuse variables that refer to each other in a circle."""
    uses = {name: re.findall(VARIABLE, value) if isinstance(value, str) else () for name, value in values.items()}
    try:
        TopologicalSorter(uses).prepare()
    except CycleError as error:
        path = list(reversed(error.args[1]))
        text = f"the variables {' -> '.join(path)} refer to each other in a circle: give one of them a value"
        raise found.error(("vars", path[0]), text) from error


def _place(error: Exception, values: Mapping[str, Any]) -> Where:
    """Where the value stands that OmegaConf could not fill in."""
    words = re.findall(r"[^.\[\]]+", getattr(error, "full_key", None) or "")
    where = tuple(int(word) if word.isdigit() else word for word in words)
    return where[1:] if where[:1] == (WHOLE,) else ("vars", *where) if where and where[0] in values else ()
