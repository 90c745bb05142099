"""The exercises of the attention chapter: each judges an answer and hints at the usual mistakes."""

from __future__ import annotations

from typing import Any

import torch

from nnvocab.attention import exercises_long as exercises_long
from nnvocab.attention.masks import causal_mask
from nnvocab.exercises import array, exercise, number


@exercise("attention/gqa-cache", why="Keys and values, for each of the 8 heads that are kept, 128 numbers of 2 bytes.")
def gqa_cache(answer: Any) -> str | None:
    heads, width, size = 8, 128, 2
    return number(
        answer,
        2 * heads * width * size,
        {
            heads * width: "that counts the numbers of the keys; what else is kept, and how many bytes is a number?",
            2
            * heads
            * width: "that is the keys alone, or counts numbers; two tensors are kept, of two bytes a number.",
            2 * 32 * width * size: "that is the cache of multi-head attention; which heads are kept here?",
        },
        "count the tensors kept, times heads kept, times width, times bytes a number.",
    )


@exercise("attention/mqa-saving", why="15 of 16 heads go, from the keys and from the values, 64 numbers each.")
def mqa_saving(answer: Any) -> str | None:
    heads, width = 16, 64
    return number(
        answer,
        2 * (heads - 1) * width,
        {
            (heads - 1) * width: "that is what the keys save; the values are cached too.",
            2 * heads * width: "that is the whole cache of multi-head attention; one head of each stays.",
            2 * width: "that is what is left, not what is saved.",
        },
        "take the numbers that multi-head attention caches for one token, and subtract those of multi-query attention.",
    )


@exercise("attention/chunk-mask", why="The new tokens stand at positions 3 and 4: they see 4 and 5 keys.")
def chunk_mask(answer: Any) -> str | None:
    right = causal_mask(2, 5)
    given = torch.as_tensor(answer)
    if given.shape == (2, 5) and torch.equal(given.bool(), torch.ones(2, 5).tril().bool()):
        return "that mask starts at the first key; the queries are the last two of five positions, not the first two."
    if given.shape == (2, 5) and torch.equal(given.bool(), ~right):
        return "that marks what is hidden; True is to mean: may look."
    return array(answer, right, "which of the five positions had been read when the token at position 3 was read?")


@exercise("attention/scale", why="A head is 512 / 8 = 64 wide, and the score is divided by the square root of that.")
def scale(answer: Any) -> str | None:
    width, heads = 512, 8
    return number(
        answer,
        (width / heads) ** 0.5,
        {
            width**0.5: "that is the root of the model's width; the dot product runs over the width of one head.",
            width / heads: "that is the width of a head; its dot product has that variance, so what has the deviation?",
            heads**0.5: "the number of heads does not matter by itself; how wide is one?",
        },
        "find the width of one head, then take what makes the variance of a dot product over it 1.",
    )


@exercise("attention/it-to-cat", why="The query points along the key of cat, so cat scores highest, and by enough.")
def it_to_cat(answer: Any) -> str | None:
    query = torch.as_tensor(answer, dtype=torch.float32).flatten()
    if query.shape != (4,):
        return f"a query here has 4 numbers (noun, animal, place, verb), and yours has {len(query)}."
    keys = sentence()[1]
    weights = (keys @ query / 2).softmax(-1)
    if weights.argmax() == 5:
        return "it looks at mat most; what do the keys of mat and cat not have in common?"
    if weights.argmax() != 1:
        return f"it looks at word {int(weights.argmax())} most; the key of cat is high in noun and in animal."
    if weights[1] < 0.6:
        return "cat is ahead, but with less than 0.6; a longer query in the same direction makes the softmax sharper."
    return None


def sentence() -> tuple[list[str], torch.Tensor]:
    """The words of the book's example sentence and their hand-made keys: noun, animal, place, verb.

    >>> words, keys = sentence()
    >>> words[1], keys[1].tolist()
    ('cat', [1.0, 1.0, 0.0, 0.0])
    """
    words = "The cat sat on the mat because it was tired".split()
    keys = torch.zeros(len(words), 4)
    keys[1, :2] = 1.0  # cat: a noun, an animal
    keys[5, 0] = keys[5, 2] = 1.0  # mat: a noun, a place
    keys[7, 0] = 0.5  # it: stands for a noun
    keys[2, 3] = keys[8, 3] = 1.0  # sat, was: verbs
    keys[3, 2] = 0.5  # on: points to a place
    return words, keys


@exercise("attention/self-weights", why="Three projections from 64 to 16 without bias: 3 * 64 * 16.")
def self_weights(answer: Any) -> str | None:
    width, d_k = 64, 16
    return number(
        answer,
        3 * width * d_k,
        {
            width * d_k: "that is one projection; which three does the layer have?",
            2 * width * d_k: "that is two projections; values are projected too.",
            3 * width * width: "the projections lead to width 16, not 64.",
            3 * d_k * d_k: "the projections come from width 64.",
        },
        "count the projections, and the size of one: from which width to which?",
    )


