from __future__ import annotations

import pytest
import torch

from nnvocab.compose.neurosymbolic_tasks import TASKS, four_squares, galaxies, intrusions, shortcut, species, stars


@pytest.mark.parametrize("make", TASKS, ids=lambda f: f.__name__)
def test_a_task_is_balanced_repeatable_and_its_test_rows_are_its_own(make):
    task, again = (make(torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(task.train_x, again.train_x)
    assert torch.equal(task.test_x, again.test_x)
    counts = torch.bincount(torch.cat([task.train_y, task.test_y])).float()
    assert counts.max() - counts.min() <= 1
    assert task.classes == len(counts)
    assert len(task.train_x) == len(task.test_x)
    assert not (task.train_x[:, None] == task.test_x[None]).all(-1).any()


@pytest.mark.parametrize("make", TASKS, ids=lambda f: f.__name__)
def test_too_few_samples_for_every_class_are_refused(make):
    for samples in (0, 1):
        with pytest.raises(ValueError, match=f"{samples} samples leave no row to learn the classes .*: give more"):
            make(torch.Generator().manual_seed(0), samples)


def test_points_lie_where_the_tasks_say():
    def rows(make):
        task = make(torch.Generator().manual_seed(0))
        return torch.cat([task.train_x, task.test_x]), torch.cat([task.train_y, task.test_y])

    x, y = rows(four_squares)
    low = x < 0.5
    assert torch.where(low, (0.1 <= x) & (x <= 0.4), (0.6 <= x) & (x <= 0.9)).all()
    assert torch.equal(y, (x[:, 1] > 0.5).long()) and 0.4 < low[:, 0].float().mean() < 0.6

    x, y = rows(galaxies)
    away = x - torch.tensor([[0.7, 0.7], [-0.7, 0.7], [0.0, -0.7]])[y]
    assert 0.09 < away.norm(dim=1).min() and away.norm(dim=1).max() < 0.36
    assert (away < -0.1).any(0).all() and (away > 0.1).any(0).all()  # systems stand on all sides

    x, y = rows(stars)
    away = x - torch.tensor([[0.6, 0.6], [-0.6, 0.6], [0.0, -0.6]])[y]
    assert (away[:, 1].abs() <= 0.081).all() and ((away[:, 0].abs() - 0.2).abs() <= 0.081).all()

    task = shortcut(torch.Generator().manual_seed(0))
    high = task.train_y[:, None] == 1
    assert ((task.train_x[:, :3] - torch.where(high, 0.8, 0.2)).abs() <= 0.151).all()
    assert ((task.train_x[:, 3:] - torch.where(high, 0.9, 0.1)).abs() <= 0.051).all()


def test_the_shortcut_helps_in_training_and_not_in_the_test():
    task = shortcut(torch.Generator().manual_seed(0))
    guess = lambda x: (x[:, 3] > 0.5).long()  # noqa: E731
    assert (guess(task.train_x) == task.train_y).all()
    assert abs((guess(task.test_x) == task.test_y).float().mean() - 0.5) < 0.1


@pytest.mark.parametrize("make", [intrusions, species])
def test_what_is_novel_lies_apart_from_all_that_was_seen(make):
    task = make(torch.Generator().manual_seed(0))
    nearest = torch.cdist(task.novel_x, task.train_x).amin(1)
    typical = torch.cdist(task.test_x, task.train_x).amin(1)
    assert nearest.min() > typical.max()
