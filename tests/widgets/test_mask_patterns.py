"""What the mask patterns must hold: masks and reach against torch, and what a reader does in a real browser."""

import json

import numpy as np
import pytest
import torch

from nnvocab.widgets import MaskPatterns
from nnvocab.widgets.base import module_text
from nnvocab.widgets.mask_patterns import PATTERNS, uniform
from tests.browser import MODEL, beside, check_legible, close_beside, exports, get, mount, put, settle

TEXT = module_text("mask_patterns")
TRAITS = "causal window dilation global_tokens random_keys seed stride summary unit split".split()


def words(page):
    return page.inner_text(".mp-words")


def facts(page):
    return page.inner_text(".mp-facts")


def settings(count=60):
    """Widgets with a pattern each and settings drawn at random."""
    generator = np.random.default_rng(0)
    for i in range(count):
        widget = MaskPatterns(T=int(generator.integers(2, 26)))
        widget.pattern = PATTERNS[i % len(PATTERNS)]
        widget.causal, widget.split = (bool(generator.integers(2)) for _ in range(2))
        widget.window, widget.global_tokens, widget.random_keys = (int(generator.integers(0, 5)) for _ in range(3))
        widget.dilation, widget.stride, widget.summary, widget.unit = (int(generator.integers(1, 5)) for _ in range(4))
        widget.seed = int(generator.integers(1000))
        yield widget


def powers(masks, n):
    """Which positions each can know of after n layers: the product of the masks, each with its diagonal open."""
    reached = torch.eye(masks.shape[1], dtype=torch.float64)
    for k in range(n):
        step = (masks[k % len(masks)] | torch.eye(masks.shape[1], dtype=torch.bool)).double()
        reached = (step @ reached > 0).double()
    return reached > 0


# ---- the arithmetic, held to torch


def test_the_page_s_masks_are_python_s_for_every_pattern(blank):
    for widget in settings():
        options = {name: getattr(widget, name) for name in TRAITS}
        found = exports(
            blank,
            TEXT,
            "(m, p, T, o) => m.pattern(p, T, o).map(x => [...x].map(v => v > 0))",
            *(widget.pattern, widget.T, options),
        )
        assert torch.equal(torch.tensor(found).view(-1, widget.T, widget.T), widget.masks()), widget.pattern


