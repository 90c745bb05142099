"""The exercises of the layers chapter: each judges an answer and hints at the usual mistakes."""

from __future__ import annotations

import math
from typing import Any

import torch

from nnvocab.exercises import exercise, number


@exercise("layers/lora-count", why="Two projections a layer, each with 8 times 4096 numbers in A and in B.")
def lora_count(answer: Any) -> str | None:
    layers, width, r = 32, 4096, 8
    return number(
        answer,
        layers * 2 * r * 2 * width,
        {
            layers * 2 * r * width: "half of it is missing: each of two projections has both A and B.",
            2 * r * 2 * width: "that is one layer.",
            layers * 2 * width * width: "those are the frozen weights; what is trained goes through rank 8.",
        },
        "count A and B of one projection, then the projections of a layer, then the layers.",
    )


@exercise("layers/lora-scaling", why="The product is scaled by lora_alpha / r.")
def lora_scaling(answer: Any) -> str | None:
    return number(
        answer,
        8 / 16,
        {8: "alpha is divided by the rank.", 16: "that is the rank.", 2: "it is the other way round."},
        "which of the two numbers is divided by the other?",
    )


@exercise("layers/lora-looks", why="A score is a query times a key; values and output only decide what is taken.")
def lora_looks(answer: Any) -> str | None:
    given = set("".join(map(str, answer)).lower()) & set("qkvo")
    if given == {"q", "k"}:
        return None
    if "v" in given:
        return "a value is what is taken once the weights stand; what are the weights made from?"
    if "o" in given:
        return "the output projection comes last, when all has been looked at."
    return "the score has two sides: who asks, and who is asked."


@exercise("layers/adapter-count", why="Down and up have 768 times 64 weights each, and 64 and 768 biases.")
def adapter_count(answer: Any) -> str | None:
    layers, width, size = 12, 768, 64
    weights, biases = 2 * width * size, width + size
    return number(
        answer,
        layers * 2 * (weights + biases),
        {
            layers * 2 * weights: "those are the weights; the biases are trained too.",
            layers * (weights + biases): "each layer has two adapters.",
            2 * (weights + biases): "that is one layer.",
            layers * 2 * (width * size + biases): "an adapter has two weights, down and up.",
        },
        "count one adapter, both weights and both biases, then the adapters.",
    )


@exercise("layers/prefix-count", why="Keys and values, in 24 layers, of 10 positions, 1024 numbers each.")
def prefix_count(answer: Any) -> str | None:
    layers, width, length = 24, 1024, 10
    return number(
        answer,
        2 * layers * width * length,
        {
            layers * width * length: "each layer gets keys and values.",
            width * length: "that is a prompt, before the first layer only.",
            2 * width * length: "that is one layer.",
        },
        "what is learned for one layer and one position? Multiply by positions and layers.",
    )


@exercise("layers/prompt-labels", why="Nothing is to be predicted at the two places of the prompt, which come first.")
def prompt_labels(answer: Any) -> str | None:
    given = [int(n) for n in answer]
    if given == [-100, -100, 5, 6, 7]:
        return None
    if given == [5, 6, 7, -100, -100]:
        return "the prompt stands before the text."
    if given == [5, 6, 7]:
        return "the model gives five outputs now, and each needs a label."
    if sorted(given)[:2] == [0, 0]:
        return "0 is a class like any other; what does the loss ignore?"
    return "five labels: two to be ignored, then those of the text."


@exercise(
    "layers/moe-capacity",
    why="400 tokens make 800 choices, 100 for each expert if even, and 1.25 times that are seats.",
)
def moe_capacity(answer: Any) -> str | None:
    tokens, experts, choices, factor = 4 * 100, 8, 2, 1.25
    return number(
        answer,
        math.ceil(factor * tokens * choices / experts),
        {
            math.ceil(factor * tokens / experts): "each token is sent to two experts: count choices, not tokens.",
            tokens * choices / experts: "that is the even share; the factor is missing.",
            math.ceil(factor * 100 * choices / experts): "all sequences of the batch share the seats.",
        },
        "count the choices of the whole batch, share them out evenly, and multiply by the factor.",
    )


