"""What the normalization axes must hold: sets, statistics and results against torch, and a reader's actions."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from nnvocab.widgets import NormalizationAxes
from nnvocab.widgets.base import module_text
from nnvocab.widgets.normalization_axes import KINDS, photographs
from tests.browser import MODEL, beside, check_legible, close_beside, exports, get, mount, put, settle

pytestmark = pytest.mark.browser
TEXT = module_text("normalization_axes")


def cases():
    """Random tensors of both ranks under every kind."""
    generator = np.random.default_rng(0)
    for seed in range(20):
        shape = [int(generator.integers(2, 5)) for _ in range(3 + seed % 2)]
        shape[1] = (2, 3, 4, 6)[seed % 4]
        divisors = [g for g in range(1, shape[1] + 1) if shape[1] % g == 0]
        options = {
            "kind": KINDS[seed % 5],
            "groups": divisors[len(divisors) // 2],
            "span": ("sample", "channels")[seed // 5 % 2],
            "eps": (1e-5, 0.1, 1.0)[seed % 3],
        }
        yield options, torch.from_numpy(generator.normal(1.0, 3.0, shape))


def by_torch(x, kind, groups, span, eps):
    if kind == "batch":
        return F.batch_norm(x, None, None, training=True, eps=eps)
    if kind == "instance":
        return F.instance_norm(x, eps=eps)
    if kind == "group":
        return F.group_norm(x, groups, eps=eps)
    layer = nn.LayerNorm if kind == "layer" else nn.RMSNorm
    if span == "channels":
        return layer([x.shape[1]], eps=eps, elementwise_affine=False)(x.movedim(1, -1)).movedim(-1, 1)
    return layer(list(x.shape[1:]), eps=eps, elementwise_affine=False)(x)


# ---- the arithmetic


def test_every_norm_is_torch_s(blank):
    for options, x in cases():
        found = exports(
            blank,
            TEXT,
            "(m, x, shape, o) => { const r = m.normalize(x, shape, o); return [r.y, [...r.ids]]; }",
            *(x.flatten(), list(x.shape), options),
        )
        y = torch.tensor(found[0], dtype=torch.float64).view(x.shape)
        assert_close(y, by_torch(x, **options), atol=1e-6, rtol=1e-6)
        widget = NormalizationAxes(x, kind=options["kind"])
        widget.groups, widget.span, widget.eps = options["groups"], options["span"], options["eps"]
        assert_close(y, widget.normalized(), atol=1e-4, rtol=1e-4)  # its values keep six digits
        ids = torch.tensor(found[1])
        for focus in (0, x.numel() // 2, x.numel() - 1):
            widget.focus = focus
            assert torch.equal(widget.members().flatten(), ids == ids[focus])


def test_the_sets_are_those_on_which_an_output_depends(blank):
    for options, x in cases():
        x = x.requires_grad_()
        i = x.numel() // 3
        y = by_torch(x, **options).flatten()[i]
        (grad,) = torch.autograd.grad(y, x)
        ids = torch.tensor(exports(blank, TEXT, "(m, s, o) => [...m.sets(s, o)]", list(x.shape), options))
        assert torch.equal(grad.flatten() != 0, ids == ids[i]), options


def test_evaluation_and_the_running_averages_are_torch_s(blank):
    for seed in range(6):
        torch.manual_seed(seed)
        x, layer = torch.randn(3, 4, 5, dtype=torch.float64) * 2 + 1, nn.BatchNorm1d(4, momentum=0.3).double()
        layer.running_mean, layer.running_var = torch.randn(4).double(), torch.rand(4).double() + 0.5
        before = [layer.running_mean.clone(), layer.running_var.clone()]
        expected = layer.eval()(x).flatten()
        layer.train()(x)
        found = exports(
            blank,
            TEXT,
            "(m, x, mean, variance) => { const o = {kind: 'batch', training: false, runningMean: mean, runningVar: variance},"
            " r = m.normalize(x, [3, 4, 5], o);"
            " return [r.y, m.step(mean, r.found, r.size, 0.3, false), m.step(variance, r.spread, r.size, 0.3, true)]; }",
            *(x.flatten(), *before),
        )
        for got, wanted in zip(found, (expected, layer.running_mean, layer.running_var), strict=True):
            assert_close(torch.tensor(got, dtype=torch.float64), wanted.detach(), atol=1e-9, rtol=1e-9)


def test_one_group_is_layer_norm_and_a_group_a_channel_is_instance_norm():
    widget = NormalizationAxes(torch.randn(2, 6, 3))
    results = {}
    for kind, groups in (("layer", 1), ("instance", 1), ("group", 1), ("group", 6)):
        widget.kind, widget.groups = kind, groups
        results[kind, groups] = widget.normalized()
    assert_close(results["group", 1], results["layer", 1])
    assert_close(results["group", 6], results["instance", 1])
    widget.kind, widget.span = "layer", "channels"
    assert not torch.allclose(widget.normalized(), results["layer", 1], atol=0.05)


def test_the_photographs_channels_differ_in_scale():
    x = photographs()
    assert x.shape == (4, 4, 3, 3) and x[:, 0].mean() > 0.2
    spreads = x.transpose(0, 1).reshape(4, -1).std(dim=1)
    assert spreads.min() > 0.005 and x[:, 2:].abs().max() > 0.1


# ---- in the browser


@pytest.mark.parametrize("kind", KINDS)
def test_the_set_of_the_chosen_entry_is_framed_and_explained(page, kind):
    widget = NormalizationAxes(kind=kind)
    mount(page, widget)
    page.locator("[role=gridcell]").nth(50).click()
    settle(page)
    widget.focus = get(page, "focus")
    framed = page.evaluate("[...document.querySelectorAll('.na-in')].map(e => e.place).sort((a, b) => a - b)")
    assert framed == widget.members().flatten().nonzero().flatten().tolist()
    y = widget.normalized().flatten()[widget.focus].item()
    assert page.inner_text(".na-result").endswith(f"{y:.3f}".replace("-", "−"))
    assert f"{len(framed)} entries share" in page.inner_text(".nnv-sr[aria-live]")
    assert f"each from {len(framed)} entries" in page.inner_text(".na-sum")


def test_cells_are_reached_by_keyboard(page):
    mount(page, NormalizationAxes())
    assert page.locator("[role=gridcell][tabindex='0']").count() == 1
    page.focus("[role=gridcell][tabindex='0']")
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    settle(page)
    assert get(page, "focus") == 36 + 9 + 6  # sample 1, channel 1, row 2, column 0
    assert page.locator(".na-heading").first.inner_text().startswith("roof, blurred, row 3, column 1")
    page.wait_for_timeout(250)
    label = page.evaluate("document.activeElement.ariaLabel")
    assert label.startswith("roof, blurred, row 3, column 1:") and label.endswith("in the set")


def test_play_goes_set_by_set_and_steps_go_back(page):
    widget = NormalizationAxes(kind="layer")
    mount(page, widget)
    page.click("button[aria-label='Play']")
    page.wait_for_function(f"{MODEL}.get('focus') === 108 && document.querySelector('button[aria-label=Play]')")
    page.keyboard.press(",")
    settle(page)
    assert get(page, "focus") == 72 and page.locator(".na-heading").first.inner_text().startswith("trees")
    page.focus("input[aria-label='Go to set']")
    page.keyboard.press("Home")
    settle(page)
    assert get(page, "focus") == 0
    page.locator("[role=gridcell]").first.focus()
    page.keyboard.press(".")
    settle(page)
    assert get(page, "focus") == 36


def test_groups_and_spans_change_the_set(page):
    mount(page, NormalizationAxes(kind="group"))
    sizes = []
    for text in ("1", "2", "4"):
        page.select_option("select[aria-label='Groups']", label=text)
        settle(page)
        sizes.append(page.locator(".na-in").count())
    assert sizes == [36, 18, 9]
    page.click(".na-tabs >> text=Layer")
    page.select_option("select[aria-label='Over']", label="channels, at each position")
    settle(page)
    assert get(page, "kind", "span") == ["layer", "channels"] and page.locator(".na-in").count() == 4
    assert page.locator(".na-axis.na-on").all_inner_texts() == ["C ✓ over all channels"]
    page.click(".na-tabs >> text=RMS")
    settle(page)
    assert "no mean is taken off" in page.inner_text(".na-card")


def test_an_edit_moves_the_outputs_of_its_set_and_reset_takes_it_back(page):
    mount(page, NormalizationAxes(kind="instance"))
    page.fill("input[aria-label='Value of the chosen entry']", "2.5")
    settle(page)
    assert get(page, "values")[get(page, "focus")] == 2.5
    assert "moves 9 of 144 outputs" in page.inner_text(".na-lower")
    assert page.locator(".na-moved").count() == 9
    page.click(".na-tabs >> text=Batch")
    settle(page)
    assert "moves 36 of 144 outputs" in page.inner_text(".na-lower")
    page.focus("input[aria-label='Move the value of the chosen entry']")
    page.keyboard.press("Home")
    settle(page)
    assert get(page, "values")[get(page, "focus")] < -1
    page.click("text=Reset the tensor")
    settle(page)
    assert page.locator(".na-moved").count() == 0 and get(page, "values") == NormalizationAxes().values


def test_training_steps_move_the_running_averages_and_evaluation_uses_them(page):
    mount(page, NormalizationAxes())
    layer = nn.BatchNorm2d(4).double()
    x = NormalizationAxes().tensor()
    for _ in range(3):
        page.click("text=One training step")
        settle(page)
        layer(x)
    assert get(page, "running_mean") == pytest.approx(layer.running_mean.tolist(), abs=1e-9)
    assert get(page, "running_var") == pytest.approx(layer.running_var.tolist(), abs=1e-9)
    page.check("text=Evaluation (running averages)")
    settle(page)
    y = layer.eval()(x).flatten()[get(page, "focus")].item()
    assert get(page, "training") is False
    assert page.inner_text(".na-result").endswith(f"{y:.3f}".replace("-", "−"))
    assert "this batch does not count" in page.inner_text(".na-card")


def test_before_and_after_are_shown(page):
    mount(page, NormalizationAxes())
    cell = page.locator(".na-at")
    before = cell.inner_text()
    page.click("button[aria-label='Show the tensor after']")
    settle(page)
    widget = NormalizationAxes()
    assert get(page, "view") == "after" and cell.inner_text() != before
    y = widget.normalized().flatten()[widget.focus].item()
    assert float(cell.inner_text().replace("−", "-")) == pytest.approx(y, abs=6e-3)


def test_a_guess_is_judged_before_the_set_is_shown(page):
    mount(page, NormalizationAxes(kind="group"))
    page.check("text=Guess first")
    settle(page)
    assert page.locator(".na-in").count() == 1 and not page.locator(".na-card").is_visible()
    assert "with 2 groups" in page.inner_text(".na-guess")
    page.click("button[aria-label='36 entries']")
    settle(page)
    assert page.inner_text(".na-guess .nnv-note").startswith("You said 36: 18 entries share this mean.")
    assert page.locator(".na-in").count() == 18 and page.locator(".na-card").is_visible()


def test_terms_light_up_their_cell_and_choose_it(page):
    mount(page, NormalizationAxes(kind="instance"))
    term = page.locator(".na-card li").first.locator(".na-term").nth(2)
    term.hover()
    lit = page.evaluate("document.querySelector('.na-lit').place")
    term.click()
    settle(page)
    assert get(page, "focus") == lit == 36 + 2


def test_a_tensor_of_three_axes_has_positions(page):
    x = torch.arange(24.0).view(2, 3, 4)
    mount(page, NormalizationAxes(x, samples=["a", "b"]))
    assert page.locator("[role=gridcell]").count() == 24 and page.locator("[role=row]").count() == 2
    put(page, focus=23)
    assert page.locator(".na-heading").first.inner_text() == "b, 3, position 4: x = 23.000"
    assert [x[0] for x in page.locator(".na-axis").all_inner_texts()] == ["N", "C", "L"]


def test_the_address_sets_the_state(page, tmp_path):
    query = "#NormalizationAxes?kind=group&groups=4&focus=70&view=after&eps=0.1"
    mount(page, NormalizationAxes(), path=tmp_path / "w.html", query=query)
    assert get(page, "kind", "groups", "focus", "view", "eps") == ["group", 4, 70, "after", 0.1]
    assert page.locator(".na-in").count() == 9
    page.evaluate("location.hash = '#NormalizationAxes?kind=batch&training=false'")
    page.wait_for_function(f"{MODEL}.get('training') === false")
    settle(page)
    assert "this batch does not count" in page.inner_text(".na-card")


def test_values_out_of_range_are_held_inside(page):
    mount(page, NormalizationAxes())
    put(page, focus=9999, groups=3, span="x", kind="none", eps=-1, view="x", momentum=7)
    assert page.locator(".na-at").count() == 1 and page.locator(".na-in").count() == 36


def test_two_on_a_page_keep_to_themselves(page):
    mount(page, NormalizationAxes())
    other = beside(page, NormalizationAxes(torch.randn(2, 2, 3)))
    other.locator(".na-tabs button").nth(3).click()
    settle(page)
    assert get(page, "kind") == "batch"
    close_beside(page)


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_serious_for_axe_and_it_fits_a_phone(phone, dark):
    mount(phone, NormalizationAxes(), dark=dark)
    for width in (390, 1000):
        phone.set_viewport_size({"width": width, "height": 844})
        for kind, view in (("batch", "before"), ("layer", "after")):
            put(phone, kind=kind, view=view)
            phone.wait_for_timeout(250)
            check_legible(phone)


# ---- what is refused, and what stands still


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("no",), TypeError, "it was given 'no'"),
        ((torch.zeros(2, 3),), ValueError, "shape \\(2, 3\\).*transpose"),
        ((torch.zeros(8, 8, 8),), ValueError, "512 entries.*x\\[:4"),
        ((torch.full((1, 2, 3), float("nan")),), ValueError, "nan_to_num"),
        ((torch.zeros(2, 3, 4), ["a"]), ValueError, "samples holds 1 names, and x has 2"),
        ((torch.zeros(2, 3, 4), None, None, "power"), ValueError, "must be one of batch"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_a_reason(arguments, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        NormalizationAxes(*arguments)


def test_groups_and_values_that_do_not_fit_are_refused():
    widget = NormalizationAxes()
    with pytest.raises(ValueError, match="choose one of 1, 2, 4"):
        widget.groups = 3
    with pytest.raises(ValueError, match="144 finite numbers"):
        widget.values = [1.0]


def test_the_state_is_small_and_its_picture_and_text_stand_still():
    from matplotlib import pyplot as plt

    for widget in [NormalizationAxes(kind=kind) for kind in KINDS] + [NormalizationAxes(torch.randn(4, 10, 10))]:
        state = {k: v for k, v in widget.get_state().items() if k not in {"_esm", "layout", "tabbable", "tooltip"}}
        assert len(json.dumps(state)) < 200_000
        figure = widget.still()
        assert figure.get_size_inches()[0] <= 7.2
        plt.close(figure)
        assert repr(widget) == repr(widget) and "0x" not in repr(widget)
