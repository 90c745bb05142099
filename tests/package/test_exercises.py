"""Exercises judge fairly: right is right, a usual mistake gets its hint, and the answer is never given away."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch

import nnvocab
from nnvocab.exercises import array, exercise, exercises, number

ANSWERS = [import_module(f"tests.{chapter}.exercise_answers") for chapter in nnvocab.CHAPTERS]
RIGHT = {id: answer for chapter in ANSWERS for id, answer in chapter.RIGHT.items()}
SAME = [pair for chapter in ANSWERS for pair in chapter.SAME]
WRONG = [triple for chapter in ANSWERS for triple in chapter.WRONG]


def test_every_exercise_has_a_right_answer_and_a_usual_mistake_to_be_judged():
    assert set(exercises()) == set(RIGHT) == {id for id, _, _ in WRONG}


@pytest.mark.parametrize("id", RIGHT)
def test_the_right_answer_is_right_and_says_why(id):
    verdict = nnvocab.check(id, RIGHT[id])
    assert verdict and verdict.text.startswith("Right. ") and len(verdict.text) > 20


@pytest.mark.parametrize(("id", "answer"), SAME)
def test_the_right_answer_is_right_in_other_forms(id, answer):
    assert nnvocab.check(id, answer)


@pytest.mark.parametrize(("id", "answer", "hint"), WRONG)
def test_a_usual_mistake_gets_its_hint_and_not_the_answer(id, answer, hint):
    verdict = nnvocab.check(id, answer)
    assert verdict.right is False
    assert hint in verdict.text
    right = str(RIGHT[id])
    assert len(right) < 3 or right not in verdict.text


def test_right_wrong_and_not_yet():
    assert nnvocab.check("attention/gqa-cache", 2 * 8 * 128 * 2)
    wrong = nnvocab.check("attention/gqa-cache", 8 * 128 * 2)
    assert not wrong
    assert "keys alone" in repr(wrong)
    assert "4096" not in repr(wrong)
    assert nnvocab.check("attention/gqa-cache", ...).right is None


def test_tensors_and_text_are_read_or_refused_kindly():
    assert nnvocab.check("attention/gqa-cache", torch.tensor(4096))
    assert "could not be read" in repr(nnvocab.check("attention/gqa-cache", "many"))


def test_an_unknown_exercise_names_the_nearest():
    with pytest.raises(KeyError, match="attention/gqa-cache"):
        nnvocab.check("attention/gqa-cach", 1)


def test_the_helpers_judge_numbers_and_arrays():
    assert number(8.0, 8, {}, "no") is None
    assert number(6, 8, {6: "both ends"}, "no") == "both ends"
    assert number(5, 8, {6: "both ends"}, "no") == "no"
    assert array([[1, 2]], torch.tensor([[1.0, 2.0]]), "no") is None
    assert array([[1, 3]], [[1, 2]], "no") == "no"
    assert "shape" in array([1, 2], [[1, 2]], "no")


@pytest.mark.parametrize("id", sorted(exercises()))
def test_every_exercise_answers_the_three_dots_and_nonsense(id):
    assert nnvocab.check(id, ...).right is None
    assert not nnvocab.check(id, object())
    assert exercises()[id].why.endswith(".")


def test_an_id_is_used_once():
    with pytest.raises(ValueError, match="already filed"):
        exercise("attention/gqa-cache", why="no.")(lambda answer: None)


def test_a_verdict_shows_itself():
    assert "<div" in nnvocab.check("attention/gqa-cache", 4096)._repr_html_()
