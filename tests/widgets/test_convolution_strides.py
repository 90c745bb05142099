"""The widget that slides a kernel: its arithmetic held to torch in a browser, its controls, its state, its access."""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import nn
from torch.testing import assert_close

from nnvocab.widgets import ConvolutionStrides
from nnvocab.widgets._convolution_settings import KERNELS, preset
from nnvocab.widgets.base import module_text
from tests.browser import beside, check_legible, close_beside, exports, get, mount, serious, settle, widget_html

pytestmark = pytest.mark.browser
TEXT = module_text("convolution_strides")
FULL = (
    "(m, all) => all.map(([s, x, w, b]) => { const P = m.plan(s); if (P.error) return P.error;"
    " return w.map((_, o) => [...m.convolve(x, w, b, P, s.groups, o)]); })"
)
Y = "() => document.querySelector('.cs-y').textContent"


def draw(seed):
    """A layer of random kind and settings, and its input; None where torch refuses or nothing comes out."""
    pick = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    dims, transposed, groups = pick.choice([1, 2, 2]), pick.random() < 0.4, pick.choice([1, 1, 2, 3])
    channels = groups * pick.randint(1, 2), groups * pick.randint(1, 2)
    setting = {
        key: [pick.randint(low, 3) for _ in range(dims)]
        for key, low in [("stride", 1), ("padding", 0), ("dilation", 1)]
    }
    kernel = tuple(pick.randint(1, 4) for _ in range(dims))
    if transposed:
        extra = [pick.randrange(max(s, d)) for s, d in zip(setting["stride"], setting["dilation"], strict=True)]
        kind, setting["output_padding"] = (nn.ConvTranspose1d, nn.ConvTranspose2d)[dims - 1], extra
    else:
        kind, setting["padding_mode"] = (
            (nn.Conv1d, nn.Conv2d)[dims - 1],
            pick.choice(["zeros", "reflect", "replicate", "circular"]),
        )
        if pick.random() < 0.2:
            setting["padding"], setting["stride"] = "same", 1
    setting = {key: tuple(v) if isinstance(v, list) else v for key, v in setting.items()}
    layer = kind(*channels, kernel, groups=groups, bias=pick.random() < 0.7, **setting)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    x = torch.randn(channels[0], *(pick.randint(3, 9) for _ in range(dims)), generator=generator)
    try:
        y = layer(x[None])[0].detach()
    except RuntimeError:
        return None
    return (layer, x, y) if y.numel() else None


def told(widget):
    """What the JavaScript is given: the widget's own traits."""
    names = "dims stride padding dilation output_padding padding_mode transposed groups".split()
    setting = {name: getattr(widget, name) for name in names}
    kernel, x = widget.weight[0][0], widget.input
    setting |= {"H": len(x[0]), "W": len(x[0][0]), "kh": len(kernel), "kw": len(kernel[0])}
    return [setting, x, widget.weight, widget.bias]


def box(page, name):
    return page.locator(f'.cs-box[aria-label^="{name}"]')


def hover_cell(page, name, row, column, cell):
    box(page, name).hover(position={"x": (column + 0.5) * cell, "y": (row + 0.5) * cell})
    settle(page)


def test_javascript_convolves_as_torch_does_in_a_hundred_and_more_random_settings(page):
    drawn = [d for seed in range(220) if (d := draw(seed))]
    assert len(drawn) > 120
    assert {type(layer).__name__ for layer, *_ in drawn} == {"Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"}
    widgets = [ConvolutionStrides(layer, x) for layer, x, _ in drawn]
    results = exports(page, TEXT, FULL, [told(w) for w in widgets])
    for (layer, _, y), widget, result in zip(drawn, widgets, results, strict=True):
        assert not isinstance(result, str), (layer, result)
        assert_close(torch.tensor(result), y.flatten(1), atol=1e-4, rtol=0)  # the state keeps six significant digits
        assert_close(torch.tensor(result), widget.output.flatten(1), atol=1e-5, rtol=1e-5)


