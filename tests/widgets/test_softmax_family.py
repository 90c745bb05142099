"""What the softmax family must hold: its arithmetic against torch and entmax, and what a reader does in a browser."""

from __future__ import annotations

import json

import pytest
import torch
from torch.testing import assert_close

from nnvocab.widgets import SoftmaxFamily
from nnvocab.widgets.base import module_text
from nnvocab.widgets.softmax_family import VARIANTS, entmax_by_bisection, gumbel_noise, tree_softmax
from tests.browser import MODEL, beside, check_legible, close_beside, exports, get, mount, put, settle

pytestmark = pytest.mark.browser
TEXT = module_text("softmax_family")
TREE = [[0, [1, 2]], 3, [[4], 5, 6]]


def bars(page):
    """The chosen variant's weights as the page writes them, in the order of the rows."""
    texts = page.locator(".sf-row:not(.sf-branch) .sf-num.sf-big").all_inner_texts()
    return [0.0 if x == "0" else parsed(x) for x in texts]


def parsed(text):
    if "·10" not in text:
        return float(text)
    digits = {c: d for d, c in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
    return float(text[0]) * 10.0 ** -int("".join(str(digits[c]) for c in text.split("10")[1][1:]))


def of(variant, seed):
    """A random state of a variant: 7 entries, or 2 to 12, with everything that the variant may read."""
    g = torch.Generator().manual_seed(seed)
    N = 7 if variant == "hierarchical" else int(torch.randint(2, 13, (), generator=g))
    logits, second = ((3 * torch.randn(N, generator=g, dtype=torch.float64)).tolist() for _ in range(2))
    divisors = [k for k in range(1, N + 1) if N % k == 0]
    return {
        **{"variant": variant, "logits": logits, "second": second, "tree": TREE, "seed": seed, "hard": False},
        **{"temperature": float(torch.randn((), generator=g).exp()) if variant != "standard" else 1.0},
        **{"alpha": 1.0 + 0.25 * (seed % 9), "masked": [i for i in range(N) if (i + seed) % 3 == 0][: N - 1]},
        **{"rows": divisors[seed % len(divisors)], "nodes": torch.randn(4, generator=g).tolist(), "focus": 0},
        **{"cutoff": 1 + seed % (N - 1), "tail": float(torch.randn((), generator=g)), "share": seed % 11 / 10},
        **{"component": 1 + seed % 2},
    }


def inputs(s):
    """The state's inputs as one vector: its logits, then the logits of branches."""
    extra = {"hierarchical": s["nodes"], "adaptive": [s["tail"]]}.get(s["variant"], [])
    chosen = s["second"] if s["variant"] == "mixture" and s["component"] == 2 else s["logits"]
    return torch.tensor([*chosen, *extra], dtype=torch.float64)


def by_torch(s):
    """The variant as a function of its inputs, in torch's and entmax's words."""
    from entmax import entmax_bisect, sparsemax

    N, T, kind = len(s["logits"]), s["temperature"], s["variant"]

    def given(x):
        z = x[:N] / T
        if kind == "sparsemax":
            return sparsemax(z, dim=0)
        if kind == "entmax":
            return z.softmax(dim=0) if s["alpha"] == 1 else entmax_bisect(z, s["alpha"], dim=0, n_iter=90)
        if kind == "masked":
            return torch.where(torch.tensor([i in s["masked"] for i in range(N)]), -torch.inf, z).softmax(dim=0)
        if kind == "grid":
            return z.view(s["rows"], -1).softmax(dim=1).flatten()
        if kind == "hierarchical":
            a, b, c, d = x[N:] / T  # [0, [1, 2]], [1, 2], [[4], 5, 6], [4]
            root = torch.stack([a, z[3], c]).softmax(dim=0)
            one, two = torch.stack([z[0], b]).softmax(dim=0), z[1:3].softmax(dim=0)
            three = torch.stack([d, z[5], z[6]]).softmax(dim=0)
            parts = [root[0] * one[0], *(root[0] * one[1] * two), root[1], *(root[2] * three)]
            return torch.stack(parts)
        if kind == "adaptive":
            head = torch.cat([z[: s["cutoff"]], x[N:] / T]).softmax(dim=0)
            return torch.cat([head[:-1], head[-1] * z[s["cutoff"] :].softmax(dim=0)])
        if kind == "gumbel":
            return ((x[:N] + gumbel_noise(N, s["seed"])) / T).softmax(dim=0)
        if kind == "mixture":
            other = torch.tensor(s["logits" if s["component"] == 2 else "second"], dtype=torch.float64) / T
            first, second = (other, z) if s["component"] == 2 else (z, other)
            return s["share"] * first.softmax(dim=0) + (1 - s["share"]) * second.softmax(dim=0)
        return z.softmax(dim=0)

    return given


# ---- the arithmetic


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_and_jacobian_are_torch_s(blank, variant):
    states = [of(variant, seed) for seed in range(16)]
    found = exports(
        blank, TEXT, "(m, list) => list.map(s => { const r = m.family(s); return {p: r.p, J: r.J}; })", states
    )
    for s, got in zip(states, found, strict=True):
        x, f = inputs(s), by_torch(s)
        assert_close(torch.tensor(got["p"], dtype=torch.float64), f(x), atol=1e-5, rtol=1e-5)
        expected = torch.autograd.functional.jacobian(f, x)
        assert_close(torch.tensor(got["J"], dtype=torch.float64), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_python_s_weights_are_the_page_s(blank, variant):
    for seed in range(6):
        s = of(variant, seed)
        widget = SoftmaxFamily(s["logits"], variant=variant)
        for name in ("temperature", "alpha", "masked", "rows", "cutoff", "tail", "second", "share", "seed"):
            setattr(widget, name, s[name])
        if variant == "hierarchical":
            widget.tree, widget.nodes = s["tree"], s["nodes"]
        state = {k: getattr(widget, k) for k in ("logits", "tree", "nodes", "hard", "component")}
        found = exports(blank, TEXT, "(m, s) => m.family(s).p", {**s, **state})
        assert_close(torch.tensor(found, dtype=torch.float64), widget.weights(), atol=1e-7, rtol=1e-6)


def test_the_noise_is_the_same_in_python_and_in_the_page(blank):
    for seed in (0, 7, 99, 123_456_789):
        found = exports(blank, TEXT, "(m, n) => m.gumbels(12, n)", seed)
        assert_close(torch.tensor(found, dtype=torch.float64), gumbel_noise(12, seed), atol=1e-12, rtol=1e-12)


def test_many_draws_hit_each_entry_as_often_as_softmax_says(blank):
    logits = [2.0, 1.0, 0.1, -1.0]
    wins = exports(blank, TEXT, "(m, z) => m.tally(z, 0, 20000)", logits)
    assert sum(wins) == 20_000
    assert_close(torch.tensor(wins) / 20_000, torch.tensor(logits).softmax(dim=0), atol=0.012, rtol=0)


def test_a_row_with_everything_masked_is_zeros_and_so_is_its_jacobian(blank):
    state = {"variant": "masked", "logits": [1, 2, 3], "masked": [0, 1, 2], "temperature": 1}
    assert exports(blank, TEXT, "(m, s) => m.family(s).p", state) == [0, 0, 0]
    assert exports(blank, TEXT, "(m, s) => m.family(s).J.flat().every(x => x === 0)", state)
    widget = SoftmaxFamily([1.0, 2.0, 3.0], variant="masked")
    widget.masked = [0, 1, 2]
    assert widget.weights().tolist() == [0.0, 0.0, 0.0]


def test_scores_far_apart_neither_overflow_nor_lose_their_sum(blank):
    for variant in ("standard", "sparsemax", "entmax"):
        p = exports(
            blank, TEXT, "(m, v) => m.family({variant: v, logits: [1000, 999, -1000], temperature: 1}).p", variant
        )
        assert sum(p) == pytest.approx(1.0) and p[0] > p[1] >= p[2] >= 0


def test_entropy_and_threshold_are_right(blank):
    for seed in range(8):
        s = of("sparsemax", seed)
        r = exports(
            blank, TEXT, "(m, s) => { const r = m.family(s); return [r.p, r.tau, r.k, m.entropy(r.p), r.z]; }", s
        )
        p, z = torch.tensor(r[0], dtype=torch.float64), torch.tensor(r[4], dtype=torch.float64)
        assert_close((z - r[1]).clamp(min=0), p)
        assert r[2] == int((p > 0).sum())
        assert r[3] == pytest.approx(torch.special.entr(p).sum().item())


def test_the_tree_s_logits_at_logsumexp_give_softmax_back():
    z = torch.randn(7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inside = [z[[0, 1, 2]], z[[1, 2]], z[[4, 5, 6]], z[[4]]]
    weights = tree_softmax(TREE, z, [x.logsumexp(dim=0).item() for x in inside])
    assert_close(weights, z.softmax(dim=0))
    assert_close(entmax_by_bisection(z, 1.0), z.softmax(dim=0))


def test_it_agrees_with_the_chapter_s_own_functions():
    from nnvocab import activation

    widget, T = SoftmaxFamily(torch.randn(6, generator=torch.Generator().manual_seed(3))), 0.7
    widget.temperature, widget.alpha, widget.masked, widget.rows, widget.cutoff = T, 1.3, [1, 4], 3, 4
    widget.tree, widget.nodes, widget.tail, widget.share = [[0, 1], [2, [3, 4], 5]], [0.3, -1.0, 0.8], 0.4, 0.25
    z = torch.tensor(widget.logits, dtype=torch.float64)
    a, b, c = widget.nodes
    edges = torch.tensor([a, *z[:2], b, z[2], c, *z[3:5], z[5]], dtype=torch.float64)
    parts = torch.stack([z, torch.tensor(widget.second, dtype=torch.float64)])
    expected = {
        "standard": activation.softmax(z),
        "temperature": activation.temperature_softmax(z, T),
        "sparsemax": activation.sparsemax(z / T),
        "entmax": activation.entmax(z / T, 1.3),
        "masked": activation.masked_softmax(z / T, torch.tensor([1, 0, 1, 1, 0, 1]).bool()),
        "grid": activation.grid_softmax(z, 3, T).flatten(),
        "hierarchical": activation.hierarchical_softmax(edges / T, ((0, 1), (2, (3, 4), 5))),
        "adaptive": activation.adaptive_softmax(torch.cat([z[:4], z.new_tensor([0.4]), z[4:]]) / T, (4, 6)),
        "mixture": activation.mixture_of_softmaxes(parts / T, torch.tensor([0.25, 0.75]).double().log()),
    }
    for variant, weights in expected.items():
        widget.variant = variant
        assert_close(widget.weights(), weights, atol=1e-6, rtol=1e-5, msg=variant)


# ---- in the browser


def test_moving_a_logit_by_keyboard_changes_the_weights_and_the_arithmetic(page):
    mount(page, SoftmaxFamily())
    before = bars(page)
    page.focus("input[aria-label='Logit of horse']")
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    settle(page)
    assert get(page, "logits")[2] == pytest.approx(2.1) and get(page, "focus") == 2
    widget = SoftmaxFamily(get(page, "logits"))
    assert bars(page) != before
    assert_close(torch.tensor(bars(page)), widget.weights().float(), atol=6e-4, rtol=0)
    assert "“horse”" in page.inner_text(".sf-lower") and "τ =" in page.inner_text(".sf-card")
    assert page.inner_text(".nnv-sr[aria-live]").startswith("Sparsemax: horse, logit 2.10, weight")


def test_a_logit_is_dragged(page):
    mount(page, SoftmaxFamily())
    box = page.locator("input[aria-label='Logit of ship']").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    settle(page)
    assert get(page, "logits")[5] > 4 and bars(page)[5] == 1.0


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_chosen_shown_and_explained(page, variant):
    widget = SoftmaxFamily(variant="standard")
    mount(page, widget)
    page.click(f".sf-tabs >> text={variant.capitalize()}")
    settle(page)
    assert get(page, "variant") == variant
    widget.variant = variant
    for i in range(6):
        put(page, focus=i)
        p = widget.weights()[i].item()
        last = page.inner_text(".sf-result").split("=")[-1] if p else page.inner_text(".sf-result")
        assert ("0" in last) if p == 0 else parsed(last.split("—")[0].strip()) == pytest.approx(p, abs=6e-4, rel=0.1)
    assert_close(torch.tensor(bars(page)), widget.weights().float(), atol=6e-4, rtol=0)
    page.locator(".sf-cell").first.hover()
    assert "∂p(cat) / ∂z(cat)" in page.inner_text(".sf-jac + .nnv-note")


def test_the_mask_is_switched_and_an_empty_row_is_zeros(page):
    mount(page, SoftmaxFamily(variant="masked"))
    assert bars(page)[3:5] == [0.0, 0.0]
    page.uncheck("input[aria-label='cat is allowed']")
    settle(page)
    assert sorted(get(page, "masked")) == [0, 3, 4] and bars(page)[0] == 0.0
    for name in ("dog", "horse", "ship"):
        page.uncheck(f"input[aria-label='{name} is allowed']")
    settle(page)
    assert bars(page) == [0.0] * 6 and "defined as zeros" in page.inner_text(".sf-result")
    page.check("input[aria-label='dog is allowed']")
    settle(page)
    assert bars(page)[1] == 1.0


def test_alpha_and_temperature_are_live(page):
    mount(page, SoftmaxFamily(variant="entmax"))
    zeros = []
    for key in ("Home", "End"):
        page.focus("input[aria-label='α']")
        page.keyboard.press(key)
        settle(page)
        zeros.append(sum(x == 0 for x in bars(page)))
    assert get(page, "alpha") == 3 and zeros[0] == 0 < zeros[1]
    put(page, alpha=1.5)
    page.focus("input[aria-label='Temperature T']")
    page.keyboard.press("End")
    settle(page)
    assert get(page, "temperature") == 10 and sum(x == 0 for x in bars(page)) == 0


def test_play_sweeps_the_setting_and_steps_go_back(page):
    widget = SoftmaxFamily(variant="temperature")
    widget.temperature = 6.31
    mount(page, widget)
    page.click("button[aria-label='Play']")
    page.wait_for_function(f"{MODEL}.get('temperature') === 10 && document.querySelector('button[aria-label=Play]')")
    page.keyboard.press(",")
    settle(page)
    assert get(page, "temperature") == pytest.approx(8.91)
    page.keyboard.press(".")
    page.focus("input[aria-label='Go to setting']")
    page.keyboard.press("Home")
    settle(page)
    assert get(page, "temperature") == pytest.approx(0.1)


def test_gumbel_draws_samples_and_counts_them(page):
    mount(page, SoftmaxFamily(variant="gumbel"))
    first = bars(page)
    page.click("text=Draw again")
    settle(page)
    assert get(page, "seed") == 8 and bars(page) != first
    page.check("text=Straight-through")
    settle(page)
    assert sorted(bars(page)) == [0.0] * 5 + [1.0]
    page.click("text=Draw 100")
    page.click("text=Draw 100")
    settle(page)
    texts = [x for x in page.locator(".sf-sub").all_inner_texts() if "won" in x]
    assert sum(int(x.split()[1]) for x in texts) == 200 and all("of 200" in x for x in texts)


def test_branches_have_logits_and_rows_can_be_cut(page):
    mount(page, SoftmaxFamily(variant="hierarchical"))
    before = bars(page)
    page.focus("input[aria-label='Logit of branch 2']")
    page.keyboard.press("End")
    settle(page)
    assert get(page, "nodes")[1] == 5 and bars(page)[0] < before[0]
    put(page, variant="grid")
    page.select_option("select[aria-label='Rows × columns']", label="3 × 2")
    settle(page)
    assert get(page, "rows") == 3 and sum(bars(page)) == pytest.approx(3.0, abs=0.01)
    put(page, variant="adaptive")
    page.focus("input[aria-label='Entries in the head']")
    page.keyboard.press("End")
    settle(page)
    assert get(page, "cutoff") == 5 and "6 exponentials" in page.inner_text(".sf-card")


def test_the_second_softmax_of_a_mixture_is_moved(page):
    mount(page, SoftmaxFamily(variant="mixture"))
    page.select_option("select[aria-label='The sliders move']", label="softmax 2")
    page.focus("input[aria-label='Logit of cat']")
    page.keyboard.press("End")
    settle(page)
    assert get(page, "second")[0] == 5 and get(page, "logits")[0] == 2.0
    page.focus("input[aria-label='π₁']")
    page.keyboard.press("End")
    settle(page)
    assert get(page, "share") == 1 and bars(page) == pytest.approx(
        torch.tensor(SoftmaxFamily().logits).softmax(0).tolist(), abs=6e-4
    )


def test_a_guess_is_judged_before_the_weights_are_shown(page):
    mount(page, SoftmaxFamily())
    page.check("text=Guess first")
    settle(page)
    assert page.locator(".sf-num.sf-big").all_inner_texts() == ["?"] * 6 and not page.locator(".sf-card").is_visible()
    assert set(page.locator(".sf-cell").all_inner_texts()) == {"?"}
    page.focus("input[aria-label='Your guess']")
    page.keyboard.press("Home")
    page.click("button:text-is('Show')")
    settle(page)
    p = SoftmaxFamily().weights()[1].item()
    verdict = page.inner_text(".sf-guess .nnv-note")
    assert p == 0 and "gets 0, you said 0.00" in verdict and "4 of 6 weights are exactly 0" in verdict
    assert page.locator(".sf-card").is_visible()


def test_the_jacobian_is_reached_by_keyboard_and_said(page):
    mount(page, SoftmaxFamily(variant="standard"))
    assert page.locator("[role=gridcell][tabindex='0']").count() == 1
    page.focus("[role=gridcell][tabindex='0']")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    settle(page)
    p = SoftmaxFamily().standard()
    assert f"∂p(horse) / ∂z(dog) = {-(p[2] * p[1]).item():.3f}".replace("-", "−") in page.inner_text(".nnv-sr")
    page.focus(".sf-who button[tabindex='0']")
    page.keyboard.press("ArrowDown")
    settle(page)
    assert page.evaluate("document.activeElement.textContent") == "dog" and get(page, "focus") == 1


def test_the_address_sets_the_state(page, tmp_path):
    query = "#SoftmaxFamily?variant=entmax&alpha=2.5&logits=[1,0.5,0,-1]&temperature=0.5&focus=3"
    mount(page, SoftmaxFamily(), path=tmp_path / "w.html", query=query)
    assert get(page, "variant", "alpha", "logits", "temperature") == ["entmax", 2.5, [1, 0.5, 0, -1], 0.5]
    assert len(bars(page)) == 4 and "0, exactly" in page.inner_text(".sf-result")
    page.evaluate("location.hash = '#SoftmaxFamily?variant=grid&rows=2&temperature=1'")
    page.wait_for_function(f"{MODEL}.get('variant') === 'grid'")
    settle(page)
    assert sum(bars(page)) == pytest.approx(2.0, abs=0.01)


def test_values_out_of_range_are_held_inside(page):
    mount(page, SoftmaxFamily())
    put(page, focus=99, rows=5, cutoff=40, share=3, temperature=0, alpha=0, component=9, tree=[[0, 1]], second=[1])
    for variant in VARIANTS:
        put(page, variant=variant)
        assert all(0 <= x <= 1 for x in bars(page))
    put(page, variant="none of these")
    assert page.locator(".sf-tabs [aria-pressed=true]").inner_text() == "Standard"


def test_two_on_a_page_keep_to_themselves(page):
    mount(page, SoftmaxFamily())
    other = beside(page, SoftmaxFamily([1.0, 2.0], names=["no", "yes"]))
    other.locator(".sf-tabs button").nth(3).click()
    settle(page)
    assert get(page, "variant") == "sparsemax"
    close_beside(page)


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_serious_for_axe_and_it_fits_a_phone(phone, dark):
    mount(phone, SoftmaxFamily(), dark=dark)
    for variant in ("sparsemax", "masked", "hierarchical", "gumbel", "mixture"):
        put(phone, variant=variant)
        check_legible(phone)


# ---- what is refused, and what stands still


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("no",), TypeError, "a list of numbers; it was given 'no'"),
        ((torch.zeros(2, 3),), ValueError, "shape \\(2, 3\\).*choose one row"),
        ((torch.zeros(40),), ValueError, "from 2 to 12.*topk"),
        (([1.0, float("inf")],), ValueError, "finite numbers.*use masked"),
        (([1.0, 2.0], ["a"]), ValueError, "names holds 1 strings for 2 logits"),
        (([1.0, 2.0], None, "hardmax"), ValueError, "must be one of standard, temperature"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_a_reason(arguments, error, message):
    from traitlets import TraitError

    with pytest.raises((error, TraitError), match=f"(?s){message}"):
        SoftmaxFamily(*arguments)


def test_a_tree_that_misses_an_entry_is_refused():
    with pytest.raises(ValueError, match="each entry from 0 to 5 once"):
        SoftmaxFamily().tree = [[0, 1], [1, 2, 3, 4, 5]]


def test_the_state_is_small_and_its_picture_and_text_stand_still():
    from matplotlib import pyplot as plt

    for variant in VARIANTS:
        widget = SoftmaxFamily(torch.randn(12), variant=variant)
        state = {k: v for k, v in widget.get_state().items() if k not in {"_esm", "layout", "tabbable", "tooltip"}}
        assert len(json.dumps(state)) < 200_000
        figure = widget.still()
        assert figure.get_size_inches()[0] <= 7.2
        plt.close(figure)
        assert repr(widget) == repr(widget) and "0x" not in repr(widget)
    assert "seed" in dir(widget) and widget.weights().shape == (12,)
