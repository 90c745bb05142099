"""The map that trains in the browser: its arithmetic against ``nnvocab.som``, and what a reader can do with it."""

import json
import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from nnvocab.som import SOM, som_batch_step, som_step
from nnvocab.som.lattice import lattice_positions, neighbour_pairs
from nnvocab.som.map_quality import quantization_error, topographic_error, u_matrix
from nnvocab.som.schedule import decay, neighbourhood
from nnvocab.widgets import SOMTraining
from nnvocab.widgets.base import module_text
from nnvocab.widgets.som_samples import builtin, seen, unpacked
from tests.browser import MODEL, beside, check_legible, close_beside, exports, get, mount, plain

MODULE = module_text("som_training")
KINDS, TOPOLOGIES = ("gaussian", "bubble", "mexican_hat"), ("rectangular", "hexagonal")

pytestmark = pytest.mark.browser


def settled(page, name, value):
    page.wait_for_function(f"JSON.stringify({MODEL}.get('{name}')) === '{json.dumps(value, separators=(',', ':'))}'")


def lines(page):
    return page.locator(".som-eq").inner_text()


def frames(page, n=3):
    page.evaluate(f"async () => {{ for (let i = 0; i < {n}; i++) await new Promise(requestAnimationFrame); }}")


# ------------------------------------------------------------------------------------------------------ arithmetic


def test_online_steps_are_those_of_the_package_for_every_neighbourhood_and_lattice(page):
    cases, expected = [], []
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        for kind in KINDS:
            for topology in TOPOLOGIES:
                rows, columns, width = (int(torch.randint(2, 6, (), generator=generator)) for _ in range(3))
                weight = torch.randn(rows * columns, width, generator=generator, dtype=torch.float64)
                samples = torch.randn(12, width, generator=generator, dtype=torch.float64)
                rate = 0.1 + 0.4 * float(torch.rand((), generator=generator))
                radius = 0.6 + 2 * float(torch.rand((), generator=generator))
                cases.append([weight.tolist(), samples.tolist(), [rows, columns], topology, rate, radius, kind])
                places = lattice_positions((rows, columns), topology, dtype=torch.float64)
                for x in samples:
                    weight = som_step(weight, x, places, rate, radius, kind)
                expected.append(weight)
    call = """(m, cases) => cases.map(([w, xs, shape, topology, rate, radius, kind]) => {
      const F = w[0].length, W = Float64Array.from(w.flat()), X = Float64Array.from(xs.flat());
      const P = m.positions(shape, topology);
      xs.forEach((_, i) => m.online(W, w.length, F, P, X, i * F, rate, radius, kind));
      return [...W];
    })"""
    for got, weight in zip(exports(page, MODULE, call, cases), expected, strict=True):
        assert_allclose(got, weight.flatten(), rtol=0, atol=1e-5 * max(1.0, float(weight.abs().max())))


