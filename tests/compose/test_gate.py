"""The gate: its kinds, its temperature, its hard choice."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.compose.gate import Gate, gate_weights, straight_through, temperature_at


def brute_force_entmax(z, alpha):
    """Find the threshold by halving an interval two hundred times, in Python's own numbers."""
    z = [(alpha - 1) * v for v in z.tolist()]
    low, high = max(z) - 1, max(z)
    for _ in range(200):
        middle = (low + high) / 2
        total = sum(max(v - middle, 0.0) ** (1 / (alpha - 1)) for v in z)
        low, high = (middle, high) if total > 1 else (low, middle)
    return torch.tensor([max(v - low, 0.0) ** (1 / (alpha - 1)) for v in z], dtype=torch.float64)


@pytest.mark.oracle("gate-configuration-options", by="brute force")
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_logits_are_divided_by_the_temperature_before_each_kind(temperature):
    z = torch.tensor([2.0, 1.0, 0.5, 1.5], dtype=torch.float64)
    e = torch.exp(z / temperature)
    expected = {"softmax": e / e.sum(), "temperature": e / e.sum()}
    expected["sparsemax"] = brute_force_entmax(z / temperature, 2.0)
    expected["entmax"] = brute_force_entmax(z / temperature, 1.5)
    for kind, w in expected.items():
        assert_close(gate_weights(z, kind=kind, temperature=temperature), w, rtol=1e-6, atol=1e-9)


def test_entmax_lies_between_softmax_and_sparsemax():
    z = torch.tensor([2.0, 1.0, 0.5, 1.5])
    assert_close(gate_weights(z, kind="entmax", alpha=1.0), z.softmax(-1))
    assert_close(gate_weights(z, kind="entmax", alpha=2.0), gate_weights(z, kind="sparsemax"))


def test_known_temperatures():
    z = torch.tensor([2.0, 1.0])
    for T in (1.0, 0.5, 0.1):
        first = 1 / (1 + math.exp(-1 / T))
        assert_close(gate_weights(z, temperature=T), torch.tensor([first, 1 - first]))
    assert gate_weights(z, temperature=0.1)[0] > 0.9999


def test_how_many_are_zero_depends_on_the_gaps():
    assert_close(gate_weights(torch.zeros(5), kind="sparsemax"), torch.full((5,), 0.2))
    assert_close(gate_weights(torch.tensor([2.0, 1.0]), kind="sparsemax"), torch.tensor([1.0, 0.0]))
    assert gate_weights(torch.tensor([0.2, 0.1, 0.0]), kind="entmax").gt(0).all()
    assert gate_weights(torch.tensor([3.0, 0.0, -3.0]), kind="entmax").eq(0).any()


@pytest.mark.parametrize("kind", ["softmax", "sparsemax", "entmax"])
def test_top_k_shares_among_the_largest(kind):
    z = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    w = gate_weights(z, kind=kind, top_k=2, temperature=2.0)
    values, index = z.topk(2, -1)
    assert_close(w.gather(-1, index), gate_weights(values, kind=kind, temperature=2.0))
    assert (w > 0).sum(-1).max() <= 2
    assert_close(w.sum(-1), torch.ones(2, 3, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda v: gate_weights(v, kind=kind, top_k=2), z)


def test_a_learned_alpha_gets_a_gradient():
    torch.manual_seed(0)
    gate = Gate(nn.Linear(4, 3), kind="entmax", alpha="learned")
    x = torch.randn(5, 4)
    assert_close(gate(x), gate_weights(gate.layer(x), kind="entmax"), rtol=1e-4, atol=1e-5)
    gate(x)[:, 0].square().sum().backward()
    assert gate.raw_alpha.grad.abs() > 0


@pytest.mark.oracle("learned-routing-by-the-gate", by="closed form")
def test_is_the_softmax_of_its_layer():
    gate = Gate(nn.Linear(4, 3), temperature=0.5)
    x = torch.randn(2, 4)
    e = torch.exp(2 * (x @ gate.layer.weight.mT + gate.layer.bias))
    assert_close(gate(x), e / e.sum(-1, keepdim=True))
    assert gate.num_branches == 3 and "temperature=0.5" in repr(gate)


def test_a_hard_choice_is_one_branch_with_the_gradient_of_the_softmax():
    z = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    y, g = straight_through(z, temperature=0.7), torch.randn(4, 3, dtype=torch.float64)
    assert_close(y.detach(), nn.functional.one_hot(z.argmax(-1), 3).double())
    assert_close(*torch.autograd.grad(y, z, g), *torch.autograd.grad((z / 0.7).softmax(-1), z, g))
    assert_close(Gate(nn.Identity(), hard=True)(z), straight_through(z))


def test_noise_chooses_with_the_probabilities_of_the_softmax():
    z = torch.tensor([1.0, 0.0, -1.0]).expand(20000, 3)
    drawn = straight_through(z, generator=torch.Generator().manual_seed(0)).mean(0)
    assert_close(drawn, z[0].softmax(-1), rtol=0, atol=0.015)


def test_a_relu_before_the_softmax_is_refused_for_it_leaves_no_gradient():
    z = torch.tensor([-1.0, -2.0], requires_grad=True)
    w = z.relu().softmax(0)
    w[0].backward()
    assert w.tolist() == [0.5, 0.5] and z.grad.tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="ends in ReLU"):
        Gate(nn.Sequential(nn.Linear(4, 2), nn.ReLU()))


