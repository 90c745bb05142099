"""What the parallel combine widget must hold: values and gradients against torch, and what a reader does in a browser."""

import json
import math

import entmax
import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.widgets import ParallelCombine
from nnvocab.widgets.base import module_text
from nnvocab.widgets.parallel_combine import KINDS, MODES
from tests.browser import MODEL, beside, check_legible, close_beside, exports, get, mount, put, settle

TEXT = module_text("parallel_combine")
RUN = (
    "(m, spec, o) => { const f = m.forward(spec, o), g = o.g ?? f.out.map((_, j) => Math.sin(3 * j + 1));"
    " return {f, g, b: m.backward(spec, f, g, o)}; }"
)


def say(page):
    return page.inner_text(".pc-say")


def labels(page):
    """Title → what stands in the cell."""
    names = page.eval_on_selector_all(".pc-cell", "x => x.map(c => c.ariaLabel)")
    return dict(name.rsplit(": ", 1) for name in names)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def gate(z, kind):
    return {"softmax": torch.softmax, "sparsemax": entmax.sparsemax, "entmax": entmax.entmax15}[kind](z, dim=-1)


def oracle(spec, x, logits, mode, kind, T, fit, frozen, g=None):
    """The same forward and backward pass by autograd, with torch.cat, sums, and the entmax package."""
    x = tensor(x).requires_grad_()
    weights = [tensor(b["W"]).requires_grad_(not f) for b, f in zip(spec["branches"], frozen, strict=True)]
    parts = [W @ x + tensor(b["b"]) for W, b in zip(weights, spec["branches"], strict=True)]
    [p.retain_grad() for p in parts]
    wide, fitted = max(len(p) for p in parts), parts
    stitches = [tensor(s).requires_grad_() for s in spec["stitch"]]
    uneven = mode != "concat" and len({len(p) for p in parts}) > 1
    if uneven and fit == "pad":
        fitted = [nn.functional.pad(p, (0, wide - len(p))) for p in parts]
    elif uneven:
        fitted = [S @ p for S, p in zip(stitches, parts, strict=True)]
    z = tensor(spec["gate"]["W"]) @ x + tensor(spec["gate"]["b"]) if spec["gate"] else tensor(logits).requires_grad_()
    z.retain_grad()
    w = gate(z / T, kind)
    if mode == "concat":
        y = torch.cat(fitted)
    elif mode == "grid_scatter":
        cells = torch.zeros(*spec["grid"], wide, dtype=torch.float64)
        for part, (r, c, l) in zip(fitted, spec["positions"], strict=True):
            cells = cells.index_put((torch.tensor(r), torch.tensor(c), torch.tensor(l)), part)
        y = cells.flatten()
    else:
        stacked = torch.stack(fitted)
        y = {"add": stacked.sum(dim=0), "avg": stacked.mean(dim=0), "filter": w @ stacked}[mode]
    g = torch.sin(3 * torch.arange(len(y)) + 1.0).double() if g is None else tensor(g)
    y.backward(g)
    return {
        **{"out": y.detach(), "weights": w.detach(), "parts": [p.grad for p in parts], "x": x.grad, "z": z.grad},
        **{
            "W": [W.grad for W in weights],
            "stitch": [s.grad for s in stitches] if uneven and fit == "stitch" else None,
        },
    }


