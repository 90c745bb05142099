from __future__ import annotations

import pytest
import torch
from torch import nn

from nnvocab.compose.layer_choice import (
    badly_scaled,
    last_marked,
    layer_kinds,
    recall,
    rows_of_a_table,
    rule_of_two,
    shifted_pictures,
    try_layer,
)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.oracle("choosing-the-right-layer", by="closed form")
def test_a_network_that_knows_the_answer_scores_one_and_one_that_guesses_a_quarter():
    task = last_marked(seeded(), samples=4000)

    class Knows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(()))

        def forward(self, x):
            last = torch.where(x[..., 4] > 0, torch.arange(8), -1).amax(1)
            return x[torch.arange(len(x)), last, :4] + 0 * self.unused

    class Constant(Knows):
        def forward(self, x):
            return x.new_tensor([1.0, 0, 0, 0]).expand(len(x), 4) + 0 * self.unused

    assert try_layer(Knows, task, steps=1) == 1
    assert abs(try_layer(Constant, task, steps=1) - 0.25) < 0.05


def test_recall_asks_for_the_value_that_stands_by_the_key():
    task = recall(seeded(), samples=200)
    for x, y in zip(task.train_x, task.train_y, strict=True):
        key = x[-1, :4].argmax()
        (step,) = ((x[:-1, :4].argmax(1) == key) & (x[:-1, :4].sum(1) > 0)).nonzero()[:, 0]
        assert x[step, 4:].argmax() == y


def test_tasks_of_pictures_and_tables_keep_their_rows():
    pictures, labels = torch.rand(40, 8, 8), torch.arange(40) % 2
    for task in (shifted_pictures(pictures, labels, seeded()), badly_scaled(pictures, labels, seeded())):
        assert task.train_x.shape == task.test_x.shape == (20, 8, 8)
    moved = shifted_pictures(pictures, labels, seeded())
    torch.testing.assert_close(
        torch.cat([moved.train_x, moved.test_x]).sum((1, 2)).sort().values, pictures.sum((1, 2)).sort().values
    )
    table = rows_of_a_table(torch.randn(30, 5), labels[:30], seeded())
    assert ((table.train_x != 0).flatten(1).sum(1) == 5).all()
    assert rule_of_two(seeded(), samples=100).train_y.float().mean().sub(0.5).abs() < 0.2


def test_a_column_that_never_changes_becomes_zeros_and_the_others_get_mean_zero_and_spread_one():
    table = torch.cat([torch.ones(30, 1), 5 + 3 * torch.randn(30, 2)], dim=1)
    task = rows_of_a_table(table, torch.arange(30) % 2, seeded())
    columns = torch.cat([task.train_x, task.test_x]).flatten(1)
    spread = columns.std(0)
    assert (spread > 0).sum() == 2
    torch.testing.assert_close(spread[spread > 0], torch.ones(2))
    torch.testing.assert_close(columns.mean(0), torch.zeros(64), rtol=0, atol=1e-5)


def test_all_kinds_have_about_the_same_number_of_weights():
    sizes = [sum(p.numel() for p in make().parameters()) for make in layer_kinds(10).values()]
    assert max(sizes) < 1.15 * min(sizes)
    assert all(make()(torch.zeros(2, 8, 8)).shape == (2, 10) for make in layer_kinds(10).values())


def test_the_kinds_that_read_step_by_step_answer_with_their_last_step():
    kinds, x = layer_kinds(10), torch.randn(2, 8, 8)
    body, last = kinds["attention"]()
    h = body.read(x) + body.position
    for layer in body.layers:
        h = h + layer(h, h, h)[0]  # what a token sees is added to what it is
    torch.testing.assert_close(body(x), h[:, -1])
    assert last(body(x)).shape == (2, 10)
    lstm = kinds["LSTM"]()[0]
    torch.testing.assert_close(lstm(x), lstm.module(x)[1][0][0])  # the state after the last step


def test_two_rows_are_enough():
    task = last_marked(seeded(), samples=2)
    assert len(task.train_x) == len(task.test_x) == 1


def test_bad_input_is_refused():
    task = last_marked(seeded(), samples=8)
    with pytest.raises(ValueError, match="steps is 0"):
        try_layer(layer_kinds(4)["dense"], task, steps=0)
    with pytest.raises(ValueError, match="batch_size 0"):
        try_layer(layer_kinds(4)["dense"], task, batch_size=0)
    for few in (lambda: recall(seeded(), samples=1), lambda: last_marked(seeded(), samples=0)):
        with pytest.raises(ValueError, match="rows cannot be halved.*give 2 at least"):
            few()
    for make in (shifted_pictures, badly_scaled):
        with pytest.raises(ValueError, match=r"pictures have shape \(4, 5\), but \(N, 8, 8\)"):
            make(torch.ones(4, 5), torch.zeros(4), seeded())
        with pytest.raises(ValueError, match="1 rows cannot be halved"):
            make(torch.ones(1, 8, 8), torch.zeros(1), seeded())
    with pytest.raises(ValueError, match=r"the table has shape \(3, 65\), but \(rows, at most 64 columns\)"):
        rows_of_a_table(torch.ones(3, 65), torch.zeros(3), seeded())
    wrong = type(task)("x", torch.ones(2, 3, 4), task.train_y, task.test_x, task.test_y)
    with pytest.raises(ValueError, match=r"rows have shape \(3, 4\), but \(8, 8\)"):
        try_layer(layer_kinds(4)["dense"], wrong)