def test_each_named_mask_is_the_formula_of_its_paper_written_with_torch():
    t, s = torch.arange(17)[:, None], torch.arange(17)

    def mask(pattern, **options):
        widget = MaskPatterns(T=17)
        widget.pattern = pattern
        for name, value in options.items():
            setattr(widget, name, value)
        return widget.masks()

    ones = torch.ones(17, 17, dtype=torch.bool)
    near = (t - s).abs() <= 3
    back = (s <= t) & (s > t - 3)
    assert torch.equal(mask("full")[0], ones) and torch.equal(mask("causal")[0], ones.tril())
    assert torch.equal(mask("window", window=3)[0], near)
    assert torch.equal(mask("window", window=3, causal=True)[0], back)
    assert torch.equal(mask("global", window=3, global_tokens=2)[0], near | (t < 2) | (s < 2))
    assert torch.equal(
        mask("global", window=3, global_tokens=2, causal=True)[0], back | ((s <= t) & ((t < 2) | (s < 2)))
    )
    assert torch.equal(mask("dilated", window=2, dilation=3)[0], ((t - s) % 3 == 0) & ((t - s).abs() <= 6))
    strided = [(s <= t) & (s >= t - 4), (s <= t) & ((t - s) % 4 == 0)]
    fixed = [(s <= t) & (s // 4 == t // 4), (s <= t) & (s % 4 >= 2)]
    assert torch.equal(mask("strided", stride=4)[0], strided[0] | strided[1])
    assert torch.equal(mask("strided", stride=4, split=True), torch.stack(strided))
    assert torch.equal(mask("fixed", stride=4, summary=2)[0], fixed[0] | fixed[1])
    assert torch.equal(mask("fixed", stride=4, summary=2, split=True), torch.stack(fixed))
    assert torch.equal(mask("oscillating"), torch.stack([ones, ones.tril(), ones.triu()]))


def test_the_masks_are_those_of_the_attention_chapter():
    rules = pytest.importorskip("nnvocab.attention.rules", reason="the attention chapter has no rules")
    for widget in settings(50):
        T, w, near = widget.T, widget.window, max(1, widget.window)
        widget.window, widget.split = near, False
        rule = {
            "causal": rules.causal_rule,
            "window": rules.window_rule(near, causal=widget.causal),
            "dilated": rules.window_rule(near, causal=widget.causal, dilation=widget.dilation),
            "global": rules.either(rules.window_rule(near), rules.global_rule(range(min(T, widget.global_tokens)))),
            "strided": rules.strided_rule(widget.stride),
            "fixed": rules.fixed_rule(widget.stride, min(widget.summary, widget.stride)),
        }.get(widget.pattern)
        if rule is None:
            continue
        if widget.pattern == "global":
            widget.causal = False
        mask = widget.masks()[0]
        assert torch.equal(mask, rules.rule_mask(rule, T)), (widget.pattern, w)
        if mask.diagonal().all():
            needed, layers = widget.layers_needed(), rules.layers_to_reach_all(mask)
            assert layers == (max(1, int(needed.max())) if bool((needed >= 0).all()) else None)


@pytest.mark.parametrize("seed", range(4))
def test_random_keys_are_distinct_and_new_and_repeat_with_the_seed(seed):
    widget = MaskPatterns(T=20)
    widget.pattern, widget.seed, widget.random_keys = "random", seed, 3
    mask = widget.masks()[0]
    assert torch.equal(mask.sum(dim=1), torch.full((20,), 4)) and bool(mask.diagonal().all())
    assert torch.equal(mask, widget.masks()[0])
    widget.causal = True
    causal = widget.masks()[0]
    assert torch.equal(causal, causal.tril()) and causal.sum(dim=1).tolist() == [min(i, 3) + 1 for i in range(20)]
    widget.pattern, widget.causal, widget.window, widget.global_tokens, widget.unit = "bigbird", False, 1, 1, 2
    blocks = widget.masks()[0].view(10, 2, 10, 2).transpose(1, 2).flatten(2)  # (10, 10, 4)
    assert torch.equal(blocks.any(dim=2), blocks.all(dim=2))
    assert blocks.all(dim=2)[2:-1].sum(dim=1).tolist() == [1 + 3 + 3] * 7  # global, window, random, none counted twice
    other = MaskPatterns(T=20)
    other.pattern, other.seed, other.random_keys = "random", seed + 1, 3
    assert not torch.equal(other.masks()[0], mask)


def test_random_numbers_are_the_same_in_the_page(blank):
    for seed in (0, 1, 77, 2**31 - 1):
        numbers = uniform(seed)
        expected = [next(numbers) for _ in range(50)]
        found = exports(blank, TEXT, "(m, s) => { const f = m.uniform(s); return Array.from({length: 50}, f); }", seed)
        assert found == expected and all(0 <= x < 1 for x in found)


def test_layers_needed_are_boolean_matrix_powers(blank):
    generator = torch.Generator().manual_seed(0)
    loose = [torch.rand(1 + i % 3, 3 + i, 3 + i, generator=generator) < 1.5 / (3 + i) for i in range(20)]
    for masks in [*(widget.masks() for widget in settings(40)), *loose]:
        T = masks.shape[1]
        found = exports(
            blank,
            TEXT,
            "(m, masks, T) => { const r = m.layersNeeded(masks.map(x => x.flat()), T);"
            " return {...r, need: [...r.need]}; }",
            *(masks.int(), T),
        )
        need = torch.tensor(found["need"]).view(T, T)
        for n in range(found["settled"] + 3):
            assert torch.equal(need <= n, powers(masks, n))
        assert found["pairs"] == [int(powers(masks, n).sum()) for n in range(found["settled"] + 1)]
        assert found["all"] == bool(powers(masks, 3 * T * len(masks)).all())
        last = found["settled"]
        assert last == 0 or not torch.equal(powers(masks, last), powers(masks, last - 1))
        widget = MaskPatterns(list(masks))
        assert torch.equal(widget.layers_needed(), torch.where(need == 255, -1, need))


def test_cone_and_way_go_through_open_cells_only(blank):
    for widget in settings(30):
        masks, T = widget.masks(), widget.T
        n, t = 1 + widget.seed % 4, widget.seed % T
        found = exports(
            blank,
            TEXT,
            "(m, masks, T, t, n) => { const a = masks.map(x => x.flat()); return {cone: [...m.cone(a, T, t, n)],"
            " ways: Array.from({length: T}, (_, s) => m.way(a, T, t, s, n))}; }",
            *(masks.int(), T, t, n),
        )
        cone = torch.tensor(found["cone"]).view(n + 1, T).bool()
        assert torch.equal(cone[0], powers(masks, n)[t])
        for s, way in enumerate(found["ways"]):
            assert (way is not None) == bool(cone[0, s])
            if way is None:
                continue
            assert way[0] == t and way[-1] == s and len(way) == n + 1
            for k, (a, b) in enumerate(zip(way, way[1:], strict=False)):
                assert a == b or masks[(n - k - 1) % len(masks)][a, b]
                assert cone[n - k, a]


def test_the_work_is_counted_cell_by_cell(blank):
    generator = torch.Generator().manual_seed(1)
    for i in range(30):
        T, S, block = 1 + i % 13, 1 + (5 * i) % 11, 1 + i % 5
        mask = torch.rand(T, S, generator=generator) < 0.2
        found = exports(
            blank,
            TEXT,
            "(m, x, T, S, b) => { const w = m.work(x.flat(), T, S, b);"
            " return {...w, rows: [...w.rows], keys: [...w.keys], full: [...w.full]}; }",
            *(mask.int(), T, S, block),
        )
        blocks = [[mask[a : a + block, b : b + block] for b in range(0, S, block)] for a in range(0, T, block)]
        hit = [part for row in blocks for part in row if part.any()]
        assert found["open"] == int(mask.sum()) and found["all"] == T * S
        assert found["blocks"] == len(hit) and found["computed"] == sum(part.numel() for part in hit)
        assert found["allBlocks"] == sum(map(len, blocks))
        assert found["rows"] == mask.sum(dim=1).tolist() and found["keys"] == mask.sum(dim=0).tolist()


def test_sets_are_said_as_spans(blank):
    for given, said in [([], "none"), ([3], "3"), ([0, 1], "0, 1"), ([0, 1, 2, 5, 7, 8], "0–2, 5, 7, 8")]:
        assert exports(blank, TEXT, "(m, x) => m.spans(x)", given) == said


# ---- a reader's own masks


def test_a_given_mask_is_shown_as_it_is(page):
    mask = torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) < 0.5
    widget = MaskPatterns(mask)
    assert torch.equal(widget.masks()[0], mask)
    mount(page, widget)
    for t in range(5):
        put(page, row=t)
        labels = page.eval_on_selector_all("[role=gridcell]", "x => x.map(c => c.ariaLabel)")
        assert [label.endswith("open") for label in labels] == mask[t].tolist()
    assert page.locator("[role=grid]").count() == 2 and page.locator("[role=grid]:visible").count() == 1
    assert "5 and 7" in words(page)


def test_masks_that_take_turns_are_one_a_layer(page):
    down, up = torch.eye(4, dtype=torch.bool).roll(1, dims=0), torch.eye(4, dtype=torch.bool)
    down[0, 3] = False
    widget = MaskPatterns([down | up, up])
    assert widget.layers_needed()[3, 0] == 5  # only every other layer passes anything on
    mount(page, widget)
    put(page, layers=5, row=3, col=0)
    assert "comes to 3 in 5 layers" in words(page) and "0 → 1 → 1 → 2 → 2 → 3" in words(page)
    assert "1 of 2 that take turns" in page.inner_text(".mp-cap >> nth=0")


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        ("causal", TypeError, "given as str"),
        (torch.zeros(3, 3), TypeError, "float32.*mask > -inf"),
        (torch.ones(1, 2, 3, 3, dtype=torch.bool), ValueError, "Select one example"),
        (torch.ones(49, 3, dtype=torch.bool), ValueError, "1 to 48"),
        ([], ValueError, "empty list"),
        ([torch.ones(2, 3, dtype=torch.bool)] * 2, ValueError, "square ones"),
        ([torch.ones(2, 2, dtype=torch.bool), torch.ones(3, 3, dtype=torch.bool)], ValueError, "of one size"),
    ],
)
def test_what_is_no_mask_is_refused_with_a_reason(mask, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        MaskPatterns(mask)


def test_other_wrong_settings_are_refused_with_a_reason():
    with pytest.raises(ValueError, match="an int from 2 to 48"):
        MaskPatterns(T=1)
    with pytest.raises(ValueError, match="text of 0 and 1"):
        MaskPatterns().drawn = [["10", "1"]]
    with pytest.raises(ValueError, match="5 queries and 7 keys"):
        MaskPatterns(torch.ones(5, 7, dtype=torch.bool)).layers_needed()


# ---- the figure in a browser


def test_play_adds_layers_until_nothing_is_added(page):
    mount(page, MaskPatterns())
    assert "2 layers" not in page.inner_text(".mp-cap >> nth=1")
    page.click("button[aria-label='Play']")
    page.wait_for_function(f"{MODEL}.get('layers') === 8", timeout=9000)
    page.wait_for_selector("button[aria-label=Play]")
    settle(page)
    assert "256 of 256 pairs" in facts(page) and "8 layers until all is joined" in facts(page)
    page.keyboard.press(",")
    assert get(page, "layers") == 7
    page.focus("input[aria-label='Go to layer']")
    page.keyboard.press("Home")
    settle(page)
    assert get(page, "layers") == 1 and "74 of 256 pairs" in facts(page)


def test_the_numbers_of_the_page_are_torch_s(page):
    widget = MaskPatterns(T=14)
    mount(page, widget)
    for pattern in PATTERNS:
        widget.pattern = pattern
        put(page, pattern=pattern, layers=1)
        mask, needed = widget.masks()[0], widget.layers_needed()
        assert f"{int(mask.sum())} of 196 cells" in facts(page)
        most = int(needed.max())
        assert (f"{most} layer" in facts(page)) and ("never joined" in facts(page)) == bool((needed < 0).any())
        put(page, row=11)
        labels = page.eval_on_selector_all(".mp-board", "x => x[1].querySelectorAll('[role=gridcell]').length")
        assert labels == 14
        names = page.evaluate(
            "[...document.querySelectorAll('.mp-board')[1].querySelectorAll('[role=gridcell]')].map(c => c.ariaLabel)"
        )
        said = [-1 if "never" in x else 0 if "itself" in x else int(x.split(": ")[1].split()[0]) for x in names]
        assert said == needed[11].tolist(), pattern


def test_the_pointer_draws_and_undo_takes_it_back(page):
    mount(page, MaskPatterns(T=8))
    page.click("text=✎ Draw")
    box = page.locator(".mp-cells canvas").first.bounding_box()
    cell = box["width"] / 8
    page.mouse.move(box["x"] + 5.5 * cell, box["y"] + 0.5 * cell)
    page.mouse.down()
    page.mouse.move(box["x"] + 6.5 * cell, box["y"] + 0.5 * cell)
    page.mouse.move(box["x"] + 7.5 * cell, box["y"] + 0.5 * cell)
    page.mouse.up()
    settle(page)
    assert get(page, "pattern") == "drawn" and get(page, "drawn")[0][0] == "11100111"
    assert "mask[0, 7] = True" in words(page)
    assert page.locator("select[aria-label=Pattern]").evaluate("e => e.selectedOptions[0].textContent") == "drawn"
    page.click("text=Undo")
    settle(page)
    assert get(page, "pattern") == "window" and "34 of 64 cells" in facts(page)
    page.click("text=Close all")
    settle(page)
    assert "8 queries look nowhere" in facts(page) and "56 pairs are never joined" in facts(page)
    page.click("text=Open all")
    settle(page)
    assert "64 of 64 cells" in facts(page)


def test_cells_are_reached_and_changed_by_keyboard(page):
    mount(page, MaskPatterns(T=8))
    put(page, row=4, col=4)
    page.locator("[role=gridcell][tabindex='0']").first.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    assert get(page, "row", "col") == [5, 7]
    assert page.evaluate("document.activeElement.ariaLabel") == "query 5, key 7: open"
    page.keyboard.press("Enter")
    settle(page)
    assert get(page, "pattern") == "drawn" and get(page, "drawn")[0][5] == "00011110"
    assert page.evaluate("document.activeElement.ariaLabel") == "query 5, key 7: closed"
    page.keyboard.press("Home")
    settle(page)
    assert get(page, "col") == 0 and "mask[5, 0] = False" in page.inner_text("[aria-live]")


def test_each_control_changes_the_mask(page):
    mount(page, MaskPatterns())
    page.select_option("select[aria-label=Pattern]", label="BigBird: window + global + random")
    settle(page)
    widget = MaskPatterns()
    widget.pattern = "bigbird"
    for label, name in (("Window w", "window"), ("Global g", "global_tokens"), ("Random r", "random_keys")):
        page.focus(f"input[aria-label='{label}']")
        page.keyboard.press("ArrowRight")
        settle(page)
        setattr(widget, name, getattr(widget, name) + 1)
        assert get(page, name) == getattr(widget, name)
        assert f"{int(widget.masks().sum())} of 256 cells" in facts(page)
    page.check("input[aria-label=Causal]")
    page.click("text=Draw again")
    settle(page)
    widget.causal, widget.seed = True, 1
    assert f"{int(widget.masks().sum())} of 256 cells" in facts(page)
    assert page.locator("input[aria-label='Stride ℓ']").is_hidden()


def test_words_say_why(page):
    mount(page, MaskPatterns())
    put(page, row=9, col=7)
    assert "query 9 may look at key 7; t and s are 2 apart, within the window w = 2" in words(page)
    assert "Query 9 looks at 5 of 16: 7–11" in words(page) and "looked at by 5 of 16: 5–9" in words(page)
    put(page, pattern="fixed", row=13, col=7)
    assert "key 7 is among the last 1 of its block" in words(page)
    put(page, row=3, col=9)
    assert "it would look ahead" in words(page) and "never comes" in words(page)
    put(page, pattern="strided", row=9, col=5, split=True, layers=2)
    assert "t − s = 4 is a multiple of ℓ = 4" in words(page)
    page.mouse.move(0, 0)
    box = page.locator(".mp-cells canvas").first.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    settle(page)
    assert "mask[0, 0]" in words(page) and get(page, "row") == 9


def test_a_guess_is_judged_before_the_layers_are_shown(page):
    mount(page, MaskPatterns())
    page.check("text=Guess first")
    settle(page)
    assert "pairs" not in facts(page) and page.locator(".mp-stack").is_hidden()
    page.fill("input[type=number]", "16")
    page.click("text=Check")
    settle(page)
    assert "It takes 8, not 16" in page.inner_text(".nnv") and page.locator(".mp-stack").is_visible()


def test_the_address_sets_the_state(page, tmp_path):
    query = "#MaskPatterns?pattern=strided&T=12&stride=3&split=true&layers=2&row=8&col=2"
    mount(page, MaskPatterns(), path=tmp_path / "w.html", query=query)
    assert get(page, "pattern", "T", "stride", "split", "layers", "row", "col") == ["strided", 12, 3, True, 2, 8, 2]
    assert "t − s = 6 is a multiple of ℓ = 3" in words(page)
    page.evaluate("""location.hash = '#MaskPatterns?pattern=drawn&drawn=[["110","011","001"]]&row=1&col=2&layers=1'""")
    page.wait_for_function(f"{MODEL}.get('pattern') === 'drawn'")
    settle(page)
    assert "Query 1 looks at 2 of 3: 1, 2" in words(page)
    page.evaluate("""location.hash = '#MaskPatterns?drawn=[["1x"]]&row=900&layers=77'""")
    settle(page)
    assert "of 144 cells" in facts(page) or "of 9 cells" in facts(page)


def test_two_on_a_page_keep_to_themselves(page):
    mount(page, MaskPatterns(T=6))
    other = beside(page, MaskPatterns(torch.eye(3).bool()))
    other.locator("text=Open all").click()
    settle(page)
    assert get(page, "pattern") == "window"
    close_beside(page)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("pattern", ["bigbird", "drawn"])
def test_nothing_serious_for_axe_and_it_fits_a_phone(phone, dark, pattern):
    widget = MaskPatterns(torch.ones(20, 20).tril().bool() if pattern == "drawn" else None)
    widget.pattern = pattern
    mount(phone, widget, dark=dark)
    check_legible(phone)
    put(phone, row=3, col=15)
    cell, frame = (phone.locator(x).first.bounding_box() for x in ("[aria-selected=true]", ".nnv-fig .nnv-fig"))
    assert frame["x"] <= cell["x"] and cell["x"] + cell["width"] <= frame["x"] + frame["width"] + 1


def test_the_state_is_small_and_its_picture_and_text_stand_still():
    from matplotlib import pyplot as plt

    for widget in (MaskPatterns(), MaskPatterns(torch.ones(48, 48).bool()), MaskPatterns(torch.ones(3, 5).bool())):
        state = {k: v for k, v in widget.get_state().items() if k not in {"_esm", "layout", "tabbable", "tooltip"}}
        assert len(json.dumps(state)) < 200_000
        figure = widget.still()
        assert figure.get_size_inches()[0] <= 7.2
        plt.close(figure)
        assert repr(widget) == repr(widget) and "0x" not in repr(widget)
