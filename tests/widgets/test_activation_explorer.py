"""What the activation explorer must hold: its functions and its deep network against torch, and a reader's actions."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.widgets import ActivationExplorer
from nnvocab.widgets.activation_explorer import ACTIVATIONS, DEFAULTS, normals, sample, widths
from nnvocab.widgets.base import module_text
from tests import browser as shared
from tests.browser import MODEL, beside, check_legible, close_beside, exports, get, mount

pytestmark = pytest.mark.browser
TEXT = module_text("activation_explorer")


def settle(page):
    page.wait_for_timeout(80)  # what a slider changes is drawn 30 times a second
    shared.settle(page)


def put(page, **values):
    shared.put(page, **values)
    settle(page)


def number(text):
    text = text.replace("−", "-")
    if "·10" in text:
        digits = {c: d for d, c in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
        return float(text.split("·")[0]) * 10.0 ** -int("".join(str(digits[c]) for c in text.split("10")[1][1:]))
    return float(text.split()[0].rstrip("%"))


def table(page):
    """The table's numbers, row by row."""
    rows = page.evaluate(
        "[...document.querySelectorAll('.ae-line:not(.ae-headline)')].map(r => [...r.children].slice(2).map(c => c.textContent))"
    )
    return [[number(x) for x in row] for row in rows]


