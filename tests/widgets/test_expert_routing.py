"""What the expert routing must hold: its arithmetic against torch, and what a reader does in a real browser."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.widgets import ExpertRouting
from nnvocab.widgets.base import module_text
from nnvocab.widgets.expert_routing import gaussian
from tests.browser import MODEL, beside, check_legible, close_beside, exports, get, mount, put, settle

TEXT = module_text("expert_routing")
TRAITS = "bias mode top_k renormalize limit capacity_factor noise seed".split()


def text(page):
    return page.inner_text(".nnv")


def settings(count=40):
    """Widgets over random logits with settings drawn at random."""
    generator = np.random.default_rng(0)
    for i in range(count):
        N, E = int(generator.integers(2, 20)), int(generator.integers(2, 8))
        widget = ExpertRouting(torch.from_numpy(generator.normal(size=(N, E)) * 2))
        widget.mode = ("token", "expert")[i % 2]
        widget.top_k = int(generator.integers(1, E + 1))
        widget.renormalize, widget.limit = (bool(generator.integers(2)) for _ in range(2))
        widget.capacity_factor = float(generator.choice([0.3, 0.75, 1.0, 1.25, 2.0]))
        widget.bias = generator.normal(size=E).tolist() if i % 3 else [0.0] * E
        widget.noise, widget.seed = float(i % 4) / 2, int(generator.integers(100))
        yield widget


def oracle(widget):
    """The routing in plain torch: topk, cumulative counts, gathers."""
    noise = torch.tensor(gaussian(len(widget.logits) * len(widget.bias), widget.seed), dtype=torch.float64)
    z = torch.tensor(widget.logits, dtype=torch.float64) + torch.tensor(widget.bias, dtype=torch.float64)
    z = z + widget.noise * noise.view_as(z)
    N, E = z.shape
    p = z.softmax(dim=1)
    if widget.mode == "token":
        k = widget.top_k
        experts = z.topk(k, dim=1).indices
        hot = nn.functional.one_hot(experts, E)  # (N, k, E)
        queue = hot.transpose(0, 1).reshape(k * N, E)  # first choices of all tokens, then second ones
        place = (queue.cumsum(dim=0) * queue).sum(dim=1) - 1
        capacity = math.ceil(widget.capacity_factor * k * N / E) if widget.limit else N
        seated = (place < capacity).view(k, N).T
        weights = z.gather(1, experts).softmax(dim=1) if widget.renormalize else p.gather(1, experts)
        kept = torch.zeros(N, E, dtype=torch.bool).scatter(1, experts, seated)
        weight = torch.zeros(N, E, dtype=torch.float64).scatter(1, experts, weights * seated)
        f = hot.double().sum(dim=(0, 1)) / (N * k)
    else:
        capacity = min(N, math.ceil(widget.capacity_factor * N / E))
        gates, taken = p.T.sort(dim=1, descending=True, stable=True)  # of equal tokens the earlier one first
        gates, taken = gates[:, :capacity], taken[:, :capacity]
        kept = torch.zeros(E, N, dtype=torch.bool).scatter(1, taken, True).T
        weight = torch.zeros(E, N, dtype=torch.float64).scatter(1, taken, gates).T
        f = torch.full((E,), 1 / E, dtype=torch.float64)
    balance = E * (f * p.mean(dim=0)).sum()
    return {"p": p, "kept": kept, "weight": weight, "balance": balance, "z": z.logsumexp(dim=1).square().mean()}


# ---- the arithmetic, held to torch


def test_the_routing_is_torch_s_under_every_setting(blank):
    for widget in settings():
        options = {name: getattr(widget, name) for name in TRAITS}
        found = exports(blank, TEXT, "(m, z, o) => m.route(z, o)", widget.logits, options)
        expected = oracle(widget)
        assert torch.equal(torch.tensor(found["kept"]), expected["kept"])
        for name, key in (("p", "p"), ("weight", "weight"), ("balance", "balance"), ("zLoss", "z")):
            value = torch.tensor(found[name], dtype=torch.float64)
            assert_close(value, expected[key], atol=1e-9, rtol=1e-9)
        mine = widget.route()
        assert torch.equal(mine["kept"], expected["kept"])
        for name in ("p", "weight"):
            assert_close(mine[name], expected[name])
        assert mine["balance"] == pytest.approx(expected["balance"].item())
        assert mine["z"] == pytest.approx(expected["z"].item())
        choices = [(m["n"], m["e"]) for m in found["moves"]]
        assert len(choices) == len(set(choices))
        assert sum(m["kept"] for m in found["moves"]) == int(expected["kept"].sum())


def test_capacity_and_losses_are_those_of_the_package_s_own_layers(blank):
    layers = pytest.importorskip("nnvocab.layers", reason="the layers chapter is not there")
    if not hasattr(layers, "MixtureOfExperts"):
        pytest.skip("the layers chapter has no mixture of experts")
    torch.manual_seed(0)
    x = torch.randn(1, 13, 8)
    module = layers.MixtureOfExperts(8, num_experts=4, top_k=2, hidden_dim=6, capacity_factor=0.75)
    widget = ExpertRouting(module, x)
    assert (widget.top_k, widget.capacity_factor, widget.limit, widget.renormalize) == (2, 0.75, True, True)
    _, routing = module(x, need_routing=True)
    found = exports(blank, TEXT, "(m, z, o) => m.route(z, o)", widget.logits, {n: getattr(widget, n) for n in TRAITS})
    assert found["load"] == routing.tokens_per_expert.tolist() and found["capacity"] == module.capacity(13)
    assert found["balance"] == pytest.approx(module.aux_loss.item(), abs=1e-5)
    assert found["zLoss"] == pytest.approx(module.z_loss.item(), abs=1e-4)
    module = layers.ExpertChoice(8, num_experts=4, capacity_factor=1.5, hidden_dim=6)
    widget = ExpertRouting(module, x)
    assert widget.mode == "expert"
    found = exports(blank, TEXT, "(m, z, o) => m.route(z, o)", widget.logits, {n: getattr(widget, n) for n in TRAITS})
    _, choices = module(x, need_routing=True)
    assert [sum(row) for row in found["kept"]] == choices.experts_per_token[0].tolist()


def test_balanced_logits_cost_exactly_one_and_a_collapse_nearly_the_number_of_experts(blank):
    even = (8 * torch.eye(4)).repeat(3, 1)
    found = exports(blank, TEXT, "(m, z) => m.route(z, {})", even)
    assert found["balance"] == pytest.approx(1.0) and found["load"] == [3, 3, 3, 3]
    found = exports(blank, TEXT, "(m, z) => m.route(z, {bias: [40, 0, 0, 0]})", even)
    assert found["balance"] == pytest.approx(4.0) and found["load"] == [4, 0, 0, 0]


def test_noise_is_the_same_in_the_page_and_looks_normal(blank):
    found = exports(blank, TEXT, "(m) => [0, 7, 123].map(s => m.gaussian(40, s))")
    assert_close(torch.tensor(found), torch.tensor([gaussian(40, s) for s in (0, 7, 123)]), atol=1e-6, rtol=1e-6)
    many = torch.tensor(gaussian(20_000, 3))
    assert abs(many.mean()) < 0.03 and abs(many.std() - 1) < 0.03


def test_the_softmax_row_is_torch_s(blank):
    for seed in range(10):
        z = torch.randn(5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 30
        found = exports(blank, TEXT, "(m, z) => m.softmaxRow(z)", z)
        assert_close(torch.tensor(found["p"], dtype=torch.float64), z.softmax(dim=0))
        assert found["lse"] == pytest.approx(z.logsumexp(dim=0).item())


# ---- a reader's own routers


def test_a_router_a_module_and_logits_are_taken():
    torch.manual_seed(0)
    x, router = torch.randn(1, 6, 4), nn.Linear(4, 3)
    assert_close(torch.tensor(ExpertRouting(router, x).logits), router(x[0]).detach(), atol=1e-4, rtol=1e-4)

    class Switch(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.top_k, self.capacity_factor = router, 2, None

    widget = ExpertRouting(Switch(), x[0], tokens="a b c d e f")
    assert (widget.top_k, widget.limit, widget.tokens) == (2, False, list("abcdef"))
    assert ExpertRouting(torch.zeros(2, 8)).logits == [[0.0] * 8] * 2
    assert ExpertRouting(tokens="go go stop").logits[0] == ExpertRouting(tokens="go go stop").logits[1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("router",), TypeError, "it was given str"),
        ((None, torch.zeros(2, 3)), TypeError, "x was given without a router"),
        ((torch.zeros(4, 4), torch.zeros(2, 3)), TypeError, "logits were given"),
        ((nn.Linear(3, 4),), TypeError, "x = NoneType"),
        ((nn.Linear(3, 4), torch.zeros(5, 2)), ValueError, "did not run on x of shape"),
        ((nn.ReLU(), torch.zeros(5, 2)), TypeError, "has none of router, gate"),
        ((torch.zeros(40, 4),), ValueError, "2 to 32 tokens"),
        ((torch.zeros(4),), ValueError, "cannot be shown"),
        ((torch.full((4, 4), math.nan),), ValueError, "finite"),
        ((torch.zeros(4, 4), None, "a b"), ValueError, "2 names were given for 4 tokens"),
        ((None, None, "alone"), ValueError, "2 to 32 tokens"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_a_reason(arguments, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        ExpertRouting(*arguments)


def test_a_router_that_returns_no_logits_is_refused():
    class Odd(nn.Module):
        def forward(self, x):
            return SimpleNamespace(a=x)

    module = nn.Module()
    module.router = Odd()
    with pytest.raises(TypeError, match="returned no logits"):
        ExpertRouting(module, torch.zeros(4, 4))


# ---- the figure in a browser


def test_play_carries_out_the_choices_in_order(page):
    widget = ExpertRouting(torch.eye(4).repeat(2, 1))
    mount(page, widget)
    page.focus("input[aria-label='Go to choice']")
    page.keyboard.press("Home")
    settle(page)
    assert get(page, "step", "token", "expert") == [1, 0, 0]
    assert page.locator(".er-full").count() == 1
    page.click("button[aria-label='Play']")
    page.wait_for_function(f"{MODEL}.get('step') === 1000", timeout=9000)
    page.wait_for_selector("button[aria-label=Play]")
    settle(page)
    assert page.locator(".er-full").count() == 8 and get(page, "token") == 7
    page.keyboard.press(",")
    settle(page)
    assert get(page, "step") == 7 and page.locator(".er-full").count() == 7
    assert "Token 7. First choice E3" in page.inner_text(".er-say")


def test_who_comes_too_late_is_dropped_and_told_why(page):
    mount(page, ExpertRouting(torch.tensor([[2.0, 0, 0]] * 5 + [[0, 2.0, 0]])))
    put(page, token=4, expert=0)
    assert "dropped" in page.inner_text(".er-say") and "its 3 places are taken" in page.inner_text(".er-say")
    assert "output = 0: no expert works on it" in text(page) and page.locator(".er-out").count() == 2
    page.uncheck("input[aria-label='Limited capacity']")
    settle(page)
    assert page.locator(".er-out").count() == 0 and "Capacity without limit" in text(page)
    put(page, limit=True, mode="expert", token=0)
    assert "E1 takes it, the 1st of its 3" in page.inner_text(".er-say")
    assert "so it is 1 whatever the router says" in text(page)


def test_the_numbers_of_the_page_are_torch_s(page):
    widget = ExpertRouting()
    mount(page, widget)
    for mode, k in (("token", 1), ("token", 2), ("expert", 1)):
        widget.mode, widget.top_k = mode, k
        put(page, mode=mode, top_k=k)
        expected = oracle(widget)
        labels = page.eval_on_selector_all("[role=gridcell]", "x => x.map(c => c.ariaLabel)")
        assert [("chosen" in x) for x in labels] == expected["kept"].flatten().tolist()
        percents = [int(x.split(": ")[1].split()[0]) for x in labels]
        assert (torch.tensor(percents) / 100 - expected["p"].flatten()).abs().max() < 0.0051
        assert f"= {expected['balance'].item():.3f}" in text(page)
        assert f"= {expected['z'].item():.3f}" in text(page)


def test_logits_are_edited_by_field_and_by_key(page):
    mount(page, ExpertRouting())
    put(page, token=1, expert=2)
    page.fill("input[aria-label='Logit of cat for expert 4']", "9")
    settle(page)
    assert get(page, "logits")[1][3] == 9 and "E4" in page.inner_text(".er-say")
    page.locator(".er-row").nth(1).locator("[role=gridcell]").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert get(page, "token", "expert") == [1, 1]
    before = get(page, "logits")[1][1]
    page.keyboard.press("+")
    settle(page)
    assert get(page, "logits")[1][1] == pytest.approx(before + 0.5, abs=1e-4)
    page.click("text=Reset")
    settle(page)
    assert get(page, "logits")[1][3] != 9


def test_a_collapse_and_noise_change_the_loads(page):
    mount(page, ExpertRouting())
    page.click("text=Collapse")
    page.click("text=Collapse")
    settle(page)
    assert get(page, "bias") == [10, 0, 0, 0] and "13/13 = 1.00" in text(page) and "8 choices dropped" in text(page)
    page.fill("input[aria-label='Bias of expert 1']", "0")
    page.focus("input[aria-label='Noise σ']")
    page.keyboard.press("End")
    page.click("text=New noise")
    settle(page)
    assert get(page, "bias", "noise", "seed") == [[0, 0, 0, 0], 3, 1] and "+ noise" in text(page)


def test_expert_choice_looks_ahead_and_the_page_shows_it(page):
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 3.0]])
    widget = ExpertRouting(logits)
    widget.mode, widget.capacity_factor, widget.token = "expert", 1.0, 0
    mount(page, widget)
    put(page, token=1)
    assert "would be taken by: E2. With all tokens it is taken by: E2" in text(page)
    put(page, logits=[[1.0, 0.0], [0.0, 1.0], [0.0, 3.0], [0.0, 3.0]])
    assert "would be taken by: E2. With all tokens it is taken by: E1" in text(page)


def test_a_guess_is_judged_before_the_choices_are_shown(page):
    mount(page, ExpertRouting())
    page.check("input[aria-label='Guess first']")
    settle(page)
    assert page.locator(".er-full").count() == 0 and "Covered" in page.inner_text(".er-say")
    page.fill("input[aria-label='Your guess']", "1")
    page.click("text=Check")
    settle(page)
    assert "Right: 1." in text(page) and page.locator(".er-full").count() == 12


def test_the_address_sets_the_state(page, tmp_path):
    query = "#ExpertRouting?mode=expert&capacity_factor=2&token=3&expert=1&bias=[1,0,0,0]"
    mount(page, ExpertRouting(), path=tmp_path / "w.html", query=query)
    assert get(page, "mode", "capacity_factor", "token", "expert", "bias") == ["expert", 2, 3, 1, [1, 0, 0, 0]]
    page.evaluate("location.hash = '#ExpertRouting?mode=token&top_k=2&renormalize=false&step=5&token=900&logits=[[1]]'")
    page.wait_for_function(f"{MODEL}.get('mode') === 'token'")
    settle(page)
    assert get(page, "top_k", "renormalize") == [2, False] and "token 5" in page.inner_text(".er-say")


def test_two_on_a_page_keep_to_themselves(page):
    mount(page, ExpertRouting())
    other = beside(page, ExpertRouting(torch.eye(3)))
    other.locator("text=Collapse").click()
    settle(page)
    assert get(page, "bias") == [0, 0, 0, 0]
    close_beside(page)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("mode", ["token", "expert"])
def test_nothing_serious_for_axe_and_it_fits_a_phone(phone, dark, mode):
    widget = ExpertRouting() if mode == "token" else ExpertRouting(torch.eye(8).repeat(3, 1))
    widget.mode, widget.noise = mode, 0.5
    mount(phone, widget, dark=dark)
    check_legible(phone)


def test_the_state_is_small_and_its_picture_and_text_stand_still():
    from matplotlib import pyplot as plt

    expert = ExpertRouting(torch.randn(32, 8))
    expert.mode = "expert"
    for widget in (ExpertRouting(), expert):
        state = {k: v for k, v in widget.get_state().items() if k not in {"_esm", "layout", "tabbable", "tooltip"}}
        assert len(json.dumps(state)) < 200_000
        figure = widget.still()
        assert figure.get_size_inches()[0] <= 7.2
        plt.close(figure)
        assert repr(widget) == repr(widget) and "0x" not in repr(widget)
