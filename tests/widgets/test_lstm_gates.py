"""The LSTM widget: its arithmetic held to torch's, its controls driven in a browser, its accessibility."""

# ruff: noqa: E501  (JavaScript that runs in the page stands in whole lines)
from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import nn

from nnvocab.widgets import LSTMGates
from nnvocab.widgets.base import module_text
from nnvocab.widgets.lstm_gates import char_models, pack_cell
from tests.browser import MODEL, beside, check_legible, close_beside, exports, get, mount, plain, serious, settle

pytestmark = pytest.mark.browser
MODULE = module_text("lstm_gates")


def close(found, wanted, tolerance=1e-5):
    np.testing.assert_allclose(
        torch.as_tensor(found).detach().numpy(), wanted.detach().numpy(), rtol=tolerance, atol=tolerance
    )


def random_cells():
    """Sixteen cells of every kind and size, with their inputs."""
    for seed in range(16):
        torch.manual_seed(seed)
        T, I, H = (int(torch.randint(1, n, ())) for n in (12, 9, 13))
        options = {"bias": seed % 3 != 0, "batch_first": seed % 2 == 0}
        family = (nn.LSTM, nn.GRU, nn.RNN, nn.RNN)[seed % 4]
        cell = family(I, H, **options, **({"nonlinearity": "relu"} if seed % 4 == 3 else {}))
        for p in cell.parameters():
            p.data.mul_(2.0)
        head = nn.Linear(H, int(torch.randint(2, 8, ())), bias=seed % 5 != 0)
        yield cell, head, torch.randn(T, I)


def sequence(cell, x):
    """The cell over one sequence: h at every step, and the last state."""
    h, last = cell(x.unsqueeze(0 if cell.batch_first else 1))
    return h.squeeze(0 if cell.batch_first else 1), last


