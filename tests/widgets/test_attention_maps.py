"""What the attention maps must hold: their arithmetic against torch, and what a reader does in a real browser."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from nnvocab.widgets import AttentionMaps
from nnvocab.widgets import _tiny_transformer as tiny
from nnvocab.widgets._attention_presets import PRESETS
from nnvocab.widgets.attention_maps import MASKS, visible
from nnvocab.widgets.base import module_text
from tests.browser import MODEL, beside, check_legible, close_beside, exports, get, mount, put, settle

TEXT = module_text("attention_maps")


def card(page):
    return page.inner_text(".am-card")


# ---- the arithmetic, held to torch


def settings(count=24):
    generator = np.random.default_rng(0)
    for seed in range(count):
        T, S = (int(generator.integers(1, 9)) for _ in range(2))
        yield {
            **{"seed": seed, "T": T, "S": S, "D": int(generator.integers(1, 7)), "mask": MASKS[seed % 4]},
            **{"temperature": float(np.exp(generator.normal())), "window": int(generator.integers(1, 5))},
            **{
                "prefix": int(generator.integers(0, 5)),
                "hidden": generator.choice(S, seed % 3 % S, replace=False).tolist(),
            },
        }


def test_attention_is_torch_s_under_every_mask_and_temperature(blank):
    for c in settings():
        generator = torch.Generator().manual_seed(c["seed"])
        q, k, v = (torch.randn(n, c["D"], generator=generator, dtype=torch.float64) for n in (c["T"], c["S"], c["S"]))
        bias = torch.randn(c["T"], c["S"], generator=generator, dtype=torch.float64) if c["seed"] % 2 else None
        seen = visible(c["mask"], c["T"], c["S"], c["window"], c["prefix"], tuple(c["hidden"]))
        found = exports(
            blank,
            TEXT,
            "(m, c, q, k, v, bias) => { const seen = m.visible(c.mask, c.T, c.S, c); const r = m.attention(q.flat(),"
            " k.flat(), v.flat(), c.T, c.S, c.D, {seen, temperature: c.temperature, bias: bias && bias.flat()});"
            " return {seen: [...seen], weights: [...r.weights], out: [...r.out]}; }",
            *(c, q, k, v, bias),
        )
        assert found["seen"] == seen.flatten().int().tolist()
        added = torch.zeros(c["T"], c["S"], dtype=torch.float64) if bias is None else bias
        added = (added / c["temperature"]).masked_fill(~seen, -math.inf)
        scale = 1 / (c["temperature"] * c["D"] ** 0.5)
        expected = F.scaled_dot_product_attention(q, k, v, attn_mask=added, scale=scale)
        expected[~seen.any(dim=1)] = 0.0  # a row that may look nowhere
        assert_close(torch.tensor(found["out"]).view_as(expected).double(), expected, atol=1e-5, rtol=1e-5)
        sums = torch.tensor(found["weights"], dtype=torch.float32).view(c["T"], c["S"]).sum(dim=1)
        assert_close(sums, seen.any(dim=1).float())


def test_each_mask_is_what_its_name_says():
    T = 6
    for t in range(T):
        for s in range(T):
            assert visible("full", T, T, 2, 3)[t, s]
            assert visible("causal", T, T, 2, 3)[t, s] == (s <= t)
            assert visible("window", T, T, 2, 3)[t, s] == (t - 1 <= s <= t)
            assert visible("prefix", T, T, 2, 3)[t, s] == (s <= t or s < 3)
            assert visible("causal", T, T, 2, 3, (0,), extra=1)[t, s] == (s > 0 and (s <= t or s == 5))


def test_a_row_that_may_look_nowhere_has_weights_and_output_zero(blank):
    found = exports(
        blank,
        TEXT,
        "m => { const r = m.attention([1, 2], [3, 4], [5, 6], 2, 2, 1, {seen: [0, 0, 1, 1]});"
        " const e = m.explain(r, 0, 0, 2, 2, 1, {seen: [0, 0, 1, 1]});"
        " return [[...r.weights.slice(0, 2)], r.out[0], e.sum, e.weight, e.out[0]]; }",
    )
    assert found == [[0, 0], 0, 0, 0, 0]


def test_every_half_precision_number_is_read_exactly(blank):
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    import base64

    found = exports(blank, TEXT, "(m, b) => [...m.floats(b, 'f2')]", base64.b64encode(halves.tobytes()).decode())
    assert np.array_equal(np.array(found), halves.astype(np.float64))


def test_known_weights_take_a_temperature_and_a_mask_exactly(blank):
    scores = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = visible("causal", 5, 5, 4, 4)
    found = exports(
        blank,
        TEXT,
        "(m, w, seen) => [...m.reweigh(w.flat(), 5, 5, {seen: seen.flat(), temperature: 0.3}).weights]",
        *(scores.softmax(dim=-1), seen.int()),
    )
    expected = (scores / 0.3).masked_fill(~seen, -math.inf).softmax(dim=-1)
    assert_close(torch.tensor(found).view(5, 5).double(), expected, atol=1e-6, rtol=1e-5)


def test_the_card_s_numbers_are_torch_s(blank):
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        q, k, v = (torch.randn(6, 4, generator=generator, dtype=torch.float64) for _ in range(3))
        t, s, tau = seed % 6, seed * 5 % 6, 0.5 + seed / 8
        seen = visible("prefix", 6, 6, 4, 3)
        found = exports(
            blank,
            TEXT,
            "(m, q, k, v, t, s, tau, seen) => { const o = {seen: seen.flat(), temperature: tau};"
            " return m.explain(m.attention(q.flat(), k.flat(), v.flat(), 6, 6, 4, o), t, s, 6, 6, 4, o); }",
            *(q, k, v, t, s, tau, seen.int()),
        )
        scores = (q @ k.T / 2 / tau).masked_fill(~seen, -math.inf)
        weights = scores.softmax(dim=-1)
        exps = (scores[t] - scores[t].max()).exp()
        expected = {
            **{"terms": q[t] * k[s], "dot": q[t] @ k[s], "scaled": q[t] @ k[s] / 2, "score": q[t] @ k[s] / 2 / tau},
            **{"exps": exps, "sum": exps.sum(), "weight": weights[t, s], "parts": weights[t, s] * v[s]},
            **{"out": weights[t] @ v, "top": scores[t].max()},
        }
        for name, value in expected.items():
            assert_close(torch.tensor(found[name], dtype=torch.float64), value, atol=1e-5, rtol=1e-5)
        assert found["allowed"] == bool(seen[t, s])


TEXTS = ["the cat sat. the cat sat", "a", "Ünïcode? 42 times: (x-y), x-y!", "z" * 48, "xq7kz mop xq7kz mop"]


def test_the_transformer_in_the_page_is_the_one_in_torch(blank):
    widget = AttentionMaps()
    model = tiny.tiny_transformer().double()
    offs = [[], [(0, 0)], [(1, 0), (1, 1)], [(0, 3), (1, 2)], [(0, h) for h in range(4)]]
    for i, (text, off) in enumerate(zip(TEXTS, offs, strict=True)):
        for mask in MASKS:
            T, tau, hidden = len(text), (1.0, 0.4, 2.5)[i % 3], (0,) if i == 4 else ()
            found = exports(
                blank,
                TEXT,
                "(m, spec, blob, text, mask, tau, off, hidden) => { const ids = m.encode(text, spec.letters);"
                " const r = m.transformer(m.named(blob, spec.layout), ids, spec.record.shape, {seen: m.visible(mask,"
                " ids.length, ids.length, {hidden}), temperature: tau, off});"
                " return {ids, logits: [...r.logits], weights: r.heads.map(l => l.map(x => [...x.weights]))}; }",
                *(widget.spec, widget.blob, text, mask, tau, off, list(hidden)),
            )
            assert found["ids"] == tiny.encode(text)
            with torch.no_grad():
                logits, layers = model(torch.tensor([found["ids"]]), visible(mask, T, T, 4, 4, hidden), tau, off)
            assert_close(torch.tensor(found["logits"]).view_as(logits).double(), logits, atol=1e-5, rtol=1e-5)
            weights = torch.cat([parts[3] for parts in layers])
            assert_close(torch.tensor(found["weights"]).view_as(weights).double(), weights, atol=1e-6, rtol=1e-5)


def test_the_transformer_in_torch_is_torch_s_own_encoder():
    model = tiny.tiny_transformer()
    layer = nn.TransformerEncoderLayer(32, 4, 128, dropout=0.0, activation="relu", batch_first=True, norm_first=True)
    peer = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    pairs = {
        **{"self_attn.in_proj_": "qkv.", "self_attn.out_proj.": "out.", "linear1.": "up.", "linear2.": "down."},
        **{"norm1.": "norm1.", "norm2.": "norm2."},
    }
    state = model.state_dict()
    names = [(i, a, b, kind) for i in range(2) for a, b in pairs.items() for kind in ("weight", "bias")]
    peer.load_state_dict({f"layers.{i}.{a}{kind}": state[f"blocks.{i}.{b}{kind}"] for i, a, b, kind in names})
    ids = torch.randint(48, (3, 30), generator=torch.Generator().manual_seed(0))
    x = model.letters(ids) + model.places.weight[:30]
    with torch.no_grad():
        y = model.norm(peer(x, mask=nn.Transformer.generate_square_subsequent_mask(30), is_causal=True))
        assert_close(model(ids)[0], y @ model.letters.weight.T, atol=1e-4, rtol=1e-4)


def test_what_a_head_does_is_measured_right(blank):
    weights = torch.rand(9, 9, generator=torch.Generator().manual_seed(0)).tril()
    weights = weights / weights.sum(dim=1, keepdim=True)
    ids = [1, 2, 3, 1, 2, 4, 1, 5, 2]
    found = exports(blank, TEXT, "(m, w, ids) => m.habits(w.flat(), 9, ids)", weights, ids)
    places = {
        "before": lambda t: [t - 1],
        "two back": lambda t: [t - 2] if t > 1 else [],
        "itself": lambda t: [t],
        "first": lambda t: [0],
        "same": lambda t: [s for s in range(t) if ids[s] == ids[t]],
        "copy": lambda t: [s + 1 for s in range(t) if ids[s] == ids[t]],
    }
    for name, where in places.items():
        rows = [sum(weights[t, s].item() for s in where(t)) for t in range(1, 9) if where(t)]
        assert found[name] == pytest.approx(sum(rows) / len(rows), abs=1e-5)
    assert exports(blank, TEXT, "(m, w) => m.habits(w.flat(), 9, [1,2,3,4,5,6,7,8,9]).copy", weights) is None


# ---- the trained weights do what is said of them


def copy_loss(off=()):
    noise = torch.randint(48, (64, 24), generator=torch.Generator().manual_seed(5))
    twice = torch.cat([noise, noise], dim=1)
    with torch.no_grad():
        logits = tiny.tiny_transformer()(twice[:, :-1], off=off)[0][:, 24:]
    return F.cross_entropy(logits.flatten(0, 1), twice[:, 25:].flatten()).item()


def test_the_trained_transformer_copies_and_its_induction_heads_are_why():
    record = tiny.record()
    assert copy_loss() == pytest.approx(record["copy"], abs=0.15)
    heads = np.array(record["induction"])
    found = [(1, h) for h in range(4) if heads[1, h] > 0.5]
    assert found and heads[0].max() < 0.1
    assert copy_loss(off=found) > copy_loss() + 1.5
    others = [(1, h) for h in range(4) if (1, h) not in found][: len(found)]
    assert copy_loss(off=others) < copy_loss(off=found) - 1.0


def test_the_docstring_s_numbers_are_the_training_s():
    text, record = " ".join(AttentionMaps.__doc__.split()), tiny.record()
    count = sum(p.numel() for p in tiny.tiny_transformer().parameters())
    for number in (
        f"{count:,}",
        f"{record['letters']:,}",
        *(f"{record[k]:.2f}" for k in ("train", "held_out", "copy", "uniform")),
    ):
        assert number in text
    assert f"seed {record['seed']}" in text
    assert tiny._file().stat().st_size < 150_000


# ---- a reader's own modules


def first_map(page):
    """All heads' weights as the page computes them, through the labels of the row's cells and the state."""
    rows = []
    for t in range(page.evaluate("+document.querySelector('[role=grid]').ariaRowCount")):
        put(page, row=t)
        page.wait_for_timeout(150)  # the cells away from the chosen one get their names when the hand rests
        labels = page.eval_on_selector_all("[role=gridcell]", "x => x.map(c => c.ariaLabel)")
        rows.append([0.0 if x.endswith("hidden") else number(x.split(": ")[-1]) for x in labels])
    return torch.tensor(rows)


def number(text):
    if "·10" in text:
        digits = {c: d for d, c in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
        return float(text[0]) * 10.0 ** -int("".join(str(digits[c]) for c in text.split("10")[1][1:]))
    return float(text.replace("−", "-"))


def attentions():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 16)
    yield nn.MultiheadAttention(16, 4, batch_first=True), x, (x, x, x)
    yield nn.MultiheadAttention(16, 2), x, (x, x, x)
    yield nn.MultiheadAttention(16, 2, add_bias_kv=True, add_zero_attn=True, batch_first=True), x, (x, x, x)
    wide = (x, torch.randn(2, 7, 6), torch.randn(2, 7, 3))
    yield nn.MultiheadAttention(16, 4, bias=False, kdim=6, vdim=3, batch_first=True), wide, wide
    yield nn.MultiheadAttention(16, 4, batch_first=True), x[0], (x[0],) * 3


@pytest.mark.parametrize("case", range(5))
def test_a_multihead_attention_is_shown_with_the_weights_it_returns(page, case):
    module, x, inputs = list(attentions())[case]
    widget = AttentionMaps(module, x)
    assert widget.kind == "qkv" and module.training
    with torch.no_grad():
        expected = module.eval()(*inputs, need_weights=True, average_attn_weights=False)[1]
    expected = expected if expected.ndim == 3 else expected[0]
    assert_close(widget.maps()[0], expected, atol=1e-6, rtol=1e-5)
    if case in (2, 3):
        mount(page, widget)
        put(page, head=1)
        assert_close(first_map(page), expected[1], atol=6e-4, rtol=1e-2)
        assert "q · k =" in card(page)


def test_a_whole_encoder_is_shown_layer_by_layer_with_its_own_mask(page):
    class Causal(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)

        def forward(self, x):
            mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
            return self.encoder(x, mask=mask)

    torch.manual_seed(0)
    widget = AttentionMaps(Causal(), torch.randn(1, 6, 16), tokens="a b c d e f")
    maps = widget.maps()
    assert maps.shape == (3, 2, 6, 6) and widget.spec["bias"]
    assert torch.equal(maps, maps.tril())
    mount(page, widget)
    put(page, layer=2, head=1)
    assert_close(first_map(page), maps[2, 1], atol=6e-4, rtol=1e-2)
    put(page, row=1, col=4)
    assert "−∞" in card(page)


class ReturnsWeights(nn.Module):
    def __init__(self, pair=True):
        super().__init__()
        self.pair, self.lift = pair, nn.Linear(4, 4)

    def forward(self, x, need_weights=False):
        weights = (self.lift(x) @ x.transpose(-2, -1)).softmax(dim=-1)[:, None]
        return (weights[:, 0] @ x, weights) if self.pair and need_weights else weights[:, 0] @ x


def test_a_module_that_returns_its_weights_is_shown_and_the_card_says_what_is_unknown(page):
    torch.manual_seed(0)
    module, x = ReturnsWeights(), torch.randn(2, 5, 4)
    widget = AttentionMaps(module, x, tokens="hello")
    assert_close(widget.maps()[0, 0], module(x, need_weights=True)[1][0, 0])
    mount(page, widget)
    assert "q and k are not known" in card(page) and "holds no values" in card(page)
    put(page, mask="causal", temperature=0.5)
    widget.mask, widget.temperature = "causal", 0.5
    assert_close(first_map(page), widget.maps()[0, 0], atol=6e-4, rtol=1e-2)


def test_weights_of_every_shape_are_taken():
    weights = torch.rand(3, 2, 4, 5).softmax(dim=-1)
    for given, shape in [(weights, (3, 2, 4, 5)), (weights[0], (1, 2, 4, 5)), (weights[0, 0], (1, 1, 4, 5))]:
        assert AttentionMaps(given).maps().shape == shape
    assert AttentionMaps(list(weights)).maps().shape == (3, 2, 4, 5)
    assert AttentionMaps(weights.numpy()).spec["queries"] == ["1", "2", "3", "4"]
    assert AttentionMaps(weights, tokens=(list("abcd"), list("vwxyz"))).spec["keys"] == list("vwxyz")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((nn.Linear(4, 4), torch.zeros(2, 4)), TypeError, "without attention weights.*Let its forward return"),
        ((ReturnsWeights(pair=False), torch.zeros(1, 3, 4)), TypeError, "Let its forward return"),
        ((nn.MultiheadAttention(8, 2),), TypeError, "without an input"),
        ((nn.MultiheadAttention(8, 2), torch.zeros(3, 7)), TypeError, "did not run on inputs of shape"),
        (
            (nn.TransformerDecoderLayer(8, 2), (torch.zeros(3, 8), torch.zeros(4, 8))),
            ValueError,
            "Show one of its parts",
        ),
        (("attention",), TypeError, "it was given str"),
        ((None, torch.zeros(2)), TypeError, "none was given"),
        ((torch.rand(2, 3), torch.zeros(2)), TypeError, "leave x out"),
        ((torch.randn(4, 4),), ValueError, "softmax"),
        ((torch.full((2, 3, 4, 5, 6), 1 / 6),), ValueError, "Select one example"),
        (([torch.eye(3), torch.eye(4)],), ValueError, "one tensor a layer"),
        ((torch.full((12, 12, 40, 40), 1 / 40),), ValueError, "a page takes 170 kB"),
        ((torch.eye(3), None, ["a", "b"]), ValueError, "names 2 queries.*have 3"),
        ((None, None, "x" * 49), ValueError, "reads 2 to 48"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_a_reason(arguments, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        AttentionMaps(*arguments)


def test_numbers_that_make_no_grid_are_refused():
    with pytest.raises(ValueError, match="rows of equal length"):
        AttentionMaps().q = [[1, 2], [3]]


# ---- the figure in a browser


def test_play_goes_row_by_row_and_stops_at_the_end(page):
    widget = AttentionMaps(tokens="banana")
    widget.row = 3
    mount(page, widget)
    page.click("button[aria-label='Play']")
    page.wait_for_function(
        f"{MODEL}.get('row') === 5 && document.querySelector('button[aria-label=Play]')", timeout=6000
    )
    page.keyboard.press(",")
    assert get(page, "row") == 4
    page.keyboard.press(".")
    assert get(page, "row") == 5
    page.focus("input[aria-label='Go to query row']")
    page.keyboard.press("Home")
    settle(page)
    assert get(page, "row", "col") == [0, 0]
    assert page.inner_text(".am-title").endswith("looks at “b” (column 1)")


def test_cells_are_reached_by_keyboard_and_announced(page):
    mount(page, AttentionMaps(tokens="the cat the cat"))
    assert page.locator("[role=gridcell][tabindex='0']").count() == 1
    page.focus("[role=gridcell][tabindex='0']")
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    assert get(page, "row", "col") == [12, 2]
    settle(page)
    assert page.evaluate("document.activeElement.getAttribute('aria-colindex')") == "3"
    said = page.inner_text(".nnv-sr[aria-live]")
    assert said.startswith("Row c, column e: weight 0.") or said.startswith("Row c, column e: weight")
    label = page.evaluate("document.activeElement.ariaLabel")
    assert label.split(": ")[1] == said.split("weight ")[1]


def test_pointing_shows_a_cell_and_a_click_keeps_it(page):
    mount(page, AttentionMaps(tokens="the cat the cat"))
    before = get(page, "row", "col")
    box = page.locator(".am-cells canvas").bounding_box()
    wide, high = box["width"] / 15, box["height"] / 15
    page.mouse.move(box["x"] + 2.5 * wide, box["y"] + 9.5 * high)
    settle(page)
    assert "“h” (row 10) looks at “e” (column 3)" in page.inner_text(".am-title")
    page.mouse.move(2, 2)
    settle(page)
    assert get(page, "row", "col") == before and "(row 15)" in page.inner_text(".am-title")
    page.mouse.click(box["x"] + 2.5 * wide, box["y"] + 9.5 * high)
    page.mouse.move(2, 2)
    settle(page)
    assert get(page, "row", "col") == [9, 2] and "(row 10)" in page.inner_text(".am-title")


def test_typing_another_text_changes_the_maps_and_the_next_letter(page):
    mount(page, AttentionMaps())
    first = page.evaluate("document.querySelector('.am-cells canvas').toDataURL()")
    page.fill("input[aria-label='Text for the transformer']", "qzxqzx!qzxqz")
    settle(page)
    assert get(page, "text", "row") == ["qzxqzx!qzxqz", 11]
    assert page.evaluate("document.querySelector('.am-cells canvas').toDataURL()") != first
    assert page.locator(".am-keys button").all_inner_texts() == list("qzxqzx!qzxqz")
    assert page.locator(".am-next b").first.inner_text() == "x"  # copied from earlier
    page.click("text=Write the likeliest letter")
    settle(page)
    assert get(page, "text") == "qzxqzx!qzxqzx"
    with torch.no_grad():
        logits = tiny.tiny_transformer()(torch.tensor([tiny.encode("qzxqzx!qzxqzx")]))[0][0, -1]
    shown = page.eval_on_selector_all(".am-next .c-output", "x => x.map(c => +c.textContent)")
    assert_close(torch.tensor(shown), logits.softmax(dim=-1).topk(6)[0], atol=6e-4, rtol=0.1)
    page.fill("input[aria-label='Text for the transformer']", "")
    settle(page)
    assert page.locator(".am-keys button").count() == 1


def test_a_head_is_chosen_and_switched_off(page):
    mount(page, AttentionMaps(tokens="xq7kz mop xq7kz mo"))
    head = page.locator(".am-heads button").nth(5)
    head.click()
    settle(page)
    assert get(page, "layer", "head") == [1, 1] and head.get_attribute("aria-pressed") == "true"
    before = page.locator(".am-next .c-output").all_inner_texts()
    page.check("text=Switch this head off")
    settle(page)
    assert get(page, "off") == [[1, 1]] and "off" in head.inner_text()
    assert page.locator(".am-next .c-output").all_inner_texts() != before


def test_mask_temperature_and_hidden_keys_change_the_map_live(page):
    mount(page, AttentionMaps(tokens="abcabcab"))
    put(page, row=2, col=6)
    assert "−∞" in card(page)
    page.select_option("select[aria-label=Mask]", label="full: all positions")
    settle(page)
    assert get(page, "mask") == "full" and "−∞" not in card(page)
    page.select_option("select[aria-label=Mask]", label="sliding window: the last few")
    settle(page)
    assert page.locator("input[aria-label=Window]").is_visible()
    assert "sees columns 1 to 3" in card(page)
    page.select_option("select[aria-label=Mask]", label="causal: none that comes later")
    page.focus("input[aria-label='Temperature τ']")
    page.keyboard.press("Home")
    settle(page)
    assert get(page, "temperature") == 0.01 and "temperature τ = 0.01" in card(page)
    put(page, row=0, col=0, temperature=1.0)
    page.locator(".am-keys button").first.click()
    settle(page)
    assert get(page, "hidden") == [0]
    assert "This row may look nowhere" in card(page) and "weight α = 0" in card(page)
    assert page.locator("[role=gridcell]").first.get_attribute("aria-label").endswith("hidden")


def test_the_reader_makes_it_attend_to_the_cat(page):
    mount(page, AttentionMaps())
    page.click("text=Your own Q, K, V")
    settle(page)
    assert get(page, "tab", "row", "col", "mask") == ["own", 7, 1, "causal"]
    assert "Now: 0.33" in page.inner_text(".am-goal") and "Done" not in page.inner_text(".am-goal")
    page.fill(".am-card input[aria-label='Query of it, alive']", "4")
    settle(page)
    assert get(page, "q")[7] == [2, 4, 0, 0]
    assert "Done" in page.inner_text(".am-goal")
    assert page.input_value(".am-grid input[aria-label='Query of it, alive']") == "4"
    page.fill(".am-grid input[aria-label='Key of mat, alive']", "2")
    settle(page)
    assert "Done" not in page.inner_text(".am-goal")
    page.fill(".am-grid input[aria-label='Value of cat, place']", "-3")
    settle(page)
    q, k, v = (torch.tensor(x, dtype=torch.float) for x in get(page, "q", "k", "v"))
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)[7]
    assert "(" + ", ".join(f"{x:.2f}".replace("-", "−") for x in out.tolist()) + ")" in card(page)
    page.click("text=A trained transformer")
    settle(page)
    assert get(page, "row", "mask") == [24, "causal"] and page.locator(".am-next").is_visible()


def test_every_preset_s_goal_is_open_at_first_and_can_be_reached(page):
    answers = [{"q": (7, [2, 4, 0, 0])}, {"q": (3, [3, 3, 0])}, {"q": (4, [3.54, 3.54])}]
    widget = AttentionMaps()
    widget.tab = "own"
    mount(page, widget)
    for p, answer in zip(PRESETS, answers, strict=True):
        page.select_option("select[aria-label='Start from']", label=p["name"])
        settle(page)
        assert page.inner_text(".am-goal").startswith("Try it.")
        rows = get(page, "q")
        i, new = answer["q"]
        rows[i] = new
        put(page, q=rows)
        assert page.inner_text(".am-goal").startswith("✓ Done."), p["name"]


def test_the_reader_s_own_words_keep_their_rows(page):
    widget = AttentionMaps()
    widget.tab = "own"
    mount(page, widget)
    page.fill("input[aria-label^='Your own words']", "a dog barks")
    page.keyboard.press("Enter")
    settle(page)
    assert get(page, "words") == ["a", "dog", "barks"]
    assert [len(get(page, n)) for n in "qkv"] == [3, 3, 3]
    assert page.locator(".am-grid").count() == 3 and page.locator("[role=gridcell]").count() == 3


def test_a_guess_is_judged_before_the_row_is_shown(page):
    mount(page, AttentionMaps(tokens="the cat the ca"))
    best = get(page, "col")
    page.check("text=Guess first")
    settle(page)
    assert not page.locator(".am-card").is_visible()
    assert page.locator("[role=gridcell]").nth(3).get_attribute("aria-label").endswith("covered")
    box = page.locator(".am-cells canvas").bounding_box()
    page.mouse.click(box["x"] + (best + 0.5) * box["width"] / 14, box["y"] + 13.5 * box["height"] / 14)
    settle(page)
    assert page.inner_text(".nnv-note[aria-live]").startswith("Right:") and page.locator(".am-card").is_visible()


def test_the_address_sets_the_state(page, tmp_path):
    query = "#AttentionMaps?text=abcabc&layer=0&head=2&row=4&col=1&mask=prefix&prefix=2&temperature=0.5&hidden=[0]"
    mount(page, AttentionMaps(), path=tmp_path / "w.html", query=query)
    assert get(page, "text", "layer", "head", "row", "col", "mask", "prefix") == ["abcabc", 0, 2, 4, 1, "prefix", 2]
    assert "Layer 1, head 3" in page.inner_text(".am-title")
    page.evaluate("location.hash = '#AttentionMaps?tab=own&mask=full&row=7&col=5'")
    page.wait_for_function(f"{MODEL}.get('tab') === 'own'")
    settle(page)
    assert "“it” (row 8) looks at “mat”" in page.inner_text(".am-title")


def test_values_out_of_range_are_held_inside(page):
    mount(page, AttentionMaps(tokens="abc"))
    put(page, row=99, col=99, layer=9, head=9, dim=99, hidden=[50])
    assert "Layer 2, head 4" in page.inner_text(".am-title") and "(row 3)" in page.inner_text(".am-title")


def test_more_heads_than_fit_are_shown_layer_by_layer(page):
    generator = torch.Generator().manual_seed(0)
    mount(page, AttentionMaps(torch.rand(6, 8, 5, 5, generator=generator).softmax(dim=-1)))
    assert page.locator(".am-heads button").count() == 8
    page.select_option("select[aria-label=Layer]", label="4")
    settle(page)
    assert get(page, "layer") == 3 and page.locator(".am-heads b").first.inner_text() == "4·1"


def test_two_on_a_page_keep_to_themselves(page):
    mount(page, AttentionMaps(tokens="abc"))
    other = beside(page, AttentionMaps(torch.eye(3)))
    other.locator(".am-keys button").nth(1).click()
    settle(page)
    assert get(page, "hidden") == []
    close_beside(page)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("tab", ["given", "own"])
def test_nothing_serious_for_axe_and_it_fits_a_phone(phone, dark, tab):
    widget = AttentionMaps()
    widget.tab = tab
    mount(phone, widget, dark=dark)
    check_legible(phone)
    if tab == "given":  # the map scrolls in its own frame, and keeps the chosen column in view
        put(phone, row=20, col=20)
        cell, frame = (phone.locator(x).bounding_box() for x in ("[role=gridcell].am-on", ".nnv-fig .nnv-fig"))
        assert frame["x"] <= cell["x"] and cell["x"] + cell["width"] <= frame["x"] + frame["width"] + 1


def test_a_reader_s_python_drives_the_figure_too(page):
    mount(page, AttentionMaps())
    put(page, text="hello hello", row=7)
    assert page.input_value("input[aria-label='Text for the transformer']") == "hello hello"
    assert page.locator("[role=gridcell]").count() == 11


def test_the_state_is_small_and_its_picture_and_text_stand_still():
    from matplotlib import pyplot as plt

    widgets = [
        AttentionMaps(),
        AttentionMaps(nn.MultiheadAttention(16, 4), torch.randn(5, 16)),
        AttentionMaps(torch.eye(3)),
    ]
    own = AttentionMaps()
    own.tab = "own"
    for widget in [*widgets, own]:
        state = {k: v for k, v in widget.get_state().items() if k not in {"_esm", "layout", "tabbable", "tooltip"}}
        assert len(json.dumps(state)) < 200_000
        figure = widget.still()
        assert figure.get_size_inches()[0] <= 7.2
        plt.close(figure)
        assert repr(widget) == repr(widget) and "0x" not in repr(widget)
    assert sum(len(p) for p in (TEXT,)) < 120_000
