"""Exercises about positions."""

from __future__ import annotations

from typing import Any

import torch

from nnvocab.exercises import array, exercise, number


@exercise("attention/sinusoid-shift", why="It turns the pair (sin, cos) by k times its frequency, wherever one stands.")
def sinusoid_shift(answer: Any) -> str | None:
    from nnvocab.attention.sinusoidal import shift_matrix

    right = shift_matrix(3.0, 2)
    given = torch.as_tensor(answer, dtype=torch.float32)
    if given.shape == (2, 2) and torch.allclose(given, right.T, atol=1e-3):
        return "that goes 3 positions back; the sign of the two sines decides."
    return array(given, right, "expand sin(t + 3) and cos(t + 3): each is a sum of sin t and cos t.", tol=1e-3)


@exercise("attention/last-position", why="Positions 0 to 511 have a vector; behind 500 tokens 12 are left.")
def last_position(answer: Any) -> str | None:
    return number(
        answer,
        12,
        {11: "positions count from 0, and the last that has a vector is 511.", 512: "500 places are already taken."},
        "at which position does the next token stand, and which is the last with a vector?",
    )


@exercise("attention/alibi-slopes", why="From 1/4 each slope is a quarter of the one before: 2 to the power -8h/4.")
def alibi_slopes_of_four(answer: Any) -> str | None:
    from nnvocab.attention.alibi import alibi_slopes

    right = alibi_slopes(4)
    given = torch.as_tensor(answer, dtype=torch.float32)
    if given.shape == (4,) and torch.allclose(given, alibi_slopes(8)[:4]):
        return "those are the first four of eight heads; with four heads the exponent falls by 8/4 a step."
    return array(given, right, "the slope of head h of H is 2 to the power -8h/H, with h from 1 to H.", tol=1e-5)


@exercise("attention/rope-distance", why="Only the distance matters, and 104 - 100 = 7 - 3.")
def rope_distance(answer: Any) -> str | None:
    return number(
        answer,
        100,
        {108: "that is four positions behind the query; the key stood before it.", 4: "that is the distance."},
        "the score depends on the distance only; which was it, and in which direction?",
    )


@exercise("attention/rope-values", why="Queries and keys are turned; values carry what is said, not where.")
def rope_values(answer: Any) -> str | None:
    given = set("".join(map(str, answer)).lower()) & set("qkvx")
    if given == {"q", "k"}:
        return None
    if "v" in given:
        return "a turned value would change what is handed over; only scores need to know the distance."
    if "x" in given:
        return "turned before the projection, x is mixed by the weights, and the score sees more than the distance."
    return "both sides of the dot product have to be turned for the distance to appear."


@exercise("attention/wavelength", why="The second pair turns by 10000 to the power -1/2, a hundredth, a position.")
def wavelength(answer: Any) -> str | None:
    from math import pi

    return number(
        answer,
        2 * pi * 100,
        {
            2 * pi: "that is the first pair, the fast one.",
            2 * pi * 10000: "no pair turns that slowly: the exponent of pair i is 2 i / R, and i is 1 here.",
            100: "the pair turns by a hundredth of a radian a position; how many radians has a turn?",
        },
        "the angle from one position to the next is the base to the power -2 i / R; a turn has 2 pi.",
    )
