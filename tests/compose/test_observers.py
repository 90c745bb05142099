"""Observers see everything and change nothing."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.compose.filtered import FilteredParallel
from nnvocab.compose.gate import Gate
from nnvocab.compose.observers import LivePlot, Recorder, observe, to_console
from nnvocab.compose.parallel import Parallel


def model():
    return Parallel([nn.Linear(4, 3), FilteredParallel([nn.Linear(4, 2), nn.Linear(4, 2)], Gate(nn.Linear(4, 2)))])


@pytest.mark.oracle("observers-for-parallel-layers", by="brute force")
def test_the_numbers_are_those_of_the_outputs_and_of_their_gradients():
    layer, recorder, x = model(), Recorder(), torch.randn(5, 4)
    with observe(layer, recorder):
        layer(x).square().sum().backward()
    y = layer.branches[0](x)
    event = next(e for e in recorder.events if e.path == "branches.0" and e.phase == "forward")
    numbers = y.flatten().tolist()
    mean = sum(numbers) / 15
    assert_close(event.mean, mean)
    assert_close(event.std, (sum((v - mean) ** 2 for v in numbers) / 15) ** 0.5)
    assert_close((event.minimum, event.maximum), (min(numbers), max(numbers)))
    assert (event.active, event.total) == (sum(v > 0 for v in numbers), 15)
    assert (event.index, event.layer, event.in_shape, event.out_shape) == (0, "Linear", (5, 4), (5, 3))
    back = next(e for e in recorder.events if e.path == "branches.0" and e.phase == "backward")
    assert_close(back.mean, (2 * y).mean().item())


def test_zeros_are_not_active():
    layer, recorder = Parallel([nn.ReLU(), nn.Identity()]), Recorder()
    with observe(layer, recorder):
        layer(torch.tensor([[-1.0, 0.0, 2.0]]))
    assert [event.active for event in recorder.events] == [1, 1]


def test_branches_and_gates_are_seen_at_any_depth():
    layer, recorder = model(), Recorder()
    with observe(layer, recorder) as watch:
        layer(torch.randn(5, 4)).sum().backward()
    assert set(recorder.paths()) == set(watch.paths)
    assert {"branches.0", "branches.1", "branches.1.branches.0", "branches.1.branches.1", "branches.1.gate"} == set(
        watch.paths
    )
    numbers = {event.path: event.index for event in recorder.events}
    assert numbers["branches.1"] == numbers["branches.1.branches.1"] == 1 and numbers["branches.1.gate"] == -1
    assert len(recorder.series("branches.1.gate")) == 1 and len(recorder.series("branches.0", phase="backward")) == 1


def test_watching_changes_nothing_and_ends():
    layer, recorder, x = model(), Recorder(), torch.randn(5, 4)
    before = layer(x)
    watch = observe(layer, recorder, gradients=False)
    assert_close(layer(x), before, rtol=0, atol=0)
    seen = len(recorder.events)
    assert seen == 5 and all(e.phase == "forward" for e in recorder.events)
    watch.remove()
    layer(x)
    assert len(recorder.events) == seen and not any(m._forward_hooks for m in layer.modules())


def test_the_console_gets_a_line_for_each(capsys):
    layer = Parallel([nn.Linear(4, 3), nn.LSTM(4, 2)], "concat")
    with observe(layer, to_console, gradients=False):
        layer(torch.randn(5, 4))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("[branches.0] Linear: (5, 4) -> (5, 3), output mean=")
    assert lines[1].startswith("[branches.1] LSTM: (5, 4) -> (5, 2)")


def test_a_plain_module_is_watched_by_its_children():
    seen = []
    with observe(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), seen.append) as watch:
        assert watch.paths == ["0", "1"]


def test_a_live_plot_draws_a_line_for_each_branch():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    layer = Parallel([nn.Linear(4, 3), nn.Linear(4, 3)])
    with observe(layer, LivePlot(ax, every=8)):
        for _ in range(4):
            layer(torch.randn(5, 4)).sum().backward()
    assert len(ax.lines) == 2 and [t.get_text() for t in ax.texts] == ["branches.0", "branches.1"]
    assert [t.xy for t in ax.texts] == [(3, line.get_ydata()[-1]) for line in ax.lines]  # at its end
    plt.close(fig)


def test_nothing_to_watch_is_refused():
    with pytest.raises(ValueError, match="no observer"):
        observe(model())
    with pytest.raises(ValueError, match="nothing to watch"):
        observe(nn.Linear(2, 2), print)


def test_a_live_plot_is_shown_anew_at_every_drawing():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    class Display:
        shown = 0

        def update(self, figure):
            self.shown += figure is fig

    fig, ax = plt.subplots()
    layer, display = Parallel([nn.Linear(4, 3), nn.Linear(4, 3)]), Display()
    live = LivePlot(ax, every=2, statistic="mean", phase="backward", display=display)
    with observe(layer, live):
        for _ in range(3):
            layer(torch.randn(5, 4)).sum().backward()
    assert display.shown == 6 and ax.get_ylabel() == "mean of the gradient"
    assert ax.lines[0].get_ydata().tolist() == live.series("branches.1", "mean", "backward") == [1.0, 1.0, 1.0]
    plt.close(fig)


def test_an_empty_batch_and_named_arguments_are_watched_too():
    class Calls(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 3)

        def forward(self, x):
            return self.inner(input=x)

    model, recorder = Calls(), Recorder()
    with observe(model, recorder, gradients=False):
        model(torch.zeros(0, 4))
    (event,) = recorder.events
    assert event.in_shape == (0, 4) and event.active == 0 and event.total == 0 and event.mean != event.mean
    assert "active 0 of 0" in str(event)


def test_unknown_statistics_are_refused():
    with pytest.raises(ValueError, match="mean, std, minimum, maximum, active"):
        Recorder().series("branches.0", "median")
    with pytest.raises(ValueError, match="'forward' or 'backward'"):
        LivePlot(None, phase="back")
    with pytest.raises(ValueError, match="every is 0"):
        LivePlot(None, every=0)