@exercise("layers/balance-loss", why="4 times (half times half, twice, and nothing for the idle two).")
def balance_loss(answer: Any) -> str | None:
    share = torch.tensor([0.5, 0.5, 0.0, 0.0])
    return number(
        answer,
        float(4 * (share * share).sum()),
        {
            float((share * share).sum()): "the sum is to be multiplied by the number of experts.",
            1.0: "that is balance over all four; here two of them are idle.",
            4.0: "that is the value where one expert takes all.",
        },
        "multiply share and probability for each expert, sum, and multiply by the number of experts.",
    )


@exercise("layers/expert-load", why="The shares are of choices and sum to 1, so 1 / 16 each, whatever k is.")
def expert_load_share(answer: Any) -> str | None:
    experts, choices = 16, 4
    return number(
        answer,
        1 / experts,
        {
            choices / experts: "that divides by tokens; the load here divides by choices.",
        },
        "the loads of all experts sum to 1.",
    )


@exercise("layers/expert-choice", why="64 tokens times 2 experts a token, shared by 16 experts.")
def expert_choice_tokens(answer: Any) -> str | None:
    tokens, experts, factor = 64, 16, 2
    return number(
        answer,
        tokens * factor / experts,
        {
            tokens / experts: "that would be one expert a token; the capacity factor says how many.",
            factor: "that is how many experts see a token, on average.",
            tokens * factor: "that is what all experts take together.",
        },
        "the experts together take tokens times capacity factor; share that out.",
    )


@exercise("layers/moe-active", why="Two experts of 10, and the 30 that all tokens share.")
def moe_active(answer: Any) -> str | None:
    expert, chosen, experts, shared = 10, 2, 16, 30
    return number(
        answer,
        chosen * expert + shared,
        {
            experts * expert + shared: "that is what is stored; a token visits two experts.",
            chosen * expert: "attention and embeddings work for every token, too.",
            (experts * expert + shared) / 8: "only the experts are left out, not what all tokens share.",
        },
        "add the experts that a token visits and what all tokens share.",
    )


@exercise(
    "layers/csr-bytes",
    why="20,000 weights are kept, each with 4 bytes for its value and 4 for its column, and 201 rows begin somewhere.",
)
def csr_bytes(answer: Any) -> str | None:
    rows, columns, kept = 200, 1000, 0.1
    count = round(rows * columns * kept)
    return number(
        answer,
        count * 8 + 4 * (rows + 1),
        {
            count * 4: "that counts the values; where they stand has to be stored too.",
            count * 8: "the columns are there; where each row begins is missing.",
            rows * columns * 4: "that is the full layer.",
            count * 4 + 4 * (rows + 1): "each value needs its column, too.",
        },
        "count the weights that are kept; each has a value and a column; and each row has a beginning, and the last an end.",
        rel=1e-6,
    )


@exercise(
    "layers/ticket-rounds",
    why="Each round keeps 0.6 of what is left: 0.6 ** 4 = 0.13, so 87 % are zero after 4 rounds.",
)
def ticket_rounds(answer: Any) -> str | None:
    keep = 0.6
    return number(
        answer,
        100 * (1 - keep**4),
        {
            100 * keep**4: "that is the share that is left.",
            100 * 4 * (1 - keep): "the rounds do not add up: each takes 40 % of what is left, not of all.",
            100 * (1 - keep): "that is one round.",
        },
        "multiply what each round leaves, four times, and subtract from one.",
        rel=5e-3,
    )