def test_batch_steps_errors_and_u_matrix_are_those_of_the_package(page):
    cases, expected = [], []
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        kind, topology = KINDS[seed % 2], TOPOLOGIES[seed // 2 % 2]
        weight = torch.rand(20, 3, generator=generator, dtype=torch.float64)
        samples = torch.rand(40, 3, generator=generator, dtype=torch.float64)
        places = lattice_positions((4, 5), topology, dtype=torch.float64)
        cases.append([weight.tolist(), samples.tolist(), topology, 1.3, kind])
        after = som_batch_step(weight, samples, places, 1.3, kind)
        errors = [quantization_error(samples, weight), topographic_error(samples, weight, places, topology)]
        expected.append([*after.flatten(), *errors, *u_matrix(weight, neighbour_pairs((4, 5), topology))])
    call = """(m, cases) => cases.map(([w, xs, topology, radius, kind]) => {
      const W = Float64Array.from(w.flat()), X = Float64Array.from(xs.flat()), P = m.positions([4, 5], topology);
      const e = m.errors(W, 20, 3, P, X, xs.length, topology), u = m.umatrix(W, 20, 3, m.neighbours(20, P, topology));
      m.batch(W, 20, 3, P, X, xs.length, radius, kind);
      return [...W, ...e, ...u];
    })"""
    assert_allclose(exports(page, MODULE, call, cases), np.array(expected), atol=1e-5)


def test_neighbourhoods_and_schedules_are_those_of_the_package(page):
    distances, radii = [0.0, 0.5, 1.0, 2.0, 3.7], [0.5, 1.0, 2.5]
    got = exports(
        page,
        MODULE,
        "(m, ks, ds, rs) => ks.map(k => rs.map(r => ds.map(d => m.hood(k, d * d, r))))",
        KINDS,
        distances,
        radii,
    )
    assert_allclose(got, [[neighbourhood(torch.tensor(distances), r, k) for r in radii] for k in KINDS], atol=1e-6)
    kinds = ["exponential", "linear", "inverse"]
    got = exports(
        page, MODULE, "(m, ks, ts) => ks.map(k => ts.map(t => m.schedule(k, 4, 0.5, t, 30)))", kinds, list(range(30))
    )
    assert_allclose(got, [[decay(t, 30, 4.0, 0.5, k) for t in range(30)] for k in kinds], atol=1e-9)


@pytest.mark.parametrize("data", ["moons", "digits"])
def test_a_whole_run_with_changes_on_the_way_is_the_same_in_python_and_in_the_browser(page, data):
    widget = SOMTraining(data=data)
    first = {k: getattr(widget, k) for k in ("mode", "rate", "end_rate", "radius", "end_radius", "steps", "decay")}
    first |= {"neighbourhood": "gaussian", "topology": "rectangular", "shape": [4, 5]}
    widget.history = [
        [0, first],
        [15, {"rate": 0.3, "topology": "hexagonal"}],
        [30, {"shape": [6, 3], "decay": "inverse"}],
        [40, {"shape": [1, 9], "topology": "rectangular"}],
        [50, {"shape": [3, 4], "neighbourhood": "bubble", "decay": "constant"}],
        [58, {"mode": "batch", "radius": 1.5}],
    ]
    call = """(m, d, history, seed, stops) => { const run = new m.Run(m.unpack(d), seed, history);
      return stops.map(t => { run.go(t); return [...run.W]; }); }"""
    stops = [7, 20, 35, 45, 55, 60, 33, 0, 60]  # forward, back, and forward again
    for got, step in zip(
        exports(page, MODULE, call, widget.datasets[data], widget.history, 3, stops), stops, strict=True
    ):
        widget.seed = 3
        assert_allclose(got, widget.train(step)[0].ravel(), atol=1e-5)


def test_a_map_of_the_package_goes_on_from_its_own_prototypes(page):
    som = SOM((3, 4), 5, topology="hexagonal", neighbourhood="bubble", generator=torch.Generator().manual_seed(0))
    samples = torch.rand(60, 5, generator=torch.Generator().manual_seed(1))
    widget = SOMTraining(som, samples, labels=["ab"] * 60)
    assert (widget.shape, widget.topology, widget.neighbourhood) == ([3, 4], "hexagonal", "bubble")
    widget.step = 5
    mount(page, widget)
    history = get(page, "history") or [[0, {k: get(page, k) for k in ("shape", "rate")}]]
    assert history[0][1]["shape"] == [3, 4]
    assert_allclose(unpacked(widget.datasets["yours"]), samples, atol=1e-7)
    for t in range(5):
        rate, radius = (decay(t, 2000, a, b) for a, b in ((0.5, 0.02), (1.0, 0.5)))
        from nnvocab.widgets.som_training import random

        som.step(samples[int(random(0, t) * 60)], rate, radius)
    assert_allclose(widget.train(5)[0], som.weight, atol=1e-5)
    row = page.locator(".som-eq tbody tr").first.locator("td").all_inner_texts()
    unit = [int(v) - 1 for v in re.search(r"unit \((\d+), (\d+)\) wins", lines(page)).groups()]
    feature = int(page.locator(".som-eq tbody th").first.inner_text()[1:]) - 1
    assert_allclose(float(row[0].replace("−", "-")), som.weight[unit[0] * 4 + unit[1], feature], atol=6e-4)


# ------------------------------------------------------------------------------------------------------ what it does


def test_plays_pauses_steps_back_and_forward_and_scrubs(page):
    mount(page, SOMTraining(data="moons"))
    assert "Step 0: sample" in lines(page)
    start = lines(page)
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(f"{MODEL}.get('step') > 8")
    page.get_by_role("button", name="Pause").click()
    frames(page)
    at = get(page, "step")
    page.wait_for_function(f"document.querySelector('.som-eq').innerText.includes('Step {at}:')")
    page.get_by_role("button", name="Forward one step").click()
    settled(page, "step", at + 1)
    page.get_by_role("button", name="Back one step").click()
    settled(page, "step", at)
    page.locator("body").press("Tab")
    page.locator("[data-widget] canvas").first.evaluate("c => c.closest('.som-stack').focus()")
    page.keyboard.press(".")
    settled(page, "step", at + 1)
    page.get_by_label("Go to step").fill("700")
    settled(page, "step", 700)
    page.wait_for_function("document.querySelector('.som-eq').innerText.includes('Step 700:')")
    page.get_by_label("Go to step").fill("0")
    page.wait_for_function("document.querySelector('.som-eq').innerText.includes('Step 0:')")
    assert lines(page) == start


def test_the_update_is_written_out_and_is_what_happens_at_the_next_step(page):
    widget = SOMTraining(data="square")
    mount(page, widget)
    rows = [
        [float(v.replace("−", "-")) for v in r.locator("td").all_inner_texts()]
        for r in page.locator(".som-eq tbody tr").all()
    ]
    unit = [int(v) - 1 for v in re.search(r"unit \((\d+), (\d+)\) wins", lines(page)).groups()]
    winner = unit[0] * 10 + unit[1]
    before, after = widget.train(0)[0][winner], widget.train(1)[0][winner]
    for f, (w, x, gap, update, new) in enumerate(rows):
        assert_allclose([w, new], [before[f], after[f]], atol=6e-4)
        assert_allclose([x - w, w + update], [gap, new], atol=2e-3)
    assert "w + 0.500 · 1.000 · (x − w)" in lines(page)


def test_settings_act_at_once_and_do_not_restart(page):
    widget = SOMTraining(data="moons")
    widget.step = 300
    mount(page, widget)
    page.wait_for_function("document.querySelector('.som-eq').innerText.includes('Step 300:')")
    page.get_by_label("Rate α").first.fill("0.9")
    frames(page)
    assert get(page, "step") == 300
    assert get(page, "history")[-1] == [300, {"rate": 0.9}]
    page.get_by_label("Neighbourhood", exact=True).select_option(label="bubble")
    page.get_by_label("Lattice", exact=True).select_option(label="hexagonal")
    frames(page)
    assert get(page, "history")[-1] == [300, {"rate": 0.9, "neighbourhood": "bubble", "topology": "hexagonal"}]
    page.get_by_text("More: lattice size").click()
    page.get_by_label("Rows").fill("5")
    frames(page)
    assert get(page, "shape") == [5, 10]
    assert page.get_by_role("gridcell").count() == 50
    page.get_by_role("button", name="Forward one step").click()
    settled(page, "step", 301)
    widget.history, widget.step = get(page, "history"), 301
    assert widget.train(301)[1:] == ([5, 10], "hexagonal")
    page.get_by_label("Lattice", exact=True).select_option(label="chain")
    frames(page)
    assert get(page, "shape") == [1, 50]
    assert get(page, "step") == 301


def test_every_data_set_and_view_draws_and_a_chain_and_batch_learning_run(page):
    widget = SOMTraining()
    mount(page, widget)
    for name, data in builtin().items():
        page.get_by_label("Data", exact=True).select_option(label=data["title"])
        frames(page)
        assert (get(page, "data"), get(page, "step")) == (name, 0)
        shows = page.get_by_label("Shows")
        for option in shows.locator("option").all_inner_texts():
            shows.select_option(label=option)
            frames(page, 2)
    page.get_by_text("More: lattice size").click()
    page.get_by_label("Learns from").select_option(label="all samples a step")
    frames(page)
    assert "becomes their mean" in lines(page)
    page.get_by_label("Neighbourhood", exact=True).select_option(label="Mexican hat")
    frames(page)
    assert get(page, "mode") == "online"
    assert "one sample a step again" in lines(page)


def test_a_new_start_changes_the_seed_and_nothing_else(page):
    mount(page, SOMTraining(data="moons"))
    first = lines(page)
    page.get_by_role("button", name="New start with another seed").click()
    frames(page)
    assert get(page, "seed") == 1
    assert get(page, "rate") == 0.5
    assert lines(page) != first


def test_units_are_reached_by_keyboard_and_tell_their_numbers(page):
    mount(page, SOMTraining(data="moons"))
    cell = page.get_by_role("gridcell", name="unit (1, 1)", exact=True)
    cell.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    frames(page)
    said = page.locator("[aria-live]").inner_text()
    assert "Unit (2, 2)" in said
    assert "Quantization error" in said
    h = float(re.search(r"= ([\d.]+)$", re.search(r"Unit \(2, 2\).*", lines(page)).group()).group(1))
    d = float(re.search(r"d = ([\d.]+)", lines(page)).group(1))
    assert abs(h - np.exp(-(d**2) / 32)) < 1e-2
    page.keyboard.press("Enter")
    settled(page, "unit", 11)


def test_three_dimensions_turn_by_arrow_keys_and_by_dragging(page):
    mount(page, SOMTraining())
    stage = page.get_by_role("application")
    stage.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    assert (get(page, "turn"), get(page, "tilt")) == (-27, 14)
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 110, box["y"] + 60, steps=3)
    page.mouse.up()
    assert get(page, "turn") == 3


