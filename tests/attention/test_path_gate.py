"""What only the gate between the two paths must hold; the contract tests run on every entry beside these."""

import math

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention.path_gate import PathGate, path_gate


@pytest.mark.oracle("semantic-and-geometric-gate", by="closed form")
def test_is_the_logistic_function_of_a_number_and_a_dot_product():
    x, logit, weight = torch.randn(2, 3, 5), torch.randn(4), torch.randn(4, 5)
    g = path_gate(x, logit, weight)
    for b, h, t in [(b, h, t) for b in range(2) for h in range(4) for t in range(3)]:
        raw = float(logit[h]) + sum(float(w) * float(v) for w, v in zip(weight[h], x[b, t], strict=True))
        assert_close(g[b, h, t].item(), 1 / (1 + math.exp(-raw)), rtol=1e-4, atol=1e-5)


def test_starts_at_one_half_whatever_it_reads():
    x = torch.randn(2, 3, 8)
    for gate in (PathGate(4), PathGate(4, 8)):
        assert torch.equal(gate(x), torch.full((2, 4, 3), 0.5))


def test_a_static_gate_is_the_same_at_every_position_and_an_input_dependent_one_is_not():
    x = torch.randn(2, 6, 8)
    static, reading = PathGate(4), PathGate(4, 8)
    with torch.no_grad():
        static.logit.normal_()
        reading.weight.normal_()
    assert static(x).std(dim=2).max() == 0
    assert reading(x).std(dim=2).min() > 0


def test_the_log_has_one_number_a_head():
    gate, x = PathGate(4, 8), torch.randn(2, 6, 8)
    with torch.no_grad():
        gate.weight.normal_()
    assert_close(gate.per_head(x), gate(x).mean(dim=(0, 2)).detach())
    assert not gate.per_head(x).requires_grad


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        PathGate(0)
    with pytest.raises(ValueError, match="this gate reads"):
        PathGate(4, 8)(torch.zeros(2, 3, 7))
    with pytest.raises(ValueError, match="this gate reads"):
        PathGate(4)(torch.zeros(3, 7))
    with pytest.raises(ValueError, match="at least 1"):
        PathGate(2, 0)
    for x, logit, weight in (((2, 3, 8), (4,), (4, 7)), ((2, 3, 8), (4, 1), None), ((3, 8), (4,), None)):
        with pytest.raises(ValueError, match="need"):
            path_gate(torch.zeros(x), torch.zeros(logit), None if weight is None else torch.zeros(weight))
