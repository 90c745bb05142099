"""Exercises that check themselves: ``nnvocab.check("attention/gqa-cache", answer)``.

A chapter files its exercises in ``nnvocab/<chapter>/exercises.py``. A check says right or wrong, and why; it knows the
usual mistakes and gives a hint for each; it never gives the answer away.
"""

from __future__ import annotations

import difflib
import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

Judge = Callable[[Any], str | None]


@dataclass(frozen=True)
class Verdict:
    """What ``check`` says: true if the answer is right; shows itself as a coloured line in a notebook."""

    right: bool | None
    text: str

    def __bool__(self) -> bool:
        return bool(self.right)

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        colour = {True: "#009E73", False: "#D55E00", None: "#888888"}[self.right]
        return (
            f'<div class="nnvocab-check" style="border-left:4px solid {colour};padding:.3em .8em">'
            f"{html.escape(self.text)}</div>"
        )


@dataclass(frozen=True)
class Exercise:
    """A question of the book: its id, what is right, what to say to usual mistakes."""

    id: str
    judge: Judge
    why: str


_EXERCISES: dict[str, Exercise] = {}


def exercise(id: str, *, why: str) -> Callable[[Judge], Judge]:
    """File the function below as the judge of an exercise.

    The judge takes the reader's answer and returns None if it is right, else one sentence that says what is wrong with
    it and hints at the way, without the answer. It may raise TypeError or ValueError: the message is shown.

    Args:
        id: ``chapter/short-name``.
        why: shown with a right answer: the reason that it is right.
    """

    def file(judge: Judge) -> Judge:
        if id in _EXERCISES and _EXERCISES[id].judge.__module__ != judge.__module__:
            raise ValueError(f"exercise {id!r} is already filed in {_EXERCISES[id].judge.__module__}")
        _EXERCISES[id] = Exercise(id, judge, why)
        return judge

    return file


def exercises() -> dict[str, Exercise]:
    """All exercises by id."""
    from nnvocab import CHAPTERS

    for chapter in CHAPTERS:
        import_module(f"nnvocab.{chapter}.exercises")
    return dict(_EXERCISES)


def check(id: str, answer: Any) -> Verdict:
    """Say whether an answer is right, and why; a hint for the usual mistakes; never the answer.

    Raises:
        KeyError: if there is no such exercise; the message names the nearest.

    >>> check("attention/gqa-cache", ...)
    No answer yet: put yours in place of the three dots and run the cell again.
    """
    known = exercises()
    if id not in known:
        near = difflib.get_close_matches(id, known, n=3, cutoff=0.3) or sorted(known)[:3]
        raise KeyError(f"no exercise is called {id!r}; the nearest are {', '.join(near)}")
    if answer is Ellipsis or answer is None:
        return Verdict(None, "No answer yet: put yours in place of the three dots and run the cell again.")
    try:
        wrong = known[id].judge(answer)
    except (TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
        return Verdict(False, f"Not yet: the answer could not be read ({type(error).__name__}: {error}).")
    return Verdict(True, f"Right. {known[id].why}") if wrong is None else Verdict(False, f"Not yet: {wrong}")


def number(
    answer: Any, right: float, mistakes: Mapping[float, str], otherwise: str, *, rel: float = 1e-3
) -> str | None:
    """Judge a number: None if it is right, the hint of the mistake that leads to it, or a general hint.

    >>> number(6, 8, {6: "count both ends"}, "count again")
    'count both ends'
    >>> number([8], 8, {}, "count again") is None
    True
    """
    given = float(answer.item() if hasattr(answer, "item") else np.asarray(answer).item())
    if np.isclose(given, right, rtol=rel, atol=1e-12):
        return None
    for value, hint in mistakes.items():
        if np.isclose(given, value, rtol=rel, atol=1e-12):
            return hint
    return otherwise


def array(answer: Any, right: Any, otherwise: str, *, tol: float = 1e-4) -> str | None:
    """Judge a tensor, array or list of numbers by shape and by values.

    >>> array([1, 2], [[1, 2]], "no")
    'its shape is (2,), but (1, 2) is asked for.'
    """
    given = np.asarray(answer.detach().cpu() if hasattr(answer, "detach") else answer, dtype=float)
    wanted = np.asarray(right.detach().cpu() if hasattr(right, "detach") else right, dtype=float)
    if given.shape != wanted.shape:
        return f"its shape is {given.shape}, but {wanted.shape} is asked for."
    return None if np.allclose(given, wanted, rtol=tol, atol=tol) else otherwise