class TestArithmetic:
    def test_every_step_of_lstm_gru_and_rnn_agrees_with_torch(self, page):
        cases = list(random_cells())
        found = exports(
            page,
            MODULE,
            "(m, cases) => cases.map(([spec, x]) => { const c = m.unpack(spec), r = m.run(c, x), n = x.length - 1;"
            " return {h: [...r.h], c: [...r.c], p: [...m.guess(c, r, n)]}; })",
            [[pack_cell(cell, head=head), x] for cell, head, x in cases],
        )
        for (cell, head, x), got in zip(cases, found, strict=True):
            h, last = sequence(cell, x)
            close(got["h"], h.flatten())
            close(got["p"], head(h[-1]).softmax(-1))
            if isinstance(cell, nn.LSTM):
                close(got["c"][-cell.hidden_size :], last[1].flatten())

    def test_every_gate_agrees_with_the_widgets_own_trace(self, page):
        torch.manual_seed(0)
        widget = LSTMGates(nn.LSTM(4, 5), torch.randn(6, 4))
        gates, c = exports(
            page,
            MODULE,
            "(m, s, x) => { const r = m.run(m.unpack(s), x); return [[...r.gates], [...r.c]]; }",
            widget.models[0],
            widget.x,
        )
        trace = widget.trace()
        close(gates, torch.stack([trace[g] for g in "ifgo"], 1).flatten())
        close(c, trace["c"].flatten())

    def test_backpropagation_through_time_agrees_with_autograd(self, page):
        cases = []
        for cell, head, x in random_cells():
            cases.append((cell, head, x, int(torch.randint(len(x), ())), torch.randn(cell.hidden_size)))
        found = exports(
            page,
            MODULE,
            "(m, cases) => cases.map(([spec, x, step, dh]) => { const c = m.unpack(spec), r = m.run(c, x), it = m.jacobianNorms(c, r, step);"
            " let last; do last = it.next(); while (!last.done); return {dx: [...m.backward(c, r, step, dh)], all: [...last.value],"
            " guess: [...m.reach(c, r, step, 'guess', 0)], cell: [...m.reach(c, r, step, 'cell', 0)]}; })",
            [[pack_cell(cell, head=head), x, step, dh] for cell, head, x, step, dh in cases],
        )
        for (cell, head, x, step, dh), got in zip(cases, found, strict=True):
            seen = x[: step + 1].clone().requires_grad_()
            h, last = sequence(cell, seen)
            gradient = lambda y: torch.autograd.grad(y, seen, retain_graph=True)[0]  # noqa: B023, E731
            close(got["dx"], gradient(h[-1] @ dh).flatten())
            close(got["guess"], gradient(head(h[-1]).log_softmax(-1).max()).norm(dim=1))
            close(got["all"], torch.stack([gradient(v) for v in h[-1]]).norm(dim=(0, 2)))
            if isinstance(cell, nn.LSTM):
                close(got["cell"], gradient(last[1].flatten()[0]).norm(dim=1))

    def test_a_whole_number_stands_for_a_one_hot_row(self, page):
        torch.manual_seed(1)
        cell, codes = nn.LSTM(5, 4), [0, 3, 3, 1]
        one, rows = exports(
            page,
            MODULE,
            "(m, s, a, b) => [a, b].map(x => [...m.run(m.unpack(s), x).h])",
            pack_cell(cell),
            codes,
            torch.eye(5)[codes],
        )
        np.testing.assert_allclose(one, rows)

    def test_half_precision_is_read_exactly(self, page):
        values = np.array([0, 1, -2.5, 6e-8, -6e-5, 65504, 0.1, -0.333], dtype=np.float16)
        found = exports(page, MODULE, "(m, bits) => bits.map(m.fromHalf)", values.view(np.uint16).tolist())
        assert found == values.astype(float).tolist()

    def test_how_many_last_steps_hold_a_share(self, page):
        assert exports(
            page, MODULE, "(m, a) => [m.within(a, 0.5), m.within(a, 0.9), m.within(a, 1)]", [1, 2, 3, 4]
        ) == [2, 3, 4]

    def test_the_shipped_gradients_agree_with_torch(self, page):
        widget = LSTMGates()
        for target in ("guess", "cell"):
            widget.target = target
            codes = [widget.vocabulary.index(c) for c in widget.text]
            found = exports(
                page,
                MODULE,
                "(m, specs, x, t, target, unit) => specs.map(s => { const c = m.unpack(s); return [...m.reach(c, m.run(c, x), t, target, unit)]; })",
                widget.models if target == "guess" else widget.models[:1],
                codes,
                widget.step,
                target,
                widget.unit,
            )
            for got, wanted in zip(found, widget.gradients().values(), strict=True):
                close(got, wanted)


class TestShippedModels:
    def test_each_model_reads_better_than_counting_pairs(self):
        report = char_models()[1]
        for kind in ("lstm", "gru", "rnn"):
            assert report["bits"][kind] < report["bits"]["bigram counts"]

    def test_the_named_unit_changes_sign_inside_quotes(self):
        widget = LSTMGates()
        widget.text = 'a "name" is bound, but an "unbound_name" raises an error.'
        c, inside = widget.trace()["c"][:, widget.unit], []
        for character in widget.text:
            inside.append((inside[-1] if inside else False) != (character == '"'))
        inside = torch.tensor(inside)
        agreement = ((c > 0) == inside).float().mean().item()
        assert max(agreement, 1 - agreement) > 0.85

    def test_the_weights_are_small(self):
        assert len(json.dumps({k: plain(v) for k, v in LSTMGates().get_state().items() if k != "_esm"})) < 200_000