@exercise("layers/squash-length", why="A length of 2 becomes 4 / (1 + 4).")
def squash_length(answer: Any) -> str | None:
    length = 2.0
    return number(
        answer,
        length**2 / (1 + length**2),
        {
            length / (1 + length): "the lengths are squared, above and below.",
            1.0: "a length of 1 is never reached.",
            1 / (1 + length**2): "that is what is missing to 1.",
        },
        "put the length into the equation: square over one plus square.",
    )


@exercise(
    "layers/coupling-sum", why="Each of the 36 parts shares itself out among the wholes, and its couplings sum to 1."
)
def coupling_sum(answer: Any) -> str | None:
    parts, wholes = 36, 10
    return number(
        answer,
        parts,
        {
            wholes: "that would be a softmax over the parts, for each whole.",
            1.0: "that is the sum for one part.",
            parts * wholes: "that is how many couplings there are.",
        },
        "over which axis does the softmax run, and how many such sums are there?",
    )


@exercise("layers/dense-count", why="784 * 128 + 128 in the first layer, 128 * 10 + 10 in the head.")
def dense_count(answer: Any) -> str | None:
    pixels, neurons, classes = 784, 128, 10
    return number(
        answer,
        pixels * neurons + neurons + neurons * classes + classes,
        {
            pixels * neurons + neurons * classes: "those are the weights; each neuron and each output has a bias too.",
            pixels * neurons + neurons: "that is the first layer; the head is still missing.",
            (pixels + 1) * (neurons + 1): "the layers stand one after the other; count each by itself and add.",
        },
        "a layer from I to O has I times O weights and O biases.",
        rel=1e-6,
    )


@exercise("layers/bilinear-rank", why="The cube has 64 * 64 * 32 weights, the three factors 8 * (64 + 64 + 32).")
def bilinear_rank(answer: Any) -> str | None:
    first, second, out, rank = 64, 64, 32, 8
    return number(
        answer,
        first * second * out - rank * (first + second + out),
        {
            first * second * out: "that is the full layer; what does the other have?",
            rank * (first + second + out): "that is what the low-rank layer has, not what it saves.",
            first * second * out - rank * (first + second): "the projection out has weights too.",
        },
        "count the cube, count the three factors, subtract.",
        rel=1e-6,
    )


@exercise(
    "layers/rows-with-gradient", why="Rows 1, 2 and 5 are read; row 0 is padding, and reading twice is no new row."
)
def rows_with_gradient(answer: Any) -> str | None:
    ids, padding = [[2, 5, 2], [0, 5, 1]], 0
    read = {i for row in ids for i in row}
    return number(
        answer,
        len(read - {padding}),
        {
            len(read): "one of these is the padding row, whose gradient is blocked.",
            6: "a row that is read twice is one row.",
            5: "a row that is read twice is one row.",
        },
        "list the different numbers in the batch, and take out the padding.",
    )


@exercise("layers/dropout-survivor", why="With p = 0.2 survivors are divided by 0.8, so that the mean stays.")
def dropout_survivor(answer: Any) -> str | None:
    value, p = 8.0, 0.2
    return number(
        answer,
        value / (1 - p),
        {
            value: "that would lower the mean: a fifth of the numbers is gone.",
            value * (1 - p): "that shrinks it; the survivors have to make up for those that are gone.",
            value / p: "divide by the share that stays, not by the share that goes.",
        },
        "the mean has to stay the same: by what must the survivors grow?",
    )


@exercise("layers/gated-width", why="Three matrices of width F cost what two of width 3072 do at F = 2/3 * 3072.")
def width_of_the_gated_block(answer: Any) -> str | None:
    width = 768
    return number(
        answer,
        2 * 4 * width / 3,
        {
            4 * width: "at that width three matrices cost half as much again as two.",
            2 * width: "that is half of it; three matrices stand against two.",
            6 * width: "that is wider; a third matrix has to be paid for by a narrower one.",
        },
        "3 * 768 * F = 2 * 768 * 3072: solve for F.",
        rel=2e-3,
    )