def test_hides_the_winner_until_the_reader_has_guessed(page):
    widget = SOMTraining(data="moons")
    widget.predict = True
    mount(page, widget)
    assert "Which unit is nearest" in lines(page)
    assert "wins" not in lines(page)
    page.get_by_role("gridcell").first.click()
    frames(page)
    assert re.search(r"Right:|Not \(1, 1\)", lines(page))


def test_the_address_sets_the_state_and_a_link_in_the_text_replays_it(page, tmp_path):
    query = "#SOMTraining?data=moons&decay=constant&step=40&shape=%5B4,6%5D"
    mount(page, SOMTraining(), path=tmp_path / "w.html", query=query)
    page.wait_for_function("document.querySelector('.som-eq').innerText.includes('Step 40:')")
    assert page.get_by_role("gridcell").count() == 24
    page.evaluate("location.hash = '#SOMTraining?data=square&neighbourhood=bubble&step=25'")
    page.wait_for_function("document.querySelector('.som-eq').innerText.includes('Step 25:')")
    assert get(page, "history") == [[0, get(page, "history")[0][1]]]
    assert get(page, "history")[0][1]["neighbourhood"] == "bubble"
    page.evaluate("location.hash = '#SOMTraining?topology=nonsense&rate=-3&data=none&step=99999999'")
    frames(page, 4)
    assert get(page, "step") <= 2000


