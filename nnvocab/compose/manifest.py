"""Build a model from a manifest: YAML that names layers, their arguments, and how they are joined."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import nn

from nnvocab.compose.layer_configs import CONFIGS
from nnvocab.compose.layer_specs import explain, find_layer, spec_of, writable
from nnvocab.compose.manifest_sizes import check_sizes
from nnvocab.compose.manifest_text import Manifest, ManifestError, Where, near, read_manifest
from nnvocab.compose.parallel import Parallel
from nnvocab.compose.residual import Residual
from nnvocab.compose.sequential import Sequential
from nnvocab.compose.topologies import Cyclic, Graph, Recurrent, WithoutStates
from nnvocab.vocabulary import Example, entry

Built = tuple[nn.Module, dict[str, Any]]
PARALLEL = ("mode", "dim", "pad", "gate", "grid", "positions", "skip_zeros")
TOPOLOGIES: dict[str, tuple[str, ...]] = {
    "stacked": (),
    "sequential": (),
    "nested": (),
    "residual": (),
    "parallel": PARALLEL,
    "branching": (),
    "cyclic": ("iterations",),
    "recurrent": (),
    "graph": ("nodes", "output"),
}
"""The topologies and the keys that each takes beside type, layers, repeat and share."""


def _topology(name: Any) -> str | None:
    """``"ResidualTopology"`` and ``"residual"`` are the same word; None if it is no topology."""
    word = str(name).lower().removesuffix("topology").rstrip("_- ")
    return word if word in TOPOLOGIES else None


class _Builder:
    """One pass over a manifest; ``where`` is always the path of what is being built."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.places: dict[nn.Module, Where] = {}

    def fail(self, where: Where, text: str) -> ManifestError:
        return self.manifest.error(where, text)

    def mapping(self, spec: Any, where: Where) -> dict[str, Any]:
        if not isinstance(spec, dict) or "type" not in spec:
            raise self.fail(where, f"a layer is a mapping with the key 'type'; given: {str(spec)[:60]!r}")
        return spec

    def build(self, spec: Any, where: Where) -> Built:
        """Build a layer or a topology; return it with its own manifest, defaults written out."""
        spec = self.mapping(spec, where)
        topology = _topology(spec["type"])
        made, written = self.layer(spec, where) if topology is None else self.topology(topology, spec, where)
        made.manifest = written
        self.places[made] = where
        return made, written

    def layer(self, spec: dict[str, Any], where: Where) -> Built:
        """Build one layer by its name, its arguments checked against its constructor."""
        name, given = str(spec["type"]), {str(k): v for k, v in spec.items() if k != "type"}
        try:
            make = None if name in CONFIGS else find_layer(name)
            model = CONFIGS[name] if make is None else spec_of(make)
        except (KeyError, TypeError) as error:
            close = "" if name.startswith("torch.nn.") else near(name, [*CONFIGS, *TOPOLOGIES])
            hint = close if close.startswith("did") else "torch's own are named torch.nn.Name"
            raise self.fail((*where, "type"), f"{error.args[0]}; {hint}") from None
        inner = {}
        for key, value in given.items():  # an argument may itself be a layer
            if isinstance(value, dict) and "type" in value:
                given[key], inner[key] = self.build(value, (*where, key))
        checked = self.check(model, given, name, where)
        arguments = {key: getattr(checked, key) for key in model.model_fields}
        try:
            made = checked.build() if make is None else make(**arguments)
        except (ValueError, TypeError, RuntimeError) as error:
            raise self.fail(where, f"{name}: {error}") from error
        said = {**(arguments if make is not None else checked.written()), **inner}
        return made, {
            "type": name,
            **{k: list(v) if isinstance(v, tuple) else v for k, v in said.items() if writable(v)},
        }

    def check(self, model: type[BaseModel], given: dict[str, Any], name: str, where: Where) -> BaseModel:
        """Hold what was given to the names and types that are known."""
        for key, value in given.items():
            if (
                isinstance(value, bool)
                and key in model.model_fields
                and model.model_fields[key].annotation in (int, float)
            ):
                raise self.fail(
                    (*where, key), f"{key} is {value}, but must be a number"
                )  # pydantic would take it for 1 or 0
        try:
            return model(**given)
        except ValidationError as error:
            place, text = explain(error, name, list(model.model_fields))[0]
            raise self.fail((*where, *place), text) from None

    def layers(self, spec: dict[str, Any], where: Where) -> tuple[list[nn.Module], list[dict[str, Any]]]:
        found = spec.get("layers")
        if not isinstance(found, list) or not found:
            raise self.fail((*where, "layers"), "a topology needs 'layers', a list of one layer at least")
        built = [self.build(layer, (*where, "layers", i)) for i, layer in enumerate(found)]
        return [made for made, _ in built], [written for _, written in built]

    def count(self, spec: dict[str, Any], key: str, where: Where, default: int | None = None) -> int:
        value = spec.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.fail((*where, key), f"{key} is {value!r}, but must be a whole number of at least 1")
        return value

    def topology(self, kind: str, spec: dict[str, Any], where: Where) -> Built:
        """Build a topology, as often as it says."""
        known = ("type", "repeat", "share", *(() if kind == "graph" else ("layers",)), *TOPOLOGIES[kind])
        for key in spec:
            if key not in known:
                raise self.fail((*where, key), f"{kind} has no key {key!r}; {near(str(key), known)}")
        repeat, share = self.count(spec, "repeat", where, 1), spec.get("share", False)
        if not isinstance(share, bool):
            raise self.fail((*where, "share"), f"share is {share!r}, but must be true or false")
        first, written = self.join(kind, spec, where)
        written = {"type": kind, **written, **({"repeat": repeat, "share": share} if repeat > 1 else {})}
        if repeat == 1:
            return first, written
        return Sequential(
            *[first, *(first if share else self.join(kind, spec, where)[0] for _ in range(repeat - 1))]
        ), written

    def join(self, kind: str, spec: dict[str, Any], where: Where) -> Built:
        """Build the layers of a topology once and join them."""
        if kind == "graph":
            return self.graph(spec, where)
        layers, written = self.layers(spec, where)
        keys: dict[str, Any] = {"layers": written}
        try:
            if kind == "residual":
                return Residual(Sequential(*layers)), keys
            if kind == "cyclic":
                keys["iterations"] = self.count(spec, "iterations", where)
                return Cyclic(layers, keys["iterations"]), keys
            if kind == "recurrent":  # inside of something else its states have nowhere to go
                alone = where == ("topology",) and spec.get("repeat", 1) == 1
                return Recurrent(layers) if alone else WithoutStates(Recurrent(layers)), keys
            if kind == "branching":
                return Parallel(layers, "concat"), keys
            if kind == "parallel":
                chosen = {key: spec[key] for key in PARALLEL if key in spec}
                if isinstance(chosen.get("gate"), dict):
                    chosen["gate"], keys["gate"] = self.build(chosen["gate"], (*where, "gate"))
                self.check(spec_of(Parallel), {"branches": layers, **chosen}, kind, where)
                return Parallel(layers, **chosen), {**{k: v for k, v in chosen.items() if writable(v)}, **keys}
        except (ValueError, TypeError) as error:
            raise error if isinstance(error, ManifestError) else self.fail(where, str(error)) from error
        return Sequential(*layers), keys

    def graph(self, spec: dict[str, Any], where: Where) -> Built:
        """Build the nodes of a graph and join them."""
        found = spec.get("nodes")
        if not isinstance(found, list) or not found:
            raise self.fail((*where, "nodes"), "a graph needs 'nodes', a list of mappings with id, inputs and layer")
        nodes: dict[str, tuple[nn.Module, list[str]]] = {}
        written = []
        for i, node in enumerate(found):
            at = (*where, "nodes", i)
            if not isinstance(node, dict) or set(node) != {"id", "inputs", "layer"}:
                raise self.fail(at, f"a node has exactly the keys id, inputs and layer; given: {str(node)[:80]}")
            name, takes = str(node["id"]), node["inputs"] if isinstance(node["inputs"], list) else [node["inputs"]]
            if name in nodes:
                raise self.fail((*at, "id"), f"the id {name!r} is given twice: rename one of the two")
            layer, layer_written = self.build(node["layer"], (*at, "layer"))
            nodes[name] = (layer, [str(t) for t in takes])
            written.append({"id": name, "inputs": nodes[name][1], "layer": layer_written})
        if not isinstance(spec.get("output"), str | None):
            raise self.fail((*where, "output"), f"output is {spec['output']!r}, but must be the id of one node")
        try:
            made = Graph(nodes, spec.get("output"))
        except ValueError as error:
            words = {*re.findall(r"\w+", str(error)), *re.findall(r"'(.*?)'", str(error))}
            named = [i for i, name in enumerate(nodes) if name in words]
            raise self.fail((*where, "nodes", *named[:1]), str(error)) from error
        return made, {"nodes": written, "output": made.output}


