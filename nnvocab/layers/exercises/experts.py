"""Exercises about experts."""

from __future__ import annotations

import math
from typing import Any

import torch

from nnvocab.exercises import exercise, number


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
            1e6 * (chosen * expert + shared): "the question is how many millions.",
            chosen * expert: "attention and embeddings work for every token, too.",
            (experts * expert + shared) / 8: "only the experts are left out, not what all tokens share.",
        },
        "add the experts that a token visits and what all tokens share.",
    )