class TestBrowser:
    def test_play_advances_and_pause_stops(self, page):
        mount(page, LSTMGates())
        before = get(page, "step")
        page.get_by_role("button", name="Play").click()
        page.wait_for_function(f"{MODEL}.get('step') >= {before + 2}")
        page.get_by_role("button", name="Pause").click()
        stopped = get(page, "step")
        page.wait_for_timeout(400)
        assert get(page, "step") == stopped

    def test_step_buttons_the_scrubber_and_keys_move_in_time(self, page):
        mount(page, LSTMGates())
        page.get_by_role("button", name="Forward one character").click()
        assert get(page, "step") == 10
        page.get_by_role("slider", name="Go to character").fill("20")
        assert get(page, "step") == 20
        page.locator(".lg-text .lg-cell").nth(20).focus()
        page.keyboard.press("ArrowLeft")
        assert get(page, "step") == 19
        page.keyboard.press("Home")
        assert get(page, "step") == 0
        settle(page)
        assert page.locator('.lg-text .lg-cell[aria-selected="true"]').count() == 1
        assert "Character 1 is “t”" in page.locator(".lg-note").inner_text()

    def test_a_gate_shows_its_arithmetic_with_torchs_numbers(self, page):
        widget = LSTMGates()
        mount(page, widget)
        trace, unit = widget.trace(), widget.unit
        cell = char_models()[0]["lstm"][0]
        for gate, row in (("f", 1), ("o", 3)):
            page.locator(f'.lg-gate[aria-label^="unit {unit}, {"forget" if gate == "f" else "output"}"]').focus()
            settle(page)
            assert get(page, "gate") == gate
            r, code = row * 32 + unit, widget.vocabulary.index(widget.text[9])
            shown = [
                float(t.replace("−", "-").replace(" ", "").replace("+", ""))
                for t in page.locator(".lg-eq .num").all_inner_texts()[:4]
            ]
            wanted = [
                cell.weight_ih_l0[r, code],
                cell.bias_ih_l0[r],
                cell.weight_hh_l0[r] @ trace["h"][8],
                cell.bias_hh_l0[r],
            ]
            np.testing.assert_allclose(shown, [v.item() for v in wanted], atol=6e-4)
        page.locator("summary").click()
        settle(page)
        assert page.locator(".lg-all li").count() == 32

    def test_typing_runs_all_three_models_on_the_new_text(self, page):
        widget = LSTMGates()
        mount(page, widget)
        page.get_by_role("textbox").fill('An "Int')
        settle(page)
        assert get(page, "text") == 'an "int' and get(page, "step") == 6
        assert page.locator(".lg-text .lg-cell").count() == 7
        models, report = char_models()
        x = torch.eye(len(report["vocabulary"]))[[report["vocabulary"].index(c) for c in 'an "int']]
        for row, kind in enumerate(("lstm", "gru", "rnn")):
            cell, head = models[kind]
            best = report["vocabulary"][int(head(cell(x)[0][-1]).argmax())]
            assert page.locator(".lg-guess .chip b").nth(5 * row).inner_text() == (best if best != " " else "␣")
        page.get_by_role("button", name="Add the LSTM’s guess to the text").click()
        settle(page)
        assert len(get(page, "text")) == 8
        page.get_by_role("textbox").fill("naïve")
        settle(page)
        assert get(page, "text") == "nave" and "ï" in page.locator(".lg-note").inner_text()

    def test_three_rows_are_lit_with_numbers_up_to_the_chosen_step(self, page):
        widget = LSTMGates()
        mount(page, widget)
        wanted = widget.gradients()
        for row, kind in enumerate(("lstm", "gru", "rnn")):
            numbers = [int(t) for t in page.locator(".lg-grad").nth(row).locator("span").all_inner_texts() if t]
            share = 100 * wanted[kind] / wanted[kind].max()
            np.testing.assert_allclose(numbers, share.numpy(), atol=0.51)
        page.get_by_role("combobox", name="Gradient of").select_option("1")
        settle(page)
        assert get(page, "target") == "cell" and page.locator(".lg-grad:visible").count() == 1

    def test_choosing_a_lane_enlarges_its_unit(self, page):
        mount(page, LSTMGates())
        page.locator(".lg-lane").nth(2).locator(".lg-cell").nth(4).click()
        settle(page)
        assert get(page, "unit") % 8 == 2 and get(page, "step") == 4
        assert "on" in page.locator(".lg-lane").nth(2).get_attribute("class")
        page.keyboard.press("ArrowDown")
        settle(page)
        assert get(page, "unit") % 8 == 3

    def test_predicting_asks_before_it_reveals(self, page):
        widget = LSTMGates()
        mount(page, widget)
        page.get_by_role("checkbox", name="Ask me first").check()
        settle(page)
        at = {g: widget.trace()[g][10, widget.unit].item() for g in "fio"}
        lowest = min(at, key=at.get)
        page.get_by_role("button", name=f"The {({'f': 'forget', 'i': 'input', 'o': 'output'})[lowest]} gate").click()
        settle(page)
        assert get(page, "step") == 10
        assert page.get_by_role("group", name="Predict").get_by_role("status").inner_text().startswith("Right")

    def test_the_address_sets_the_state_on_load_and_when_followed(self, page, tmp_path):
        mount(
            page,
            LSTMGates(),
            path=tmp_path / "w.html",
            query="#LSTMGates?text=a%20%22name%22%20is&step=5&unit=3&gate=o",
        )
        assert [get(page, k) for k in ("text", "step", "unit", "gate")] == ['a "name" is', 5, 3, "o"]
        page.evaluate("location.hash = '#LSTMGates?step=2&unit=99&target=cell'")
        page.wait_for_function(f"{MODEL}.get('step') === 2")
        settle(page)
        assert page.locator(".lg-lane.on").count() == 1  # a unit that does not exist shows the last one

    def test_a_students_own_lstm_with_rnn_and_gru_runs(self, page):
        torch.manual_seed(0)
        widget = LSTMGates(
            nn.LSTM(3, 6, batch_first=True), torch.randn(9, 3), list("abcdefghi"), gru=nn.GRU(3, 6), rnn=nn.RNN(3, 4)
        )
        widget.step = 8
        mount(page, widget)
        page.wait_for_function(
            "document.querySelectorAll('.lg-grad .lg-cell span').length === 27 && ![...document.querySelectorAll('.lg-grad span')].some(s => s.textContent === '…')"
        )
        for row, values in enumerate(widget.gradients().values()):
            numbers = [int(t) for t in page.locator(".lg-grad").nth(row).locator("span").all_inner_texts()]
            np.testing.assert_allclose(numbers, (100 * values / values.max()).numpy(), atol=0.51)

    def test_two_on_a_page_keep_to_themselves(self, page):
        mount(page, LSTMGates())
        other = beside(page, LSTMGates())
        other.get_by_role("button", name="Forward one character").click()
        assert other.evaluate("e => e.model.get('step')") == 10
        assert get(page, "step") == 9
        close_beside(page)

    @pytest.mark.parametrize("dark", [False, True])
    def test_axe_finds_nothing_serious(self, page, dark):
        widget = LSTMGates()
        widget.ask = True
        mount(page, widget, dark=dark)
        page.locator("summary").click()
        settle(page)
        assert serious(page) == []

    @pytest.mark.parametrize("own", [False, True])
    def test_nothing_serious_for_axe_and_it_fits_a_phone(self, phone, own):
        widget = LSTMGates(nn.LSTM(3, 20), torch.randn(30, 3)) if own else LSTMGates()
        widget.ask = True
        mount(phone, widget, dark=own)
        settle(phone)
        check_legible(phone)

    def test_nothing_moves_by_itself_and_a_step_is_cheap(self, page):
        mount(page, LSTMGates())
        before = get(page, "step")
        page.wait_for_timeout(300)
        assert get(page, "step") == before
        nodes = page.evaluate(
            f"async () => {{ let added = 0; const o = new MutationObserver(l => l.forEach(m => m.addedNodes.forEach(n => added += n.nodeType === 1)));"
            f" o.observe(document.querySelector('.nnv'), {{childList: true, subtree: true}});"
            f" for (const t of [11, 12, 13]) {{ {MODEL}.set('step', t); await new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f))); }} return added; }}"
        )
        assert nodes == 0  # a step changes texts and styles, and builds no element