_SMALL = """
vars: {d_model: 4}
topology:
  type: residual
  layers:
    - {type: torch.nn.LayerNorm, normalized_shape: "${d_model}"}
    - {type: torch.nn.Linear, in_features: "${d_model}", out_features: "${d_model}"}
"""


@entry(
    name="Model manifest",
    aliases=("config-driven layers", "manifest layers", "typed layer configs", "models from YAML"),
    ids=("caramba_config_layers", "caramba_topologies"),
    page="from_yaml",
    kind="function",
    paper="yadan2019hydra",
    example=lambda: Example(build_model(_SMALL), (torch.randn(2, 4),)),
    related=("Layer configuration", "Graph topology", "Cyclic topology"),
)
def build_model(source: str | Path | Mapping[str, Any], variables: Mapping[str, Any] | None = None) -> nn.Module:
    r"""Build the model that a YAML manifest describes.

    .. math::
        \text{stacked: } f_n \circ \dots \circ f_1 \qquad \text{residual: } x + f(x) \qquad
        \text{parallel: } [f_1(x);\, \dots;\, f_n(x)]

    where :math:`f_i` are layers or, again, topologies.

    Args:
        source: a file, the text of a manifest (it has a line break), or a mapping.
        variables: values that replace those under ``vars``.

    Shapes:
        The model takes and gives what its first and last layers do.

    Notice:
        A layer is named by any name of its entry or as ``torch.nn.Name``, and its arguments are those of its
        constructor. ``repeat: N`` builds N copies with weights of their own; with ``share: true`` it is one set of
        weights, used N times. ``model.manifest`` (and that of every part) is the manifest with all defaults written
        out, and building it again gives the same architecture. With an ``input`` the model runs once on it, so that sizes
        which do not fit are found here; without one they are found when the model is used. A recurrent topology
        returns its states only where it is the whole model.

    Raises:
        ManifestError: if a key, layer, argument or variable is unknown or wrong, or sizes do not fit; the message names the line.
        FileNotFoundError: if there is no such file.

    Source: this package's own format. Reading and validation are those of OmegaConf and pydantic.

    >>> model = build_model({"topology": {"type": "residual", "layers": [{"type": "torch.nn.Identity"}]}})
    >>> model(torch.ones(1, 2))
    tensor([[2., 2.]])
    """
    manifest = read_manifest(source, variables)
    builder = _Builder(manifest)
    made, _ = builder.build(manifest.data["topology"], ("topology",))
    with torch.random.fork_rng(devices=[]):  # the trial leaves what is drawn next as it was
        x = _input(manifest)
    if x is not None:
        check_sizes(made, x, builder.places, manifest)
    return made