def specs(count=60):
    """Linear branches drawn at random, with every mode, gate and size."""
    generator = np.random.default_rng(0)
    for i in range(count):
        N, M = int(generator.integers(2, 5)), int(generator.integers(1, 5))
        sizes = generator.integers(1, 6, size=N) if i % 3 else [3] * N
        draw = lambda *shape: generator.normal(size=shape).tolist()  # noqa: E731
        branches = [{"values": draw(n), "W": draw(n, M), "b": draw(n)} for n in sizes]
        cells = generator.permutation(8)[:N]
        spec = {
            **{"x": draw(M), "branches": branches, "linear": True, "logits": draw(N)},
            **{"gate": {"W": draw(N, M), "b": draw(N)} if i % 2 else {}, "grid": [2, 2, 2]},
            **{"stitch": [draw(max(sizes), n) for n in sizes]},
            "positions": [[int(c) // 4, int(c) // 2 % 2, int(c) % 2] for c in cells],
        }
        yield (
            spec,
            {
                **{
                    "mode": MODES[i % 5],
                    "kind": KINDS[i // 5 % 3],
                    "temperature": float(np.exp(generator.normal() / 2)),
                },
                **{"fit": ("pad", "stitch")[i // 2 % 2], "frozen": [bool(v) for v in generator.integers(2, size=N)]},
                **{"x": draw(M), "logits": [2 * v for v in draw(N)]},
            },
        )


def close(found, expected):
    assert_close(tensor(found), expected, atol=1e-7, rtol=1e-6)


# ---- the arithmetic, held to torch


def test_values_and_every_gradient_are_autograd_s(blank):
    for spec, o in specs():
        found = exports(blank, TEXT, RUN, spec, o)
        expected = oracle(spec, o["x"], o["logits"], o["mode"], o["kind"], o["temperature"], o["fit"], o["frozen"])
        close(found["f"]["out"], expected["out"])
        close(found["f"]["mix"]["weights"], expected["weights"])
        for mine, theirs in zip(found["b"]["dParts"], expected["parts"], strict=True):
            close(mine, theirs)
        for mine, theirs, ice in zip(found["b"]["dW"], expected["W"], o["frozen"], strict=True):
            assert (mine is None) == (theirs is None) == ice
            if not ice:
                close(mine, theirs)
        close(found["b"]["dx"], expected["x"])
        if o["mode"] == "filter":
            close(found["b"]["dLogits"], expected["z"])
        if expected["stitch"] is not None:
            for mine, theirs in zip(found["b"]["dStitch"], expected["stitch"], strict=True):
                close(mine, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_gates_are_the_entmax_package_s_with_their_gradient(blank, kind):
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        z = (torch.randn(2 + seed % 5, generator=generator, dtype=torch.float64) * (1 + seed % 4)).requires_grad_()
        up = torch.randn(len(z), generator=generator, dtype=torch.float64)
        T = 0.4 + seed % 3
        w = gate(z / T, kind)
        w.backward(up)
        found = exports(
            blank,
            TEXT,
            "(m, z, up, kind, T) => { const r = m.gate(z, kind, T);"
            " return [r.weights, m.gateBackward(r.weights, up, kind, T).dz, r.tau ?? 0]; }",
            *(z.detach(), up, kind, T),
        )
        close(found[0], w.detach())
        close(found[1], z.grad)
        x = z.detach() / T
        if kind == "sparsemax":
            close((x - found[2]).clamp_min(0).tolist(), w.detach())
        elif kind == "entmax":
            close((x / 2 - found[2]).clamp_min(0).square().tolist(), w.detach())


def test_the_gate_s_gradient_is_the_formula_of_the_text(blank):
    w, s, T = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([2.0, -1.0, 0.5]), 0.7
    found = exports(blank, TEXT, "(m, w, s, T) => m.gateBackward(w, s, 'softmax', T).dz", w, s, T)
    assert_close(torch.tensor(found), w * (s - (w * s).sum()) / T)


def test_the_default_is_the_weighted_sum_of_the_three_branches(blank):
    widget = ParallelCombine()
    assert [p.tolist() for p in widget.outputs()] == [
        pytest.approx([1, 2, 3]),
        pytest.approx([0.5] * 3),
        pytest.approx([0.2, 0.3, 0.2]),
    ]
    found = exports(blank, TEXT, RUN, widget.specs["equal"], {"mode": "filter"})
    assert found["f"]["mix"]["weights"] == pytest.approx([0.6, 0.3, 0.1], abs=1e-5)
    assert found["f"]["out"] == pytest.approx([0.77, 1.38, 1.97], abs=1e-4)


# ---- a reader's own modules and numbers


def compose():
    compose = pytest.importorskip("nnvocab.compose", reason="the compose chapter is not there")
    if not (hasattr(compose, "Parallel") and hasattr(compose, "Gate")):
        pytest.skip("the compose chapter has no parallel layer")
    return compose


def layers():
    c = compose()
    torch.manual_seed(0)

    def three():
        return [nn.Linear(3, 4), nn.Sequential(nn.Linear(3, 4), nn.Tanh()), nn.Linear(3, 4, bias=False)]

    yield c.Parallel(three())
    yield c.Parallel([*three(), nn.Linear(3, 2)], "add", pad=True)
    yield c.Parallel(three(), "grid_scatter", grid=(2, 2), positions=[(0, 1), (1, 0), (1, 1)])
    yield c.Parallel(three(), "filter", gate=c.Gate(nn.Linear(3, 3), kind="entmax", temperature=0.5))
    yield c.Parallel(three()[::2], "filter", gate=c.Gate(nn.Linear(3, 2)))


@pytest.mark.parametrize("case", range(5))
def test_a_parallel_layer_is_shown_with_its_values_and_input_gradient(blank, case):
    module = list(layers())[case]
    for weight in module.branches[0].parameters():
        weight.requires_grad_(False)
    x = torch.randn(1, 3, requires_grad=True)
    widget = ParallelCombine(module, x)
    assert widget.frozen[:2] == [True, False] and module.training
    spec, y = widget.specs["given"], module(x)
    g = torch.randn(y.numel())
    y.backward(g.view_as(y))
    o = {n: getattr(widget, n) for n in ("mode", "kind", "temperature", "frozen")} | {"g": g.tolist()}
    found = exports(blank, TEXT, RUN, spec, o)
    assert_close(torch.tensor(found["f"]["out"]), y.detach().flatten(), atol=1e-4, rtol=1e-4)
    assert_close(torch.tensor(found["b"]["dx"]), x.grad[0], atol=1e-4, rtol=1e-3)
    last = len(module.branches) - 1
    assert_close(torch.tensor(found["b"]["dW"][last]), module.branches[last].weight.grad, atol=1e-4, rtol=1e-3)
    assert found["b"]["dW"][0] is None and spec["linear"] == (case == 4)


def test_any_module_with_branches_and_plain_vectors_are_taken(page):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.branches = nn.ModuleList([nn.Tanh(), nn.Linear(2, 3)])

        def forward(self, x):
            return torch.cat([b(x) for b in self.branches], dim=-1)

    widget = ParallelCombine(Both(), torch.tensor([0.5, -1.0]))
    assert widget.mode == "concat" and widget.frozen == [False, False]
    mount(page, widget)
    assert labels(page)["Branch 1, number 2"] == "−0.76"
    assert "What Tanh returns for this x" in (put(page, at="v-0-1") or say(page))


def test_plain_vectors_are_edited_in_their_fields(page):
    widget = ParallelCombine([[1, 2], [3, 4, 5]])
    assert widget.mode == "add" and [len(p) for p in widget.outputs()] == [2, 3]
    mount(page, widget)
    page.fill("input[aria-label='Branch 2, number 1']", "-3")
    settle(page)
    assert get(page, "values") == [[1, 2], [-3, 4, 5]] and labels(page)["Output number 1"] == "−2.00"
    widget.values = get(page, "values")
    assert widget.outputs()[1].tolist() == [-3, 4, 5]
    put(page, at="out-2")
    assert "0.00 + 5.00 = 5.00" in say(page)
    assert page.locator("text=gradient of x").count() == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("concat",), TypeError, "it was given str"),
        ((None, torch.zeros(2)), TypeError, "x was given without a module"),
        (([[1, 2], [3, 4]], torch.zeros(2)), TypeError, "vectors were given"),
        (([1, 2, 3],), TypeError, "it was given"),
        (([[1, 2]],), ValueError, "1 vectors"),
        (([[1] * 9, [2]],), ValueError, "of \\[9, 1\\] numbers"),
        (([[1], [math.inf]],), ValueError, "were given"),
        ((nn.Linear(2, 2), torch.zeros(2)), TypeError, "Linear has 0 branches"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_a_reason(arguments, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        ParallelCombine(*arguments)


def test_modules_that_cannot_be_shown_are_refused_with_a_reason():
    c = compose()
    two = [nn.Linear(2, 3), nn.Linear(2, 3)]
    with pytest.raises(TypeError, match="with x = NoneType"):
        ParallelCombine(c.Parallel(two))
    with pytest.raises(ValueError, match="C up to 8"):
        ParallelCombine(c.Parallel([nn.Linear(2, 9), nn.Linear(2, 3)]), torch.zeros(2))
    chooses = c.Parallel(two, "filter", gate=c.Gate(nn.Linear(2, 2), hard=True))
    with pytest.raises(ValueError, match="is not shown"):
        ParallelCombine(chooses, torch.zeros(2))


# ---- the figure in a browser


def test_play_goes_forward_and_then_back_to_the_branches(page):
    mount(page, ParallelCombine())
    page.focus("input[aria-label='Go to step']")
    page.keyboard.press("Home")
    settle(page)
    assert labels(page)["Output number 1"] == "not yet" and labels(page)["Branch 1, number 2"] == "2.00"
    page.click("button[aria-label='Play']")
    page.wait_for_function(f"{MODEL}.get('at') === 'out-1'", timeout=9000)
    page.click("button[aria-label='Pause']")
    settle(page)
    assert labels(page)["Output number 1"] == "0.77" and labels(page)["The gradient of branch 1, number 1"] == "not yet"
    page.keyboard.press(".")
    settle(page)
    assert get(page, "at") == "out-2" and "0.60·3.00 + 0.30·0.50 + 0.10·0.20 = 1.97" in say(page)
    page.focus("input[aria-label='Go to step']")
    page.keyboard.press("End")
    settle(page)
    assert "not yet" not in labels(page).values() and get(page, "at") == "dx-0"


def test_the_numbers_of_the_page_are_autograd_s(page):
    widget = ParallelCombine()
    mount(page, widget)
    for preset in ("equal", "unequal"):
        for mode in MODES:
            for fit in ("pad", "stitch"):
                put(page, preset=preset, mode=mode, fit=fit, upstream=[])
                spec, shown = widget.specs[preset], labels(page)
                count = page.locator("input[aria-label^='Gradient of output']").count()
                g = [float(e.input_value()) for e in page.locator("input[aria-label^='Gradient of output']").all()]
                e = oracle(spec, spec["x"], spec["logits"], mode, "softmax", 1.0, fit, [False] * 3, g)
                assert count == len(e["out"])
                pairs = [(f"Output number {j + 1}", v) for j, v in enumerate(e["out"].tolist())]
                pairs += [(f"The gradient of input {k + 1}", v) for k, v in enumerate(e["x"].tolist())]
                for i, part in enumerate(e["parts"]):
                    pairs += [
                        (f"The gradient of branch {i + 1}, number {k + 1}", v) for k, v in enumerate(part.tolist())
                    ]
                for title, value in pairs:
                    assert float(shown[title].replace("−", "-")) == pytest.approx(value, abs=0.0051), (mode, title)


def test_every_number_tells_where_it_comes_from(page):
    mount(page, ParallelCombine())
    for key in page.evaluate("[...document.querySelectorAll('.pc-cell')].length") and ["out-1", "d-0-2", "z-1", "dx-0"]:
        put(page, at=key)
        assert page.locator(".pc-at").count() == 1 and page.locator(".pc-from").count() > 0
    put(page, at="out-1")
    outlined = page.eval_on_selector_all(".pc-from", "x => x.map(c => c.ariaLabel.split(':')[0])")
    assert outlined == [
        *(f"Branch {i}, number 2" for i in (1, 2, 3)),
        *(f"The weight of branch {i}" for i in (1, 2, 3)),
    ]
    page.locator(".pc-cell[aria-label^='The gradient of branch 2, number 3']").hover()
    settle(page)
    assert "w·g = 0.30·2.00 = 0.60" in say(page) and get(page, "at") == "out-1"


def test_cells_are_reached_by_keyboard(page):
    mount(page, ParallelCombine())
    page.locator(".pc-cell[tabindex='0']").focus()
    assert page.evaluate("document.activeElement.ariaLabel").startswith("Output number 1")
    page.keyboard.press("ArrowRight")
    settle(page)
    assert get(page, "at") == "out-1" and "Output number 2" in page.inner_text("[aria-live]")
    page.keyboard.press("ArrowDown")
    settle(page)
    assert get(page, "at") == "dx-1"
    assert page.locator(".pc-cell[tabindex='0']").count() == 1


def test_a_frozen_branch_gets_no_weight_gradient_and_lets_the_input_s_through(page):
    mount(page, ParallelCombine())
    before = labels(page)
    page.check("input[aria-label='Freeze branch 1']")
    settle(page)
    after = labels(page)
    assert get(page, "frozen") == [True, False, False]
    assert after.pop("The gradient of the weights of branch 1") == "none ❄"
    before.pop("The gradient of the weights of branch 1")
    assert after == before
    put(page, at="W-0")
    assert "Frozen" in say(page)
    put(page, at="dx-0")
    assert "(branch 1, frozen)" in say(page)


def test_inputs_logits_and_the_gradient_from_above_are_edited(page):
    mount(page, ParallelCombine())
    page.fill("input[aria-label='Logit of branch 3']", "9")
    page.fill("input[aria-label='Input 1']", "4")
    page.fill("input[aria-label='Gradient of output 2']", "0")
    settle(page)
    assert get(page, "x") == [4, 2] and get(page, "upstream") == [1, 0, 2] and get(page, "logits")[2] == 9
    assert labels(page)["The weight of branch 3"] == "1.00"
    page.select_option("select[aria-label=Gate]", label="sparsemax")
    settle(page)
    shown = labels(page)
    assert shown["The weight of branch 1"] == "0.00" and shown["The gradient of logit 1"] == "0.00"
    put(page, at="w-0")
    assert "Exactly zero" in say(page)
    page.click("text=Reset")
    settle(page)
    assert get(page, "x", "logits", "upstream") == [[], [], []]


def test_padding_loses_a_gradient_and_a_stitch_does_not(page):
    widget = ParallelCombine()
    widget.preset, widget.mode = "unequal", "add"
    mount(page, widget)
    put(page, at="e-1-3")
    assert "falls on padding and is lost" in say(page)
    put(page, at="p-1-3")
    assert "0: padding" in say(page)
    page.select_option("select[aria-label='Unequal sizes']", label="stitch: a linear layer each")
    settle(page)
    assert "A stitch is a linear layer" in say(page)
    put(page, at="d-1-0")
    assert "Sᵀ e" in say(page)


def test_a_guess_is_judged_before_the_gradients_are_shown(page):
    mount(page, ParallelCombine())
    page.check("input[aria-label='Guess first']")
    settle(page)
    assert labels(page)["The gradient of branch 1, number 1"] == "not yet"
    page.click("button[aria-label='Branch 2']")
    settle(page)
    assert "No: the lengths are" in page.inner_text("[aria-label=Guess]")
    assert "not yet" not in labels(page).values() and get(page, "at") == "d-0-0"


def test_the_address_sets_the_state(page, tmp_path):
    query = "#ParallelCombine?preset=unequal&mode=concat&at=out-5&x=[2,1]"
    mount(page, ParallelCombine(), path=tmp_path / "w.html", query=query)
    assert get(page, "preset", "mode", "at", "x") == ["unequal", "concat", "out-5", [2, 1]]
    assert "Number 1 of branch 3" in say(page)
    page.evaluate(
        "location.hash = '#ParallelCombine?mode=filter&kind=entmax&temperature=0.5&preset=equal&at=nowhere&x=[1]'"
    )
    page.wait_for_function(f"{MODEL}.get('mode') === 'filter'")
    settle(page)
    assert "Output number 1" in say(page) and get(page, "kind") == "entmax"


def test_two_on_a_page_keep_to_themselves(page):
    mount(page, ParallelCombine())
    other = beside(page, ParallelCombine([[1, 2], [3, 4]]))
    other.locator("input[type=checkbox]").first.check()
    settle(page)
    assert get(page, "frozen") == []
    close_beside(page)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("mode", ["filter", "grid_scatter"])
def test_nothing_serious_for_axe_and_it_fits_a_phone(phone, dark, mode):
    widget = ParallelCombine()
    widget.preset, widget.mode = "unequal", mode
    mount(phone, widget, dark=dark)
    check_legible(phone)


def test_the_state_is_small_and_its_picture_and_text_stand_still():
    from matplotlib import pyplot as plt

    unequal = ParallelCombine()
    unequal.preset = "unequal"
    for widget in (ParallelCombine(), unequal, ParallelCombine([[1] * 8] * 4)):
        state = {k: v for k, v in widget.get_state().items() if k not in {"_esm", "layout", "tabbable", "tooltip"}}
        assert len(json.dumps(state)) < 200_000
        figure = widget.still()
        assert figure.get_size_inches()[0] <= 7.2
        plt.close(figure)
        assert repr(widget) == repr(widget) and "0x" not in repr(widget)
