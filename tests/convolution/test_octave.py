"""What only octave convolution must hold; the contract tests run on every entry beside these."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from nnvocab.convolution.octave import OctaveConv2d, octave_conv2d, octave_conv2d_torch, octave_multiply_adds


def new(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.oracle("octave-convolution", by="brute force")
def test_is_four_paths_pixel_by_pixel():
    with torch.no_grad():
        high, low = new(1, 2, 4, 6), new(1, 1, 2, 3)
        hh, lh, hl, ll = (new(o, c, 3, 3) for o, c in ((1, 2), (1, 1), (2, 2), (2, 1)))

        def at(maps, kernels, o, u, v):
            total = 0.0
            for c, i, j in torch.cartesian_prod(*map(torch.arange, kernels.shape[1:])).tolist():
                row, column = u + i - 1, v + j - 1
                if 0 <= row < maps.shape[2] and 0 <= column < maps.shape[3]:
                    total += (kernels[o, c, i, j] * maps[0, c, row, column]).item()
            return total

        pooled = torch.zeros(1, 2, 2, 3, dtype=torch.float64)
        for c, u, v in torch.cartesian_prod(*map(torch.arange, (2, 2, 3))).tolist():
            pooled[0, c, u, v] = high[0, c, 2 * u : 2 * u + 2, 2 * v : 2 * v + 2].sum() / 4
        y_high, y_low = octave_conv2d(high, low, (hh, lh), (hl, ll))
        for u, v in torch.cartesian_prod(torch.arange(4), torch.arange(6)).tolist():
            expected = at(high, hh, 0, u, v) + at(low, lh, 0, u // 2, v // 2)
            assert y_high[0, 0, u, v].item() == pytest.approx(expected)
        for o, u, v in torch.cartesian_prod(*map(torch.arange, (2, 2, 3))).tolist():
            expected = at(low, ll, o, u, v) + at(pooled, hl, o, u, v)
            assert y_low[0, o, u, v].item() == pytest.approx(expected)


@pytest.mark.parametrize(("first", "last"), [(False, False), (True, False), (False, True), (True, True)])
def test_torch_form_agrees_on_the_value_and_on_every_gradient(first, last):
    high, low = new(2, 2, 4, 6), new(2, 3, 2, 3)
    hh, lh, hl, ll = (new(o, c, 3, 3) for o, c in ((3, 2), (3, 3), (2, 2), (2, 3)))
    bias_high, bias_low = new(3), new(2)
    if first:
        low = lh = ll = None
    if last:
        hl = ll = bias_low = None
    used = [t for t in (high, low, hh, lh, hl, ll, bias_high, bias_low) if t is not None]
    results = []
    for function in (octave_conv2d, octave_conv2d_torch):
        outputs = [y for y in function(high, low, (hh, lh), (hl, ll), (bias_high, bias_low)) if y is not None]
        loss = sum((y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum() for y in outputs)
        results.append((outputs, torch.autograd.grad(loss, used)))
    assert_close(results[0], results[1])


def test_without_a_low_part_is_plain_convolution():
    layer, x = OctaveConv2d(4, 6, 3, alpha_in=0, alpha_out=0), torch.randn(2, 4, 6, 6)
    assert_close(layer(x), F.conv2d(x, layer.hh, layer.bias_high, padding=1))
    assert layer.lh is None and layer.hl is None and layer.ll is None


def test_first_middle_and_last_layers_make_a_row():
    model = nn.Sequential(
        OctaveConv2d(3, 8, 3, alpha_in=0, alpha_out=0.25),
        OctaveConv2d(8, 8, 3, alpha_in=0.25, alpha_out=0.5),
        OctaveConv2d(8, 5, 3, alpha_in=0.5, alpha_out=0),
    )
    x = torch.randn(2, 3, 8, 8)
    high, low = model[0](x)
    assert high.shape == (2, 6, 8, 8) and low.shape == (2, 2, 4, 4)
    assert model(x).shape == (2, 5, 8, 8)


@pytest.mark.parametrize("alpha", [0, 0.25, 0.5, 0.75])
def test_the_work_is_what_torch_counts_and_what_the_formula_says(alpha):
    layer = OctaveConv2d(8, 8, 3, alpha_in=alpha, alpha_out=alpha)
    low = torch.zeros(1, layer.low_in, 4, 6) if alpha else None
    with FlopCounterMode(display=False) as counter:
        layer(torch.zeros(1, layer.high_in, 8, 12), low)
    count = octave_multiply_adds(8, 8, 3, (8, 12), alpha, alpha)
    assert counter.get_total_flops() == 2 * count["total"]
    assert count["total"] / count["plain"] == pytest.approx(1 - 0.75 * alpha * (2 - alpha))


def test_has_as_many_weights_as_a_plain_convolution():
    layer, plain = OctaveConv2d(8, 12, 3), nn.Conv2d(8, 12, 3)
    assert sum(p.numel() for p in layer.parameters()) == sum(p.numel() for p in plain.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha_in": 1.0}, "alpha_in is 1.0"),
        ({"alpha_out": -0.1}, "alpha_out is -0.1"),
        ({"alpha_in": 0.1}, "from 1 / 4"),
    ],
)
def test_shares_that_leave_a_part_empty_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        OctaveConv2d(4, 4, 3, **options)


@pytest.mark.parametrize(
    ("high", "low", "message"),
    [
        ((1, 2, 5, 6), (1, 2, 2, 3), "even H and W"),
        ((1, 2, 4, 6), (1, 2, 4, 6), r"must be \(2, 3\)"),
        ((1, 2, 4, 6), None, "needs a low part of 2 channels"),
        ((1, 3, 4, 6), (1, 2, 2, 3), "x has 3 channels"),
        ((2, 2, 4, 6), (1, 2, 2, 3), "the batch of the high part"),
        ((1, 2, 4, 6), (2, 2, 3), r"\(1, C, 2, 3\) is needed"),
    ],
)
def test_parts_that_do_not_fit_are_refused(high, low, message):
    with pytest.raises(ValueError, match=message):
        OctaveConv2d(4, 4, 3)(torch.zeros(high), None if low is None else torch.zeros(low))


def test_a_first_layer_takes_no_low_part():
    with pytest.raises(ValueError, match="no low part, since alpha_in is 0"):
        OctaveConv2d(4, 4, 3, alpha_in=0)(torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 2, 2))


def test_channels_are_at_least_one():
    with pytest.raises(ValueError, match="out_channels is 0"):
        OctaveConv2d(4, 0, 3, alpha_out=0)


@pytest.mark.parametrize("function", [octave_conv2d, octave_conv2d_torch])
def test_a_low_part_needs_kernels_that_read_it(function):
    high, low, kernel = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 2, 2), torch.zeros(2, 2, 3, 3)
    for to_high, to_low in (((kernel, None), (None, None)), ((kernel, kernel), (kernel, None))):
        with pytest.raises(ValueError, match="kernels that read it"):
            function(high, low, to_high, to_low)


@pytest.mark.parametrize(
    ("size", "alpha_in", "alpha_out", "message"),
    [((5, 4), 0.5, 0.5, "must be even"), ((4, 4), 1.0, 0.5, "alpha_in is 1.0"), ((4, 4), 0.5, -1, "alpha_out is -1")],
)
def test_work_that_no_layer_does_is_not_counted(size, alpha_in, alpha_out, message):
    with pytest.raises(ValueError, match=message):
        octave_multiply_adds(8, 8, 3, size, alpha_in, alpha_out)


def test_begins_with_the_weights_of_a_plain_convolution_cut_into_four():
    torch.manual_seed(0)
    layer = OctaveConv2d(8, 12, 3, alpha_in=0.25, alpha_out=0.5)
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 12, 3)
    rows = [torch.cat([layer.hh, layer.lh], 1), torch.cat([layer.hl, layer.ll], 1)]
    assert (layer.hh.shape, layer.ll.shape) == ((6, 6, 3, 3), (6, 2, 3, 3))
    assert_close(torch.cat(rows), plain.weight, rtol=0, atol=0)
    assert_close(torch.cat([layer.bias_high, layer.bias_low]), plain.bias, rtol=0, atol=0)