def test_javascript_and_python_refuse_the_same_settings(page):
    refused = 0
    base = ConvolutionStrides(x=torch.zeros(4, 5))
    cases = [
        (k, s, p, d, m, t)
        for k in (2, 5)
        for s in (1, 3)
        for p in (0, 4, 5, "same")
        for d in (1, 2)
        for m in ("zeros", "reflect", "circular")
        for t in (False, True)
    ]
    settings = []
    for k, s, p, d, mode, transposed in cases:
        settings.append(
            {
                "dims": 2,
                "H": 4,
                "W": 5,
                "kh": k,
                "kw": k,
                "stride": s,
                "padding": p,
                "dilation": d,
                "padding_mode": mode,
                "transposed": transposed,
            }
        )
    errors = exports(page, TEXT, "(m, all) => all.map(s => m.plan(s).error)", settings)
    for (k, s, p, d, mode, transposed), error in zip(cases, errors, strict=True):
        if transposed and (p == "same" or mode != "zeros"):
            continue
        base.set_state(
            {
                "weight": [[[[1.0] * k] * k]],
                "stride": s,
                "padding": p,
                "dilation": d,
                "padding_mode": mode,
                "transposed": transposed,
            }
        )
        if error:
            refused += 1
            with pytest.raises(ValueError, match="padding|spans"):
                _ = base.output
        else:
            assert base.output.ndim == 3
    assert 5 < refused < len(cases)


def test_stamping_every_input_gives_the_same_output_as_gathering(page):
    drawn = [d for seed in range(60) if (d := draw(seed))]
    call = (
        "(m, all) => all.map(([s, x, w, b]) => { const P = m.plan(s), whole = m.convolve(x, w, b, P, s.groups, 0);"
        " const half = m.stamp(x, w, b, P, s.groups, 0, 1);"
        " const out = m.stamp(x, w, b, P, s.groups, 0, s.H * s.W - 1, 2, half);"
        " return Math.max(...whole.map((v, i) => Math.abs((Number.isNaN(out[i]) ? b[0] : out[i]) - v))); })"
    )
    assert max(exports(page, TEXT, call, [told(ConvolutionStrides(layer, x)) for layer, x, _ in drawn])) < 1e-9


