"""What must hold for every entry: the registry drives these tests, and an entry states the reason where one cannot apply."""

from __future__ import annotations

import copy
import doctest
import inspect
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close
from torch.utils._pytree import tree_flatten, tree_map

import nnvocab
from nnvocab.cards import cite, read_doc
from nnvocab.vocabulary import Entry, find

ROOT = Path(__file__).parents[2]
ENTRIES = nnvocab.entries()
WITH_EXAMPLE = [e for e in ENTRIES if e.example is not None]
each = pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.slug)
each_example = pytest.mark.parametrize("entry", WITH_EXAMPLE, ids=lambda e: e.slug)


def example_of(entry: Entry, contract: str, device: torch.device | str = "cpu"):
    torch.manual_seed(0)
    example = entry.example()
    if contract in example.skip:
        pytest.skip(f"{entry.name}: {contract} does not apply: {example.skip[contract]}")
    module = example.module.to(device) if isinstance(example.module, nn.Module) else example.module
    return module, tuple(i.to(device) if isinstance(i, Tensor) else i for i in example.inputs)


def tensors(result) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(result)[0] if isinstance(leaf, Tensor)]


def floats(result) -> list[Tensor]:
    return [t for t in tensors(result) if t.is_floating_point() or t.is_complex()]


def cast(values, dtype):
    return tree_map(lambda v: v.to(dtype) if isinstance(v, Tensor) and v.is_floating_point() else v, values)


@each_example
def test_gradients_are_right_in_float64(entry, device):
    module, inputs = example_of(entry, "gradcheck", device)
    if isinstance(module, nn.Module):
        module = module.double().eval()
    inputs = cast(inputs, torch.float64)
    names = [n for n, p in module.named_parameters() if p.requires_grad] if isinstance(module, nn.Module) else []
    weights = [dict(module.named_parameters())[n].detach().clone().requires_grad_() for n in names]
    free = [i.detach().clone().requires_grad_() for i in inputs if isinstance(i, Tensor) and i.is_floating_point()]

    def call(*all_free):
        given = iter(all_free[: len(free)])
        args = [next(given) if isinstance(i, Tensor) and i.is_floating_point() else i for i in inputs]
        changed = dict(zip(names, all_free[len(free) :], strict=True))
        result = torch.func.functional_call(module, changed, tuple(args)) if names else module(*args)
        return tuple(t for t in floats(result) if t.requires_grad)

    nondet = 0.0 if device.type == "cpu" else 1e-10  # on a GPU, sums are added in any order
    assert torch.autograd.gradcheck(call, (*free, *weights), fast_mode=True, atol=1e-4, nondet_tol=nondet)


@each_example
def test_runs_on_any_device(entry):
    """Fake CUDA tensors catch a tensor that was made on the CPU by mistake, where there is no GPU."""
    module, inputs = example_of(entry, "fake_cuda")

    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=False):

        def fake(t):
            return torch.empty(t.shape, dtype=t.dtype, device="cuda") if isinstance(t, Tensor) else t

        args = tuple(tree_map(fake, i) for i in inputs)
        if isinstance(module, nn.Module):
            state = {n: fake(t) for n, t in [*module.named_parameters(), *module.named_buffers()]}
            result = torch.func.functional_call(module.eval(), state, args)
        else:
            result = module(*args)
    assert tensors(result), "the example returns no tensor"
    assert all(t.device.type == "cuda" for t in tensors(result))


@each_example
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=["float64", "bfloat16"])
def test_keeps_the_dtype_it_is_given(entry, dtype, device):
    module, inputs = example_of(entry, "dtype", device)
    if isinstance(module, nn.Module):
        module = module.to(dtype)
    for result in floats(module(*cast(inputs, dtype))):
        assert result.dtype == dtype or (result.is_complex() and dtype == torch.float64)


@each_example
def test_a_batch_of_one_is_a_row_of_the_batch(entry, device):
    module, inputs = example_of(entry, "batch_of_one", device)
    if isinstance(module, nn.Module):
        module = module.eval()
    with torch.no_grad():
        whole = floats(module(*inputs))
        one = floats(module(*(i[:1] if isinstance(i, Tensor) else i for i in inputs)))
    assert whole, "the example returns no floating-point tensor"
    for many, single in zip(whole, one, strict=True):
        assert_close(many[:1], single, rtol=1e-4, atol=1e-5)


@each_example
def test_state_dict_goes_round(entry, device):
    module, inputs = example_of(entry, "state_dict", device)
    if not isinstance(module, nn.Module):
        pytest.skip(f"{entry.name}: state_dict does not apply: it is a function, without state")
    torch.manual_seed(1)
    other = entry.example().module.to(device)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.1)
    missing = other.load_state_dict(copy.deepcopy(module.state_dict()))
    assert not missing.missing_keys and not missing.unexpected_keys
    assert_close(floats(other.eval()(*inputs)), floats(module.eval()(*inputs)))