def test_a_map_that_flies_apart_is_said_to(page):
    widget = SOMTraining(data="square")
    widget.neighbourhood, widget.decay, widget.rate, widget.radius, widget.step = (
        "mexican_hat",
        "constant",
        1.0,
        2.0,
        600,
    )
    mount(page, widget)
    page.wait_for_function("document.querySelector('.som-eq').innerText.includes('flies apart')")


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_serious_for_axe_and_it_fits_a_phone(phone, dark):
    for data in ("digits", "moons"):
        widget = SOMTraining(data=data)
        widget.topology = "hexagonal"
        mount(phone, widget, dark=dark)
        phone.get_by_text("More: lattice size").click()
        frames(phone)
        check_legible(phone)


def test_two_on_a_page_keep_to_themselves(page):
    mount(page, SOMTraining(data="moons"))
    other = beside(page, SOMTraining(data="moons"))
    page.locator(".nnv-host").get_by_role("button", name="Forward one step").click()
    frames(page)
    assert [get(page, "step"), other.evaluate("e => e.model.get('step')")] == [1, 0]
    assert page.locator("p", has_text="Step 1:").count() == 1
    close_beside(page)


# ------------------------------------------------------------------------------------------------------ in Python


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1, 2],), TypeError, "som is a list without weight"),
        ((SOM((2, 2, 2), 3),), ValueError, "has 3 axes"),
        ((SOM((4, 4), 7),), ValueError, "no data set here is as wide"),
        ((SOM((30, 30), 64),), ValueError, "make a smaller map"),
        ((SOM((4, 4), 3), "moons"), ValueError, "'moons' has 2 features, but the map has 3"),
        ((SOM((4, 4), 3), torch.zeros(9, 2)), ValueError, "data has 2 features, but the map has 3"),
        ((None, "clouds"), ValueError, "the data sets are colours, digits"),
        ((None, torch.tensor([[1.0], [float("nan")]])), ValueError, "1 of 2 samples hold NaN"),
        ((None, torch.zeros(5)), ValueError, "must be \\(samples, features\\)"),
        ((None, [["a", "b"], ["c", "d"]]), TypeError, "holds no numbers"),
        ((None, torch.rand(90, 1000)), ValueError, "reduce them first"),
        ((None, torch.zeros(5, 2), [1, 2]), ValueError, "2 labels for 5 samples"),
        ((None, None, [1, 2]), ValueError, "labels are given without data"),
        ((None, "moons", [1, 2]), ValueError, "brings its own"),
    ],
)
def test_what_it_cannot_show_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        SOMTraining(*arguments)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", -1),
        ("view", "feature x"),
        ("rate", -1.0),
        ("rate", 1.5),
        ("decay", "fast"),
        ("shape", [0, 3]),
        ("steps", 99_999),
        ("data", "clouds"),
    ],
)
def test_a_setting_that_does_not_exist_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is"):
        setattr(SOMTraining(data="moons"), name, value)