def test_the_products_written_out_add_up_to_the_output(page):
    layer, x, y = next(d for seed in range(99) if (d := draw(seed)) and d[0].groups == 2 and d[1].ndim == 3)
    call = (
        "(m, [s, x, w, b]) => { const P = m.plan(s), o = w.length - 1;"
        " const sum = (r, q) => m.groupOf(o, w.length, x.length, s.groups).flatMap(c =>"
        " m.products(x, w, P, o, c, r, q)).reduce((a, p) => a + p.w * p.x, b[o]);"
        " return Array.from({length: P.oh * P.ow}, (_, n) => sum(Math.floor(n / P.ow), n % P.ow)); }"
    )
    assert_close(
        torch.tensor(exports(page, TEXT, call, told(ConvolutionStrides(layer, x)))), y[-1].flatten(), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    "stride, padding, dilation, size", [(1, 0, 1, 3), (2, 1, 1, 3), (1, 2, 2, 3), (3, 2, 1, 4), (2, 3, 2, 2)]
)
def test_the_receptive_field_is_where_two_layers_have_a_gradient(page, transposed, stride, padding, dilation, size):
    torch.manual_seed(0)
    convolve = F.conv_transpose2d if transposed else F.conv2d
    x = torch.rand(1, 1, 13, 13, dtype=torch.float64, requires_grad=True)
    w = torch.rand(1, 1, size, size, dtype=torch.float64) + 0.1
    y = convolve(x, w, stride=stride, padding=padding, dilation=dilation)
    z = convolve(y, w, stride=stride, padding=padding, dilation=dilation)[0, 0]
    setting = {
        "kh": size,
        "kw": size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "transposed": transposed,
    }
    call = (
        "(m, s, hw, at) => { const a = m.plan({...s, H: 13, W: 13}), b = m.plan({...s, H: hw[0], W: hw[1]});"
        " return at.map(([r, c]) => [m.reach(a.Y, b.Y, r).input, m.reach(a.X, b.X, c).input]); }"
    )
    places = [[r, c] for r in {0, z.shape[0] // 2, z.shape[0] - 1} for c in {0, z.shape[1] // 2}]
    for (r, c), (rows, columns) in zip(
        places, exports(page, TEXT, call, setting, list(y.shape[2:]), places), strict=True
    ):
        reached = torch.zeros(13, 13, dtype=torch.bool)
        if rows and columns:
            reached[torch.tensor(rows)[:, None], torch.tensor(columns)] = True
        (gradient,) = torch.autograd.grad(z[r, c], x, retain_graph=True)
        assert (gradient[0, 0] != 0).equal(reached)


@pytest.mark.parametrize("name", KERNELS)
def test_both_languages_know_the_same_kernels_and_their_names(page, name):
    sizes = [[h, w] for h in range(1, 6) for w in range(1, 6)]
    found = exports(page, TEXT, "(m, name, sizes) => sizes.map(([h, w]) => m.preset(name, h, w))", name, sizes)
    for (h, w), kernel in zip(sizes, found, strict=True):
        assert_close(torch.tensor(kernel, dtype=torch.float32), preset(name, h, w), atol=1e-6, rtol=0)
    assert exports(page, TEXT, "(m, k) => m.nameOf([k])", preset(name, 3, 3)) == name
    assert ConvolutionStrides(kernel=name).kernel == name


def test_a_kernel_of_another_size_keeps_its_middle(page):
    assert exports(page, TEXT, "(m) => m.resize([[1, 2, 3], [4, 5, 6], [7, 8, 9]], 1, 5)") == [[0, 4, 5, 6, 0]]


def test_playing_stepping_and_scrubbing_move_the_window_and_fill_the_output(page):
    mount(page, ConvolutionStrides(step=0))
    assert page.evaluate(Y).startswith("y[0,0]")
    page.get_by_role("button", name="Forward one position").click()
    assert get(page, "step") == 1
    page.get_by_role("button", name="Back one position").click()
    assert get(page, "step") == 0
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function("() => document.querySelector('.nnv-host').model.get('step') >= 3")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("slider", name="Go to position").focus()
    page.keyboard.press("End")
    settle(page)
    assert get(page, "step") == 35
    assert page.evaluate(Y).startswith("y[5,5]")
    box(page, "Output").get_by_role("gridcell").focus()
    page.keyboard.press(",")
    assert get(page, "step") == 34


def test_pointing_at_either_side_shows_the_other(page):
    widget = ConvolutionStrides()
    mount(page, widget)
    cell = page.evaluate("() => document.querySelector('.cs-cursor').offsetWidth - 1")
    hover_cell(page, "Output", 4, 1, cell)
    y = widget.output[0, 4, 1].item()
    assert page.evaluate(Y).startswith("y[4,1]")
    assert page.locator(".cs-total b").inner_text().replace("−", "-") == f"{y:.0f}"
    w, x = torch.tensor(widget.weight[0][0]), torch.tensor(widget.input[0])[4:7, 1:4]
    shown = [t.replace("−", "-") for t in page.locator(".cs-tile").all_inner_texts()]
    for text, product in zip(shown, (w * x).flatten().tolist(), strict=True):
        assert text.split("= ")[1] == f"{product:.0f}"
    assert "w[2,0]·x[6,1]" in shown[6]
    hover_cell(page, "Input", 3, 4, cell)
    assert page.evaluate(Y).startswith("x[3,4] = 11 feeds 9 outputs")
    assert "→ y[3,4]" in page.locator(".cs-tile").first.inner_text()
    page.mouse.move(5, 5)
    settle(page)
    assert page.evaluate(Y).startswith("y[3,3]")
    box(page, "Output").click(position={"x": 2.5 * cell, "y": 0.5 * cell})
    assert get(page, "step") == 2


def test_drawing_with_the_mouse_and_the_keyboard_changes_the_input_and_the_output(page):
    mount(page, ConvolutionStrides())
    page.get_by_role("button", name="Clear the input").click()
    assert sum(map(sum, get(page, "input")[0])) == 0
    cell = page.evaluate("() => document.querySelector('.cs-cursor').offsetWidth - 1")
    area = box(page, "Input").bounding_box()
    page.mouse.move(area["x"] + 3.5 * cell, area["y"] + 0.5 * cell)
    page.mouse.down()
    page.mouse.move(area["x"] + 3.5 * cell, area["y"] + 7.5 * cell)  # in one leap: the line between is drawn too
    page.mouse.up()
    assert [row[3] for row in get(page, "input")[0]] == [15] * 8
    focus = box(page, "Input").get_by_role("gridcell")
    focus.focus()
    page.keyboard.press("Home")
    page.keyboard.press("PageDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.type("-2.5")
    assert get(page, "input")[0][6][0] == -2.5
    page.keyboard.press("Delete")
    assert get(page, "input")[0][6][0] == 0
    page.keyboard.press("Enter")
    assert get(page, "input")[0][6][0] == 15
    settle(page)
    assert focus.get_attribute("aria-label") == "Input x, row 6, column 0: 15"
    page.get_by_role("button", name="Restore input and kernel").click()
    assert get(page, "input") == ConvolutionStrides().input


def test_a_kernel_cell_takes_what_is_typed_and_presets_replace_it(page):
    mount(page, ConvolutionStrides())
    page.get_by_label("kernel row 0, column 0").click()
    page.keyboard.type("1/4")
    assert get(page, "weight")[0][0][0][0] == 0.25
    assert get(page, "kernel") == "own"
    page.keyboard.press("Enter")
    page.keyboard.type("nonsense")
    assert page.get_by_label("kernel row 0, column 1").get_attribute("aria-invalid") == "true"
    assert get(page, "weight")[0][0][0][1] == 0
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "kernel row 1, column 1"
    for name in KERNELS:
        page.get_by_label("Kernel preset").select_option(label=name)
        assert_close(torch.tensor(get(page, "weight")[0][0]).float(), preset(name, 3, 3), atol=1e-6, rtol=0)
    page.get_by_role("button", name="Random kernel").click()
    assert get(page, "kernel") == "own"
    page.get_by_label("bias").fill("2.5")
    assert get(page, "bias") == [2.5]
    page.get_by_role("slider", name="Kernel k").focus()
    page.keyboard.press("ArrowRight")
    assert [len(get(page, "weight")[0][0]), len(get(page, "weight")[0][0][0])] == [4, 4]


def test_every_setting_recomputes_the_size_with_its_numbers(page):
    widget = ConvolutionStrides()
    mount(page, widget)
    size = "() => document.querySelector('.nnv').dataset.size"
    assert "⌊(8 + 2·0 − 1·(3 − 1) − 1)/1⌋ + 1 = 6" in page.locator(".cs-size").last.inner_text()
    for name, trait in [("Stride s", "stride"), ("Padding p", "padding"), ("Dilation d", "dilation")]:
        page.get_by_role("slider", name=name).focus()
        page.keyboard.press("ArrowRight")
        setattr(widget, trait, get(page, trait))
        settle(page)
        assert page.evaluate(size) == "{}x{}".format(*widget.output.shape[1:])
    page.get_by_label("Transposed").check()
    widget.transposed = True
    settle(page)
    assert page.evaluate(size) == "{}x{}".format(*widget.output.shape[1:]) == "17x17"
    assert "(8 − 1)·2 − 2·1 + 2·(3 − 1) + 0 + 1 = 17" in page.locator(".cs-size").last.inner_text()
    assert page.evaluate(Y).startswith("x[")
    page.get_by_label("Transposed").uncheck()
    page.get_by_label("Pad with").select_option(label="circular")
    assert get(page, "padding_mode") == "circular"


def test_a_kernel_that_does_not_fit_is_told_at_once_and_the_figure_comes_back(page):
    mount(page, ConvolutionStrides())
    knob = page.get_by_role("slider", name="Dilation d")
    knob.focus()
    page.keyboard.press("End")
    settle(page)
    assert (
        "spans 4·(3 − 1) + 1 = 9 cells, but the padded input has 8 + 0 = 8"
        in page.get_by_role("status").first.inner_text()
    )
    assert not box(page, "Output").is_visible()
    page.keyboard.press("Home")
    settle(page)
    assert box(page, "Output").is_visible()
    assert not page.locator(".cs-error").is_visible()


def test_a_second_layer_tells_its_receptive_field_and_values(page):
    widget = ConvolutionStrides()
    mount(page, widget)
    page.get_by_label("Second layer").check()
    settle(page)
    assert "= 1 + 1·2 + 1·1·2 = 5. 25 of 64 input cells reach" in page.locator(".cs-field").inner_text()
    z = widget.module(widget.output[None])[0, 0].detach()
    row, column = divmod(min(get(page, "step"), z.numel() - 1), z.shape[1])
    assert page.evaluate(Y).startswith(f"z[{row},{column}]")
    assert page.locator(".cs-total b").inner_text().replace("−", "-") == f"{z[row, column]:.0f}"


def test_channels_and_groups_show_their_part_of_the_sum(page):
    torch.manual_seed(0)
    layer, x = nn.Conv2d(4, 4, 3, groups=2), torch.randn(4, 6, 6)
    mount(page, ConvolutionStrides(layer, x, channel=2, step=5))
    total = layer(x[None])[0, 2, 1, 1].item()
    text = page.locator(".cs-total").inner_text().replace("−", "-")
    assert [b.strip() for b in page.locator(".cs-total button").all_inner_texts()][0].startswith("channel 2:")
    assert page.locator(".cs-total button").count() == 2
    assert float(text.rsplit("= ", 1)[1]) == pytest.approx(total, abs=6e-4)
    page.locator(".cs-total button").nth(1).click()
    assert get(page, "input_channel") == 3
    page.get_by_label("Groups").select_option(label="1")
    settle(page)
    assert page.locator(".cs-total button").count() == 4
    page.get_by_label("Output channel").select_option(label="0")
    settle(page)
    assert float(page.locator(".cs-total").inner_text().replace("−", "-").rsplit("= ", 1)[1]) == pytest.approx(
        layer(x[None])[0, 0, 1, 1].item(), abs=6e-4
    )


def test_the_address_sets_the_state_even_where_it_is_mistyped(page, tmp_path):
    query = "#ConvolutionStrides?stride=2&padding=1&kernel=blur&step=3&dilation=-7&groups=9&weight=[[1]]"
    mount(page, ConvolutionStrides(), path=tmp_path / "w.html", query=query)
    assert [get(page, k) for k in ("stride", "padding", "kernel", "step")] == [2, 1, "blur", 3]
    assert page.evaluate("() => document.querySelector('.nnv').dataset.size") == "4x4"
    page.evaluate("() => { location.hash = '#ConvolutionStrides?stride=1&padding=0&dilation=2&weight=[[[[1,2]]]]'; }")
    page.wait_for_function("() => document.querySelector('.nnv').dataset.size === '8x6'")
    page.get_by_role("button", name="Copy a link").click()
    page.wait_for_function("() => location.hash.includes('dilation=2')")


def test_python_moves_the_figure_by_its_traits(page):
    mount(page, ConvolutionStrides())
    page.evaluate(
        "() => { const m = document.querySelector('.nnv-host').model;"
        " m.set('padding', [1, 0]); m.set('kernel', 'ridge'); m.set('step', 2); }"
    )
    settle(page)
    assert page.evaluate("() => document.querySelector('.nnv').dataset.size") == "8x6"
    assert page.get_by_label("Kernel preset").evaluate("e => e.selectedOptions[0].text") == "ridge"
    assert page.evaluate(Y).startswith("y[0,2]")


def cases():
    torch.manual_seed(0)
    two = ConvolutionStrides(two_layers=True)
    return {
        "default": ConvolutionStrides(),
        "two layers": two,
        "colour": ConvolutionStrides(nn.Conv2d(3, 4, 3, padding=1, stride=2), torch.rand(3, 9, 9)),
        "signal": ConvolutionStrides(nn.Conv1d(2, 3, 3, padding=1), torch.randn(2, 20)),
        "transposed": ConvolutionStrides(nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1), torch.rand(4, 4)),
        "large": ConvolutionStrides(nn.Conv2d(1, 1, 7, padding=3, padding_mode="reflect"), torch.rand(28, 28)),
    }


@pytest.mark.parametrize("name", ["default", "two layers", "colour", "signal", "transposed", "large"])
def test_nothing_serious_for_axe_and_it_fits_a_phone(phone, name):
    mount(phone, cases()[name], dark=name in ("default", "signal", "colour"))
    check_legible(phone, cells=False)  # a photograph's pixels are smaller, and are reached by the arrow keys
    over = "() => { const f = document.querySelector('.nnv-fig'); return f.scrollWidth - f.clientWidth; }"
    assert phone.evaluate(over) <= 0


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_on_a_desktop_in_either_theme(page, dark):
    widget = cases()["default"]
    widget.set_state({"dilation": 4} if dark else {})
    mount(page, widget, dark=dark)
    assert serious(page) == []


def test_two_on_a_page_keep_to_themselves(page):
    mount(page, ConvolutionStrides())
    other = beside(page, ConvolutionStrides())
    other.get_by_label("Kernel preset").select_option(label="ridge")
    settle(page)
    assert other.evaluate("e => e.model.get('kernel')") == "ridge"
    assert get(page, "kernel") != "ridge"
    close_beside(page)


def test_a_finger_inspects_until_it_is_told_to_draw(browser):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = mount(context.new_page(), ConvolutionStrides())
    before = get(page, "input")
    box(page, "Input").tap(position={"x": 5, "y": 5})
    settle(page)
    assert get(page, "input") == before
    assert page.evaluate(Y).startswith("x[0,0]")
    page.get_by_label("Draw with a finger").check()
    box(page, "Input").tap(position={"x": 5, "y": 5})
    assert get(page, "input")[0][0][0] == 15
    context.close()


def test_two_figures_on_a_page_keep_to_themselves(page):
    html = widget_html(ConvolutionStrides(step=0))
    view = (
        html[html.index('<script type="application/vnd.jupyter.widget-view') :].partition("</script>")[0] + "</script>"
    )
    page.set_content(html.replace(view, view + view))
    page.wait_for_function("() => document.querySelectorAll('.nnv-host[data-drawn]').length === 2")
    page.get_by_role("button", name="Forward one position").nth(1).click()
    assert page.evaluate("() => [...document.querySelectorAll('.nnv-host')].map(e => e.model.get('step'))") == [0, 1]


def test_closing_it_removes_every_listener_it_left_elsewhere(page):
    call = """(m, state) => { const heard = {};
      const model = { get: k => state[k], set() {}, save_changes() {}, off: (e, f) => heard[e].delete(f),
        on: (e, f) => (heard[e] ??= new Set()).add(f) };
      const el = document.createElement('div'); document.body.append(el);
      m.default.render({model, el})(); return Object.values(heard).reduce((a, s) => a + s.size, 0); }"""
    widget = ConvolutionStrides()
    names = [n for n in widget.trait_names(sync=True) if not n.startswith(("_", "layout", "tab", "tool"))]
    assert exports(page, TEXT, call, {n: getattr(widget, n) for n in names}) == 0


def test_it_takes_every_kind_of_layer_and_gives_it_back():
    for seed in range(80):
        if drawn := draw(seed):
            layer, x, y = drawn
            widget = ConvolutionStrides(layer, x)
            assert type(widget.module) is type(layer)
            assert_close(widget.output, y, atol=1e-4, rtol=0)


def test_a_large_layer_shows_the_channels_of_one_group_that_fit():
    layer, x = nn.Conv2d(64, 128, 3, groups=2), torch.randn(64, 10, 10)
    widget = ConvolutionStrides(layer, x, channel=100)
    first = widget.numbering["out"]
    assert first <= 100 < first + len(widget.bias)
    assert widget.numbering["in"] == 32
    assert widget.channel == 100 - first
    assert_close(widget.output, layer(x[None])[0, first : first + len(widget.bias)].detach(), atol=1e-4, rtol=0)


def test_traits_set_in_python_are_checked_and_keep_together():
    widget = ConvolutionStrides()
    widget.kernel = "blur"
    assert widget.weight[0][0][0][0] == 0.111111
    widget.weight = torch.ones(1, 1, 2, 2)
    assert widget.kernel == "own"
    widget.stride = (2, 1)
    assert widget.stride == [2, 1]
    assert widget.output.shape == (1, 4, 7)
    widget.input = torch.zeros(1, 5, 5)
    assert widget.output.abs().max() == 0


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("dilation", 5, "spans 11 cells, but the padded input has 8"),
        ("stride", 0, "at least 1"),
        ("padding", "some", "no number of cells"),
        ("groups", 2, "must divide"),
        ("weight", torch.zeros(3, 3), "needs 4 axes"),
        ("weight", torch.zeros(1, 2, 3, 3), "is for 2 channels"),
        ("input", [[[float("nan")]]], "finite"),
        ("output_padding", [1, -1], "at least 0"),
    ],
)
def test_a_trait_that_cannot_be_is_refused_in_python(name, value, message):
    with pytest.raises(ValueError, match=message):
        setattr(ConvolutionStrides(), name, value)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((nn.Conv2d(1, 1, 9),), "raise the padding, or lower the dilation or the kernel"),
        ((nn.Conv2d(3, 1, 3),), r"give an input x of shape \(C, H, W\)"),
        ((nn.Conv2d(3, 1, 3), torch.zeros(1, 5, 5)), r"\(3, H, W\) is needed"),
        ((nn.Conv2d(1, 1, 3), torch.zeros(2, 1, 5, 5)), "give one image"),
        ((nn.Conv1d(1, 1, 3), torch.zeros(1, 5, 5, 5)), r"\(1, L\) is needed"),
        ((None, torch.zeros(200, 200)), "at most 18,000 numbers"),
        ((nn.Conv2d(1, 1, 3, device="meta"),), "meta device"),
        ((nn.Conv2d(1, 1, 3, padding=8, padding_mode="reflect"),), "too much to reflect"),
        ((nn.ConvTranspose2d(1, 1, 1, padding=4),), "cuts the whole output away"),
    ],
)
def test_a_layer_and_an_input_that_do_not_go_together_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ConvolutionStrides(*arguments)