@each_example
def test_the_same_seed_gives_the_same_result(entry, device):
    results = []
    for _ in range(2):
        module, inputs = example_of(entry, "same_seed", device)
        torch.manual_seed(3)
        results.append(tensors(module(*inputs)))
    assert_close(*results, rtol=0, atol=0)


@each_example
def test_compiles_to_the_same_value(entry, device):
    """Graph capture and functionalization by torch.compile; code generation is left out, since it tests the compiler."""
    module, inputs = example_of(entry, "compile", device)
    module = module.eval() if isinstance(module, nn.Module) else module
    torch._dynamo.reset()
    with torch.no_grad():
        torch.manual_seed(3)
        plain = tensors(module(*inputs))
        torch.manual_seed(3)
        compiled = tensors(torch.compile(module, backend="aot_eager")(*inputs))
    assert_close(compiled, plain, rtol=1e-4, atol=1e-5)


def torch_class(entry: Entry) -> type | None:
    """torch's class of the same layer, if the entry names one as its peer."""
    found = getattr(nn, (entry.peer or "").removeprefix("torch.nn."), None)
    both = inspect.isclass(found) and inspect.isclass(entry.object) and issubclass(entry.object, nn.Module)
    return found if both else None


OTHER_DEFAULTS = {("RMS normalization", "eps"): "torch takes the smallest step of the input's type, the paper a number"}


@pytest.mark.parametrize("entry", [e for e in ENTRIES if torch_class(e)], ids=lambda e: e.slug)
def test_an_argument_that_torch_has_too_has_torchs_default(entry):
    ours, theirs = (inspect.signature(c).parameters for c in (entry.object, torch_class(entry)))
    for name in ours.keys() & theirs.keys():
        defaults = {p[name].default for p in (ours, theirs)} - {inspect.Parameter.empty}
        assert len(defaults) <= 1 or (entry.name, name) in OTHER_DEFAULTS, (name, defaults)


@each
def test_docstring_is_complete_and_its_example_runs(entry):
    thing = entry.object
    doc = read_doc(thing)
    text = inspect.getdoc(thing) or ""
    where = f"{entry.import_path}: its docstring"
    assert doc.summary.endswith("."), f"{where} must begin with one sentence"
    if entry.example is not None:
        assert "Shapes" in doc.sections, f"{where} must have a section 'Shapes:'"
    arguments = [p for p in inspect.signature(thing).parameters.values() if p.name not in {"self", "generator"}]
    said = text.replace("``", "")
    missing = [p.name for p in arguments if not re.search(rf"\b{re.escape(p.name)}\b", said)]
    assert not missing, f"{where} does not mention the arguments {missing}"
    found = doctest.DocTestFinder(recurse=False).find(thing, entry.slug, globs={**vars(inspect.getmodule(thing))})
    examples = [t for t in found if t.examples]
    assert examples, f"{where} must have an example that runs (>>> ...)"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    torch.manual_seed(0)
    for test in examples:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


@each
def test_record_is_complete(entry):
    for name in entry.related:
        find(name)
    if entry.paper:
        cite(entry.paper)
    if entry.kind != "concept":
        assert entry.paper or entry.evidence == "speculative", f"{entry.name} names no paper"
    if inspect.isclass(entry.object):
        count = len([p for p in inspect.signature(entry.object).parameters if p != "self"])
        assert count <= 8, f"{entry.import_path} takes {count} arguments: a knob that changes the idea is a new class"
    lines = inspect.getsource(inspect.getmodule(entry.object)).count("\n")
    assert lines <= 300, f"{entry.code} has {lines} lines; one concept a file, never over 300"


@each
def test_has_an_independent_oracle(entry):
    """A test marked ``@pytest.mark.oracle("<slug>", by="brute force | closed form | peer: ...")`` holds it to the truth."""
    path = ROOT / entry.test
    assert path.exists(), f"{entry.name} has no test file {entry.test}"
    marks = re.findall(r'pytest\.mark\.oracle\(\s*((?:"[a-z0-9-]+",\s*)+)by="([^"]+)"', path.read_text())
    named = {slug: by for slugs, by in marks for slug in re.findall(r'"([a-z0-9-]+)"', slugs)}
    assert entry.slug in named, f'{entry.test} must mark a test with @pytest.mark.oracle("{entry.slug}", by="...")'
    assert re.match(r"brute force|closed form|peer: \S", named[entry.slug])