@exercise("attention/cross-shape", why="One row for each of 7 that ask, one column for each of 20 that are read.")
def cross_shape(answer: Any) -> str | None:
    given = tuple(int(n) for n in answer)
    if given == (2, 4, 7, 20):
        return None
    if given == (2, 4, 20, 7):
        return "rows belong to those who ask, columns to those who are read."
    if given == (2, 7, 20):
        return "that is one map for each sentence; every head has its own."
    return "the axes are: batch, heads, queries, keys."


@exercise("attention/mha-weights", why="Four projections of 512 by 512 with 512 biases, however many heads.")
def mha_weights(answer: Any) -> str | None:
    width = 512
    return number(
        answer,
        4 * (width * width + width),
        {
            4 * width * width: "those are the weights; the four projections have biases too.",
            3 * (width * width + width): "after the heads are put side by side there is one more projection.",
            8 * 4 * (width * width + width): "each head has only its share of the projections: 64 of 512 rows.",
        },
        "count the projections: queries, keys, values, output; each maps 512 to 512 and adds a bias.",
    )


@exercise("attention/dead-head", why="Another head does the same work: without one of them the other still does.")
def dead_head(answer: Any) -> str | None:
    if str(answer).strip().lower() in {"c", "(c)"}:
        return None
    if str(answer).strip().lower() in {"a", "(a)"}:
        return "its output would be zero then, and its column in the figure as well; is that the only way to loss 0?"
    return "think of two heads that do the same: what happens when one goes, and when both go?"


@exercise("attention/bidirectional-count", why="Each of the 8 real tokens is seen from all 10 positions.")
def bidirectional_count(answer: Any) -> str | None:
    return number(
        answer,
        10 * 8,
        {
            100: "keys that are padding are hidden; how many keys are left?",
            64: "the mask hides keys; the rows of padded queries are computed all the same.",
            36: "nothing is causal here.",
        },
        "the mask has 10 rows, one for each query; how many columns does it leave?",
    )


@exercise("attention/causal-count", why="Row t has t + 1 weights: 1 + 2 + ... + 10.")
def causal_count(answer: Any) -> str | None:
    return number(
        answer,
        55,
        {
            100: "that is the whole square; half of it is hidden.",
            50: "the diagonal is seen: each position looks at itself too.",
            45: "the diagonal is seen: each position looks at itself too.",
        },
        "how many keys does the first position see, the second, ... the tenth?",
    )


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


@exercise("attention/decoupled-head", why="The widths are those of all 16 heads together: 64 / 16 and 128 / 16.")
def decoupled_head(answer: Any) -> str | None:
    given = [float(n) for n in torch.as_tensor(answer, dtype=torch.float64).flatten()]
    if given == [64 / 16, 128 / 16]:
        return None
    if given == [128 / 16, 64 / 16]:
        return "the content path comes first, and it is the narrower one."
    if given == [64, 128]:
        return "those are the widths over all heads together; what is left for one?"
    return "divide each width by the number of heads, and give two numbers."


@exercise("attention/gate-factors", why="The content score is taken 2 g times, the position score 2 - 2 g times.")
def gate_factors(answer: Any) -> str | None:
    g = 0.75
    given = torch.as_tensor(answer, dtype=torch.float64).flatten()
    if given.shape == (2,) and torch.allclose(given, torch.tensor([g, 1 - g], dtype=torch.float64)):
        return "then a gate of one half would halve both scores; at the start it is to change nothing."
    if given.shape == (2,) and torch.allclose(given, torch.tensor([2 - 2 * g, 2 * g], dtype=torch.float64)):
        return "a gate above one half is for content, which comes first."
    return array(given, [2 * g, 2 - 2 * g], "both factors are 1 where the gate is one half, and they sum to 2.")


@exercise("attention/decoupled-cache", why="Keys of both paths and values, 128 + 256 + 512 numbers of 2 bytes.")
def decoupled_cache(answer: Any) -> str | None:
    keys, values = 128 + 256, 512
    return number(
        answer,
        2 * (keys + values),
        {
            keys: "those are the numbers of the keys; the values are kept too, and a number has two bytes.",
            2 * keys: "those are the keys alone; the values are kept too.",
            keys + values: "those are numbers; how many bytes does one take in fp16?",
            2 * (2 * keys + values): "the keys are stored once; two tensors, keys and values, are not two of each.",
        },
        "add the widths of all that is kept, and multiply by the bytes of a number; heads do not matter here.",
    )


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


@exercise("attention/block-weights", why="4 * 64 * 64 for attention, 3 * 64 * 96 for the rest, 64 for each norm.")
def block_weights(answer: Any) -> str | None:
    width, hidden = 64, 96
    attention, feed_forward = 4 * width * width, 3 * width * hidden
    return number(
        answer,
        attention + feed_forward + 2 * width,
        {
            attention + feed_forward: "the norms have a weight for each number too.",
            attention + width: "that is the first half of the block.",
            attention + feed_forward + 4 * width: "a root-mean-square norm has a scale and no shift.",
            attention + 2 * width * hidden + 2 * width: "a gated feed-forward layer has three weights, not two.",
        },
        "count four square projections, three of 64 by 96, and one scale for each norm.",
    )