def test_the_schedule_falls_by_the_same_factor():
    course = [temperature_at(s, 5, start=4.0, end=0.25) for s in range(5)]
    assert_close(course, [4.0, 2.0, 1.0, 0.5, 0.25])
    assert temperature_at(99, 5, start=4.0, end=0.25) == 0.25
    with pytest.raises(ValueError, match="above 0"):
        temperature_at(0, 5, end=0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "hardmax"}, "softmax, temperature, sparsemax, entmax"),
        ({"temperature": 0.0}, "above 0"),
        ({"alpha": 0.5, "kind": "entmax"}, "at least 1"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_k": 4}, "3 branches"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        gate_weights(torch.zeros(1, 3), **options)
    with pytest.raises(ValueError, match=message):
        Gate(nn.Linear(4, 3), **options)


def test_hard_goes_alone():
    with pytest.raises(ValueError, match="by itself"):
        Gate(nn.Linear(4, 3), kind="sparsemax", hard=True)
    with pytest.raises(ValueError, match="above 0"):
        straight_through(torch.zeros(1, 2), temperature=0.0)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_sparse_kinds_agree_with_the_entmax_package(temperature):
    peer = pytest.importorskip("entmax", reason="the entmax package is an optional peer")
    z = torch.randn(20, 6, dtype=torch.float64, requires_grad=True)
    g = torch.randn(20, 6, dtype=torch.float64)
    for kind, theirs in (("sparsemax", peer.sparsemax), ("entmax", peer.entmax15)):
        ours, expected = gate_weights(z, kind=kind, temperature=temperature), theirs(z / temperature, dim=-1)
        assert_close(ours, expected)
        assert_close(torch.autograd.grad(ours, z, g), torch.autograd.grad(expected, z, g))


def test_a_single_weight_teaches_a_gate_nothing_and_is_refused():
    z = torch.randn(4, 3, requires_grad=True)
    w = gate_weights(z, top_k=1)
    (slope,) = torch.autograd.grad(w, z, torch.randn(4, 3))
    assert slope.abs().max() == 0
    with pytest.raises(ValueError, match="top_k=2, or hard=True"):
        Gate(nn.Linear(4, 3), top_k=1)
    assert_close(Gate(nn.Linear(4, 1), top_k=1)(torch.randn(2, 4)), torch.ones(2, 1))  # one branch alone has no choice


def test_the_temperature_may_fall_while_training():
    gate, x = Gate(nn.Linear(4, 3)), torch.randn(5, 4)
    logits = gate.layer(x)
    for step in range(3):
        gate.temperature = temperature_at(step, 3, start=2.0, end=0.5)
        assert_close(gate(x), (logits / (2.0, 1.0, 0.5)[step]).softmax(-1))


def test_a_low_temperature_leaves_little_gradient():
    z = torch.tensor([2.0, 1.0], dtype=torch.float64, requires_grad=True)
    for T in (1.0, 0.5, 0.1):
        w = gate_weights(z, temperature=T)
        (slope,) = torch.autograd.grad(w[0], z)
        assert_close(slope[0], w[0].detach() * w[1].detach() / T)  # w (1 - w) / T


def test_a_learned_alpha_belongs_to_entmax_and_stays_between_its_limits():
    gate = Gate(nn.Linear(4, 3), kind="entmax", alpha="learned")
    x = torch.randn(5, 4)
    for raw, alpha in ((-20.0, 1.0), (20.0, 2.0)):
        with torch.no_grad():
            gate.raw_alpha.fill_(raw)
        assert_close(gate(x), gate_weights(gate.layer(x), kind="entmax", alpha=alpha), rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="it would never learn"):
        Gate(nn.Linear(4, 3), alpha="learned")
    with pytest.raises(ValueError, match="or 'learned'"):
        Gate(nn.Linear(4, 3), kind="entmax", alpha="free")


def test_a_gate_needs_a_module():
    with pytest.raises(TypeError, match="layer is a function"):
        Gate(lambda x: x)