class TestPython:
    @pytest.mark.parametrize(
        "build, error, words",
        [
            (lambda: LSTMGates(nn.GRU(3, 4), torch.zeros(5, 3)), TypeError, "nn.LSTM"),
            (lambda: LSTMGates(nn.LSTM(3, 4, bidirectional=True), torch.zeros(5, 3)), ValueError, "one direction"),
            (lambda: LSTMGates(nn.LSTM(3, 4, proj_size=2), torch.zeros(5, 3)), ValueError, "proj_size=0"),
            (lambda: LSTMGates(nn.LSTM(3, 4)), ValueError, "without x"),
            (lambda: LSTMGates(nn.LSTM(3, 4), [[1, 2, 3]]), TypeError, "torch tensor"),
            (lambda: LSTMGates(nn.LSTM(3, 4), torch.zeros(2, 5, 3)), ValueError, "x\\[0\\]"),
            (lambda: LSTMGates(nn.LSTM(3, 4), torch.zeros(5, 2)), ValueError, "\\(T, 3\\)"),
            (lambda: LSTMGates(nn.LSTM(3, 4), torch.zeros(500, 3)), ValueError, "at most 200"),
            (lambda: LSTMGates(nn.LSTM(3, 4), torch.full((5, 3), torch.nan)), ValueError, "not finite"),
            (lambda: LSTMGates(nn.LSTM(3, 4), torch.zeros(5, 3), ["a"]), ValueError, "one label a step"),
            (lambda: LSTMGates(nn.LSTM(3, 4), torch.zeros(5, 3), layer=1), ValueError, "layers 0 to 0"),
            (lambda: LSTMGates(nn.LSTM(3, 4), torch.zeros(5, 3), rnn=nn.RNN(2, 4)), ValueError, "the same x"),
            (lambda: LSTMGates(nn.LSTM(3, 4), torch.zeros(5, 3), gru=nn.RNN(3, 4)), TypeError, "nn.GRU"),
            (lambda: LSTMGates(nn.LSTM(3, 300), torch.zeros(5, 3)), ValueError, "smaller module"),
            (lambda: LSTMGates(x=torch.zeros(5, 3)), ValueError, "without lstm"),
        ],
    )
    def test_bad_input_is_told_how_to_mend_it(self, build, error, words):
        with pytest.raises(error, match=words):
            build()

    @pytest.mark.parametrize("layer", [0, 1, 2])
    def test_a_chosen_layer_is_the_one_that_torch_runs(self, layer):
        torch.manual_seed(0)
        lstm, x = nn.LSTM(3, 5, num_layers=3, dropout=0.5, batch_first=True), torch.randn(7, 3)
        widget = LSTMGates(lstm, x, layer=layer)
        lstm.eval()
        h, (last, c) = lstm(x[None])
        close(widget.trace()["h"][-1], last[layer, 0])
        close(widget.trace()["c"][-1], c[layer, 0])
        if layer == 2:
            close(widget.trace()["h"], h[0])

    @pytest.mark.parametrize("target", ["guess", "cell", "hidden"])
    def test_the_still_is_a_figure(self, target):
        for widget in (LSTMGates(), LSTMGates(nn.LSTM(3, 4), torch.randn(5, 3))):
            widget.target = target
            figure = widget.still()
            assert isinstance(figure, Figure) and figure.get_size_inches()[0] <= 7.2
            plt.close(figure)

    def test_its_text_is_the_same_at_every_run(self):
        assert repr(LSTMGates()) == repr(LSTMGates()) and repr(LSTMGates()).startswith("LSTMGates")