def test_a_map_with_broken_numbers_is_refused():
    som = SOM((2, 2), 3)
    som.weight[0, 0] = float("inf")
    with pytest.raises(ValueError, match="NaN or infinity"):
        SOMTraining(som)


def test_draws_a_still_and_speaks_the_same_at_every_run():
    from matplotlib import pyplot as plt

    for widget in (SOMTraining(data="moons"), SOMTraining(SOM((6,), 3), torch.rand(50, 3))):
        widget.steps = 60
        figure = widget.still()
        assert len(figure.axes) == 4
        assert figure.get_figwidth() <= 7.2
        plt.close(figure)
    assert repr(SOMTraining()) == repr(SOMTraining()) == f"SOMTraining: {SOMTraining.__doc__.strip().splitlines()[0]}"


def test_the_state_stays_small_and_wide_data_are_drawn_on_their_principal_axes():
    wide = SOMTraining(SOM((14, 14), 64), torch.rand(4000, 64))
    for widget in (SOMTraining(), wide):
        assert len(json.dumps({k: plain(v) for k, v in widget.get_state().items() if k != "_esm"})) < 200_000
    record = wide.datasets["yours"]
    samples = unpacked(record)
    assert len(samples) >= 50
    from sklearn.decomposition import PCA

    assert_allclose(np.abs(seen(samples, record)), np.abs(PCA(3).fit_transform(samples)), atol=1e-3)