@pytest.mark.parametrize(
    "keywords, message",
    [({"channel": 1}, "channel 1"), ({"step": 99}, "36 positions"), ({"kernel": "x"}, "edge, blur")],
)
def test_a_keyword_that_cannot_be_is_refused(keywords, message):
    with pytest.raises(ValueError, match=message):
        ConvolutionStrides(**keywords)


@pytest.mark.parametrize(
    "wrong", [nn.Linear(2, 2), nn.Conv3d(1, 1, 3), nn.Sequential(nn.Conv2d(1, 1, 3)), torch.zeros(3)]
)
def test_another_module_is_a_type_error_that_says_what_it_takes(wrong):
    with pytest.raises(TypeError, match=r"takes an nn\.Conv2d, nn\.Conv1d, nn\.ConvTranspose2d or nn\.ConvTranspose1d"):
        ConvolutionStrides(wrong)


@pytest.mark.parametrize("name", ["default", "two layers", "colour", "signal", "transposed", "large"])
def test_the_still_is_one_figure_and_the_text_is_steady(name):
    from matplotlib import pyplot as plt

    widget = cases()[name]
    figure = widget.still()
    assert isinstance(figure, Figure)
    assert figure.get_size_inches()[0] <= 7.2
    plt.close(figure)
    assert repr(widget) == "ConvolutionStrides: A convolution, cell by cell."
    data, _ = widget._repr_mimebundle_()
    assert data["image/png"]