# ---- the arithmetic


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_function_and_derivative_are_torch_s(blank, name):
    generator = torch.Generator().manual_seed(0)
    x = torch.cat(
        [3 * torch.randn(300, generator=generator), torch.tensor([0.0, -3, 3, 30, -30, 1e-4, -1e-4])]
    ).double()
    for a in [DEFAULTS[name], 0.37, 0.0, 1.4] if name in DEFAULTS else [0.0]:
        xs = x.clone().requires_grad_()
        y = ACTIVATIONS[name](xs, a)
        (d,) = torch.autograd.grad(y.sum(), xs)
        found = exports(
            blank,
            TEXT,
            "(m, n, x, a) => { const e = m.ACTIVATIONS[n]; return [x.map(v => e.f(v, a)), x.map(v => e.d(v, a))]; }",
            *(name, x, a),
        )
        assert_close(torch.tensor(found[0], dtype=torch.float64), y.detach(), atol=1e-6, rtol=1e-5)
        assert_close(torch.tensor(found[1], dtype=torch.float64), d, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("function", [torch.sin, nn.Softplus(), nn.PReLU(init=0.4), lambda x: x**3 / 20, nn.CELU(2.0)])
def test_a_callable_is_sampled_closely_enough(blank, function):
    x = (torch.rand(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 15.6 - 7.8).requires_grad_()
    module = function.double() if isinstance(function, nn.Module) else function
    y = module(x)
    (d,) = torch.autograd.grad(y.sum(), x)
    found = exports(
        blank,
        TEXT,
        "(m, c, x) => { const e = m.sampled(c); return [x.map(v => e.f(v)), x.map(v => e.d(v))]; }",
        *(sample(function, "f"), x.detach()),
    )
    assert_close(torch.tensor(found[0], dtype=torch.float64), y.detach(), atol=1e-5, rtol=1e-5)
    assert_close(torch.tensor(found[1], dtype=torch.float64), d, atol=2e-4, rtol=1e-3)


def test_the_random_numbers_are_normal_and_the_same_in_python(blank):
    for seed in (0, 1, 999, 54_321):
        found = torch.tensor(exports(blank, TEXT, "(m, n) => [...m.normals(3000, n)]", seed), dtype=torch.float64)
        assert_close(found, torch.from_numpy(normals(3000, seed)), atol=1e-9, rtol=1e-9)
        assert abs(found.mean()) < 0.08 and abs(found.std() - 1) < 0.05 and abs((found**4).mean() - 3) < 0.6


def test_the_page_s_deep_network_is_torch_s(blank):
    names = [*ACTIVATIONS]
    for seed in range(16):
        widget = ActivationExplorer(names[seed % len(names)])
        widget.seed, widget.depth = seed, 1 + seed * 7 % 12
        widget.shape, widget.init = ("even", "narrowing")[seed % 2], ("kaiming", "xavier", "lecun")[seed % 3]
        widget.gain = (1.0, 0.5, 1.5, 2.2)[seed % 4]
        state = {k: getattr(widget, k) for k in ("shape", "depth", "seed", "init", "gain")}
        found = exports(
            blank,
            TEXT,
            "(m, n, a, s) => m.network(m.ACTIVATIONS[n], a, s).map(l => [l.mean, l.std, l.zeros, l.dead, l.grad])",
            *(widget.activation, widget.a, state),
        )
        expected = torch.tensor([list(row.values()) for row in widget.layers()], dtype=torch.float64)
        found = torch.tensor(found, dtype=torch.float64)
        if widget.activation in ("relu", "hardswish", "hardsigmoid"):
            assert_close(found, expected, atol=1e-5, rtol=1e-5)
        else:  # whether a far tail is exactly 0 is a matter of rounding
            assert_close(found[:, [0, 1, 4]], expected[:, [0, 1, 4]], atol=1e-5, rtol=1e-5)
            assert_close(found[:, 2:4], expected[:, 2:4], atol=0.01, rtol=0)


def test_the_error_function_is_torch_s(blank):
    x = torch.linspace(-7, 7, 2001, dtype=torch.float64)
    found = torch.tensor(exports(blank, TEXT, "(m, x) => x.map(m.erf)", x), dtype=torch.float64)
    assert_close(found, torch.erf(x), atol=1e-8, rtol=0)


def test_the_network_s_numbers_in_full_are_those_of_linear_layers(blank):
    n = widths("narrowing", 4)
    found = exports(
        blank,
        TEXT,
        "m => m.network(m.ACTIVATIONS.tanh, 0, {shape: 'narrowing', depth: 4, seed: 3, init: 'xavier', gain: 1.3})"
        ".map(l => [...l.a])",
    )
    x = torch.from_numpy(normals(40 * n[0], 3000)).view(40, -1)
    for i in range(4):
        layer = nn.Linear(n[i], n[i + 1], bias=False).double()
        std = 1.3 * (2 / (n[i] + n[i + 1])) ** 0.5
        layer.weight.data = torch.from_numpy(normals(n[i] * n[i + 1], 3001 + i)).view(n[i + 1], n[i]) * std
        x = layer(x).tanh()
        assert_close(torch.tensor(found[i + 1], dtype=torch.float64).view(40, -1), x.detach(), atol=1e-8, rtol=1e-6)


def test_histograms_count_everything(blank):
    x = 4 * torch.randn(500, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = torch.tensor(exports(blank, TEXT, "(m, x) => [...m.histogram(x, -3, 3, 12)]", x))
    assert found.sum() == 500
    assert torch.equal(found[1:-1].double(), torch.histc(x, 12, -3, 3)[1:-1])


def test_kaiming_keeps_relu_alive_where_lecun_lets_it_fade():
    widget = ActivationExplorer("relu")
    for depth_seed in range(4):
        widget.seed, widget.depth = depth_seed, 20
        sizes = {}
        for init in ("kaiming", "lecun"):
            widget.init = init
            sizes[init] = widget.layers()[-1]["std"]
        assert 0.2 < sizes["kaiming"] < 3 and sizes["lecun"] < 0.01


# ---- in the browser


def test_every_activation_is_chosen_and_its_numbers_are_shown(page):
    mount(page, ActivationExplorer())
    for name, f in ACTIVATIONS.items():
        put(page, activation=name, a=DEFAULTS.get(name, 0.0))
        for x in (-1.3, 0.0, 2.45):
            put(page, x=x)
            at = torch.tensor([x], dtype=torch.float64, requires_grad=True)
            y = f(at, DEFAULTS.get(name, 0.0))
            (d,) = torch.autograd.grad(y, at)
            shown = page.locator(".ae-big").all_inner_texts()
            assert number(shown[0].split("= ")[1]) == pytest.approx(y.item(), abs=6e-5, rel=0.1)
            assert number(shown[1].split("= ")[1]) == pytest.approx(d.item(), abs=6e-5, rel=0.1)
    page.click(".ae-list >> text='ELU'")
    settle(page)
    assert get(page, "activation", "a") == ["elu", 1] and page.locator("input[aria-label='a']").is_visible()
    page.focus("input[aria-label='a']")
    page.keyboard.press("Home")
    settle(page)
    assert get(page, "a") == 0 and "jumps at 0" in page.inner_text(".ae-card")


def test_the_point_is_dragged_and_moved_by_keyboard(page):
    mount(page, ActivationExplorer("tanh"))
    box = page.locator(".ae-plot").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 90, steps=6)
    page.mouse.up()
    page.mouse.move(box["x"] + 100, box["y"] + 90)
    settle(page)
    x = get(page, "x")
    assert x > 0 and f"f({x:.2f})" in page.inner_text(".ae-card")
    page.focus("input[aria-label='x']")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    settle(page)
    assert get(page, "x") == -4.95
    assert page.get_attribute(".ae-svg", "aria-label").startswith("Tanh: at x = −4.95 the value is −1.000")


def test_play_goes_layer_by_layer_and_steps_go_back(page):
    widget = ActivationExplorer()
    widget.depth, widget.layer = 3, 1
    mount(page, widget)
    page.click("button[aria-label='Play']")
    page.wait_for_function(f"{MODEL}.get('layer') === 3 && document.querySelector('button[aria-label=Play]')")
    assert page.locator(".ae-line.ae-on button").inner_text() == "3"
    page.keyboard.press(",")
    settle(page)
    assert get(page, "layer") == 2 and "Layer 2: 48 units" in page.inner_text(".ae-card")
    assert page.inner_text(".nnv-sr[aria-live]").startswith("GELU, layer 2: mean")
    page.focus("input[aria-label='Go to layer']")
    page.keyboard.press("Home")
    settle(page)
    assert get(page, "layer") == 0 and "The input" in page.inner_text(".ae-card")
    page.focus(".ae-line button[tabindex='0']")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    settle(page)
    assert get(page, "layer") == 1


def test_the_table_s_numbers_are_torch_s_after_every_control(page):
    widget = ActivationExplorer("relu")
    mount(page, widget)

    def same():
        for name in ("depth", "gain", "init", "shape", "seed"):
            setattr(widget, name, get(page, name))
        for got, row in zip(table(page), widget.layers(), strict=True):
            for shown, (key, value) in zip(got, row.items(), strict=True):
                value = 100 * value if key in ("zeros", "dead") else value
                assert shown == pytest.approx(value, rel=0.1, abs=0.51 if key in ("zeros", "dead") else 6e-3)

    same()
    page.select_option("select[aria-label='Initialisation']", value="2")
    page.select_option("select[aria-label='Widths']", label="from 64 to 16")
    settle(page)
    assert get(page, "init", "shape") == ["lecun", "narrowing"]
    same()
    page.focus("input[aria-label='Weight scale']")
    page.keyboard.press("End")
    page.click("text=Other weights")
    settle(page)
    assert get(page, "gain") == pytest.approx(3.98) and get(page, "seed") == 1
    same()
    page.focus("input[aria-label='Layers']")
    page.keyboard.press("Home")
    settle(page)
    assert get(page, "depth") == 1 and len(table(page)) == 2
    same()
    assert page.inner_text(".ae-verdict").startswith("Through 1 layer the standard deviation is multiplied by")


def test_a_guess_is_judged_before_the_table_is_shown(page):
    widget = ActivationExplorer("sigmoid")
    mount(page, widget)
    page.check("text=Guess first")
    settle(page)
    assert "10 layers of Sigmoid, Kaiming" in page.inner_text(".ae-guess")
    assert page.locator(".ae-line canvas").first.evaluate("e => getComputedStyle(e).visibility") == "hidden"
    page.click("text=stay between 1/10 and 10")
    settle(page)
    assert page.inner_text(".ae-guess .nnv-note").startswith("Not so: the gradient that reaches the input is")
    assert page.locator(".ae-line canvas").first.evaluate("e => getComputedStyle(e).visibility") == "visible"
    page.uncheck("text=Guess first")
    page.check("text=Guess first")
    page.click("text=fall below 1/10")
    assert page.inner_text(".ae-guess .nnv-note").startswith("Right")


def test_a_callable_from_python_stands_in_the_list(page):
    def wave(x):
        return torch.sin(2 * x) / 2 + x / 3

    widget = ActivationExplorer(wave, more=[nn.Softplus(), nn.Softplus(beta=3)])
    mount(page, widget)
    assert page.locator(".ae-list [aria-pressed=true]").inner_text() == "wave"
    assert page.locator(".ae-list button").all_inner_texts()[-3:] == ["wave", "Softplus", "Softplus_"]
    put(page, x=0.5)
    assert number(page.locator(".ae-big").first.inner_text().split("= ")[1]) == pytest.approx(
        wave(torch.tensor(0.5)).item(), abs=6e-5
    )
    for got, row in zip(table(page), widget.layers(), strict=True):
        assert got[1] == pytest.approx(row["std"], abs=6e-3, rel=0.02)


def test_the_address_sets_the_state(page, tmp_path):
    query = "#ActivationExplorer?activation=elu&a=0.5&x=-2&depth=6&gain=1.5&init=lecun&layer=4&beside=selu"
    mount(page, ActivationExplorer(), path=tmp_path / "w.html", query=query)
    assert get(page, "activation", "a", "x", "depth", "gain", "init", "layer") == ["elu", 0.5, -2, 6, 1.5, "lecun", 4]
    assert len(table(page)) == 7 and "ELU: f(x)" in page.inner_text(".ae-card")
    page.evaluate("location.hash = '#ActivationExplorer?activation=mish'")
    page.wait_for_function(f"{MODEL}.get('activation') === 'mish'")


def test_values_out_of_range_are_held_inside(page):
    mount(page, ActivationExplorer())
    put(
        page,
        x=99,
        depth=200,
        gain=99,
        layer=77,
        seed=-4,
        a=1e9,
        init="none",
        shape="odd",
        beside="none",
        activation="no",
    )
    assert len(table(page)) == 21 and "f(5.00)" in page.inner_text(".ae-card")


def test_two_on_a_page_keep_to_themselves(page):
    mount(page, ActivationExplorer())
    other = beside(page, ActivationExplorer("relu"))
    other.locator(".ae-list button").nth(9).click()
    settle(page)
    assert get(page, "activation") == "gelu"
    close_beside(page)


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_serious_for_axe_and_it_fits_a_phone(phone, dark):
    widget = ActivationExplorer()
    widget.depth = 20
    mount(phone, widget, dark=dark)
    for activation, gain in (("gelu", 1.0), ("elu", 4.0), ("sigmoid", 0.1)):
        put(phone, activation=activation, gain=gain)
        check_legible(phone)
        wide = phone.evaluate(
            "[...document.querySelectorAll('.ae-line > *')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
        )
        assert wide == 0  # no number runs into the next


# ---- what is refused, and what stands still


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        ("swishy", ValueError, "must be one of relu, leaky_relu"),
        (3, TypeError, "a callable of a tensor; it was given 3"),
        (lambda x: x.softmax(dim=0), ValueError, "by itself"),
        (lambda x: x[:5], ValueError, "returns one number for each"),
        (lambda x: (x > 0).double(), ValueError, "has no gradient"),
        (lambda x: x.log(), ValueError, "not finite"),
        (lambda x: 3.0, ValueError, "made float"),
    ],
)
def test_what_is_no_activation_is_refused_with_a_reason(function, error, message):
    from traitlets import TraitError

    with pytest.raises((error, TraitError), match=f"(?s){message}"):
        ActivationExplorer(function)


def test_the_state_is_small_and_its_picture_and_text_stand_still():
    from matplotlib import pyplot as plt

    for widget in [ActivationExplorer(n) for n in ACTIVATIONS] + [
        ActivationExplorer(torch.sin, [torch.cos, torch.atan])
    ]:
        state = {k: v for k, v in widget.get_state().items() if k not in {"_esm", "layout", "tabbable", "tooltip"}}
        assert len(json.dumps(state)) < 200_000
        figure = widget.still()
        assert figure.get_size_inches()[0] <= 7.2
        plt.close(figure)
        assert repr(widget) == repr(widget) and "0x" not in repr(widget)