def resolved(model: nn.Module) -> dict[str, Any]:
    """Return the manifest of a model that ``build_model`` made, with every default written out.

    Raises:
        ValueError: if the model was not built from a manifest.
    """
    written = getattr(model, "manifest", None)
    if not isinstance(written, dict):
        raise ValueError(f"this {type(model).__name__} was not built from a manifest, so it has none")
    return {"topology": copy.deepcopy(written)}


def example_input(
    source: str | Path | Mapping[str, Any], variables: Mapping[str, Any] | None = None
) -> torch.Tensor | None:
    """Make an input of the size that a manifest gives under ``input``: random numbers, or whole numbers below ``below``.

    Raises:
        ManifestError: if ``input`` has another form than ``{shape: [sizes]}`` or ``{shape: [sizes], below: number}``.

    >>> example_input({"input": {"shape": [2, 3]}, "topology": {}}).shape
    torch.Size([2, 3])
    """
    return _input(read_manifest(source, variables))


def _input(manifest: Manifest) -> torch.Tensor | None:
    given = manifest.data.get("input")
    if given is None:
        return None
    shape, below = (given.get("shape"), given.get("below")) if isinstance(given, dict) else (None, None)
    sizes = isinstance(shape, list) and bool(shape) and all(type(n) is int and n > 0 for n in shape)
    if not sizes or set(given) - {"shape", "below"} or (below is not None and (type(below) is not int or below < 1)):
        text = (
            f"input has the form {{shape: [sizes of at least 1], below: a number, for whole numbers}}; given: {given!r}"
        )
        raise manifest.error(("input",), text)
    return torch.randn(shape) if below is None else torch.randint(below, shape)
