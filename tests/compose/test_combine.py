"""The combine modes: values and gradients, each against the sum written out."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.compose.combine import (
    CombineMode,
    add_branches,
    average_branches,
    combine,
    concat_branches,
    pad_to_widest,
    weighted_sum,
    weighted_sum_stacked,
)

THREE = [torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.5, 0.5, 0.5]]), torch.tensor([[0.2, 0.3, 0.2]])]


def doubles(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("combine-modes", by="brute force")
def test_the_modes_are_what_is_written_out_number_by_number():
    a, b, c = doubles((2, 3), (2, 3), (2, 3))
    for n in range(2):
        for i in range(3):
            assert_close(add_branches([a, b, c])[n, i], a[n, i] + b[n, i] + c[n, i])
            assert_close(average_branches([a, b, c])[n, i], (a[n, i] + b[n, i] + c[n, i]) / 3)
            for k, part in enumerate((a, b, c)):
                assert concat_branches([a, b, c])[n, 3 * k + i] == part[n, i]


def test_the_example_of_three_branches():
    assert_close(combine(THREE, "add"), torch.tensor([[1.7, 2.8, 3.7]]))
    assert_close(combine(THREE, "avg"), torch.tensor([[1.7, 2.8, 3.7]]) / 3)
    assert combine([torch.zeros(1, n) for n in (3, 2, 4)]).shape == (1, 9)


def test_concat_hands_back_slices_add_copies_and_avg_parts_of_the_gradient():
    parts = doubles((1, 3), (1, 2), (1, 4))
    g = torch.arange(9.0, dtype=torch.float64)[None]
    assert_close(torch.autograd.grad(concat_branches(parts), parts, g), (g[:, :3], g[:, 3:5], g[:, 5:]))
    same = doubles((1, 3), (1, 3), (1, 3))
    g = g[:, :3]
    assert_close(torch.autograd.grad(add_branches(same), same, g), (g, g, g))
    assert_close(torch.autograd.grad(average_branches(same), same, g), (g / 3, g / 3, g / 3))


@pytest.mark.oracle("gate-weighted-sum-of-branches", by="closed form")
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_gradients_to_branches_and_to_the_gate_are_as_derived(temperature):
    *outputs, logits = doubles((2, 4), (2, 4), (2, 4), (2, 3))
    w = (logits / temperature).softmax(-1)
    g = torch.randn(2, 4, dtype=torch.float64)
    grads = torch.autograd.grad(weighted_sum(outputs, w), [*outputs, logits], g)
    for i in range(3):
        assert_close(grads[i], w[:, i : i + 1] * g)
    s = torch.stack([(g * y).sum(-1) for y in outputs], -1)
    assert_close(grads[3], w * (s - (w * s).sum(-1, keepdim=True)) / temperature)


def test_weighted_sum_of_the_example():
    assert_close(weighted_sum(THREE, torch.tensor([[0.6, 0.3, 0.1]])), torch.tensor([[0.77, 1.38, 1.97]]))


@pytest.mark.parametrize(
    "shapes", [((2, 4), (2, 2)), ((2, 5, 4), (2, 2)), ((2, 5, 4), (2, 5, 2)), ((2, 3, 4, 4), (2, 2))]
)
@pytest.mark.parametrize("pad", [False, True])
def test_stacked_form_agrees_on_the_value_and_on_every_gradient(shapes, pad):
    shape, weight_shape = shapes
    other = (*shape[:-1], shape[-1] - pad)
    inputs = doubles(shape, other, weight_shape)
    values = [f(inputs[:2], inputs[2], pad=pad) for f in (weighted_sum, weighted_sum_stacked)]
    assert_close(*values)
    g = torch.randn_like(values[0])
    assert_close(*[torch.autograd.grad(v, inputs, g) for v in values])


def test_padding_adds_zeros_at_the_end_of_the_axis():
    a, b = pad_to_widest([torch.ones(2, 4, 3), torch.ones(2, 2, 3)], dim=1)
    assert a.shape == b.shape == (2, 4, 3)
    assert b[:, :2].eq(1).all() and b[:, 2:].eq(0).all()
    sizes = [torch.ones(1, n) for n in (4, 2, 3)]
    w = torch.tensor([[0.5, 0.3, 0.2]])
    assert_close(combine(sizes, "filter", weights=w, pad=True), torch.tensor([[1.0, 1.0, 0.7, 0.5]]))
    assert_close(combine(sizes, "add", pad=True), torch.tensor([[3.0, 3.0, 2.0, 1.0]]))


def test_the_features_are_the_last_axis_where_none_is_named():
    a, b = doubles((2, 4, 3), (2, 4, 1))
    wide = torch.cat([b, torch.zeros(2, 4, 2)], 2)
    for joined in (concat_branches([a, b]), combine([a, b])):
        assert_close(joined, torch.cat([a, b], 2))
    for total in (add_branches([a, b], pad=True), combine([a, b], "add", pad=True)):
        assert_close(total, a + wide)
    assert_close(average_branches([a, b], pad=True), (a + wide) / 2)


def test_a_mode_is_its_name():
    assert CombineMode.of("avg") is CombineMode.AVG and CombineMode.ADD == "add"
    with pytest.raises(ValueError, match="concat, add, avg, grid_scatter, filter"):
        combine(THREE, "sum")


@pytest.mark.parametrize("mode", ["add", "avg", "filter"])
def test_unequal_sizes_are_refused_unless_padded(mode):
    parts, w = [torch.zeros(1, 3), torch.zeros(1, 2)], torch.tensor([[0.5, 0.5]])
    with pytest.raises(ValueError, match="Stitch.*pad=True"):
        combine(parts, mode, weights=w)


def test_what_cannot_be_combined_is_refused():
    with pytest.raises(ValueError, match="at least one branch"):
        combine([], "add")
    with pytest.raises(ValueError, match="different numbers of axes"):
        combine([torch.zeros(1, 3), torch.zeros(1, 2, 3)])
    with pytest.raises(ValueError, match="more than axis"):
        combine([torch.zeros(1, 3), torch.zeros(2, 3)])
    with pytest.raises(ValueError, match="needs weights="):
        combine(THREE, "filter")
    with pytest.raises(ValueError, match="needs grid="):
        combine(THREE, "grid_scatter")
    with pytest.raises(ValueError, match=r"2 weights for 3 branches.*nn.Linear\(in_features, 3\)"):
        weighted_sum(THREE, torch.tensor([[0.5, 0.5]]))
    with pytest.raises(ValueError, match="first axes of the outputs"):
        weighted_sum(THREE, torch.ones(2, 3))


def test_branches_of_one_number_a_sample_are_mixed_alike_in_both_forms():
    inputs = doubles((3,), (3,), (3, 2))
    values = [f(inputs[:2], inputs[2]) for f in (weighted_sum, weighted_sum_stacked)]
    by_hand = inputs[0] * inputs[2][:, 0] + inputs[1] * inputs[2][:, 1]
    assert_close(values, [by_hand, by_hand])


def test_an_empty_batch_stays_empty():
    parts = [torch.zeros(0, 3), torch.zeros(0, 3)]
    assert all(f(parts, torch.zeros(0, 2)).shape == (0, 3) for f in (weighted_sum, weighted_sum_stacked))


def test_padding_a_middle_axis_before_the_sum():
    a, b, w = torch.randn(2, 4, 5), torch.randn(2, 3, 5), torch.rand(2, 2)
    for f in (weighted_sum, weighted_sum_stacked):
        y = f([a, b], w, dim=1, pad=True)
        assert_close(y[:, :3], w[:, :1, None] * a[:, :3] + w[:, 1:, None] * b)
        assert_close(y[:, 3], w[:, :1] * a[:, 3])


def test_an_axis_that_is_not_there_and_a_single_weight_are_refused():
    with pytest.raises(ValueError, match="dim is 5.*with 2 axes"):
        combine(THREE, "concat", dim=5)
    with pytest.raises(ValueError, match="with 0 axes"):
        combine([torch.tensor(1.0), torch.tensor(2.0)], "add")
    with pytest.raises(ValueError, match="a single weight for 3 branches"):
        weighted_sum(THREE, torch.tensor(1.0))
