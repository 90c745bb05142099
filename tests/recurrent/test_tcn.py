"""What a temporal convolutional network must hold: causal, as far back as the formula says, the same as a stream."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.recurrent import TCN, causal_conv, causal_conv_fused, receptive_field


@pytest.mark.oracle("temporal-convolutional-network", by="brute force")
def test_is_the_blocks_written_out_position_by_position():
    tcn = TCN(2, (3, 3), kernel_size=2).double().eval()
    x = torch.randn(1, 2, 6, dtype=torch.float64)

    def conv(values, layer, d):
        v, g = layer.parametrizations.weight.original1, layer.parametrizations.weight.original0
        w = g * v / v.square().sum((1, 2), keepdim=True).sqrt()  # weight norm: a length and a direction
        out = []
        for t in range(len(values)):
            past = values[t - d] if t >= d else torch.zeros_like(values[0])
            out.append(torch.relu(w[:, :, 0] @ past + w[:, :, 1] @ values[t] + layer.bias))
        return out

    values = list(x[0].T)
    for i, block in enumerate(tcn.blocks):
        inner = conv(conv(values, block.conv1, 2**i), block.conv2, 2**i)
        skip = [block.skip.weight[:, :, 0] @ v + block.skip.bias for v in values] if i == 0 else values
        values = [torch.relu(a + b) for a, b in zip(inner, skip, strict=True)]
    assert_close(tcn(x)[0].T, torch.stack(values))


def test_fused_form_agrees_on_the_value_and_on_every_gradient():
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in [(2, 3, 9), (4, 3, 3), (4,)]]
    results = []
    for function in (causal_conv, causal_conv_fused):
        y = function(*inputs, dilation=2)
        results.append([y, *torch.autograd.grad((y * torch.linspace(-1, 1, 9, dtype=y.dtype)).sum(), inputs)])
    assert_close(*results)


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_receptive_field_is_what_the_formula_counts(kernel_size, levels):
    torch.manual_seed(levels)
    tcn = TCN(2, (8,) * levels, kernel_size).double().eval()
    T = tcn.receptive_field + 5
    x = torch.randn(16, 2, T, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(tcn(x)[:, :, -1].sum(), x)
    seen = gradient.abs().sum((0, 1)) > 0
    assert tcn.receptive_field == receptive_field(kernel_size, levels) == 1 + 2 * (kernel_size - 1) * (2**levels - 1)
    assert not seen[: T - tcn.receptive_field].any()
    assert seen[T - tcn.receptive_field]


def test_it_never_looks_ahead():
    tcn, x = TCN(2, (4, 4), 3), torch.randn(1, 2, 10)
    changed = x.clone()
    changed[:, :, 6:] += 1.0
    assert_close(tcn(x)[:, :, :6], tcn(changed)[:, :, :6])
    assert not torch.allclose(tcn(x)[:, :, 6:], tcn(changed)[:, :, 6:])


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
@pytest.mark.parametrize("pieces", [[1] * 12, [5, 1, 6], [12], [2, 10]])
def test_as_a_stream_it_says_the_same(pieces, kernel_size):
    tcn, x = TCN(2, (4, 3, 3), kernel_size), torch.randn(2, 2, 12)
    past, outputs = None, []
    for piece in x.split(pieces, dim=2):
        y, past = tcn.stream(piece, past)
        outputs.append(y)
    assert_close(torch.cat(outputs, dim=2), tcn(x))


def test_dropout_acts_while_training_only():
    tcn, x = TCN(2, (8, 8), 3, dropout=0.5), torch.randn(2, 2, 10)
    assert not torch.equal(tcn(x), tcn(x))
    assert torch.equal(tcn.eval()(x), tcn(x))


def test_is_the_peer_with_the_same_weights():
    peer = pytest.importorskip("pytorch_tcn", reason="pytorch-tcn is an optional peer")
    ours = TCN(2, (3, 4), kernel_size=3).eval()
    theirs = peer.TCN(2, [3, 4], kernel_size=3, use_norm="weight_norm", kernel_initializer="normal").eval()
    with torch.no_grad():
        for block, other in zip(ours.blocks, theirs.network, strict=True):
            for a, b in ((block.conv1, other.conv1), (block.conv2, other.conv2)):
                b.weight = a.weight
                b.bias.copy_(a.bias)
            if other.downsample is not None:
                other.downsample.weight.copy_(block.skip.weight)
                other.downsample.bias.copy_(block.skip.bias)
    x = torch.randn(2, 2, 20)
    assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TCN(2, ()), "must name a level"),
        (lambda: TCN(2, (3,), 0), "at least 1"),
        (lambda: TCN(0, (3,)), "in_channels 0"),
        (lambda: TCN(2, (3, 0)), "each width"),
        (lambda: TCN(2, (3,), dropout=1.5), "dropout is 1.5"),
        (lambda: receptive_field(0, 4), "kernel_size 0"),
        (
            lambda: TCN(2, (3,)).stream(torch.randn(1, 2, 5), TCN(2, (3,)).stream(torch.randn(3, 2, 5))[1]),
            "another batch",
        ),
        (lambda: TCN(2, (3,))(torch.randn(1, 5, 3)), r"transpose\(1, 2\)"),
        (lambda: TCN(2, (3,))(torch.randn(1, 2, 0)), "at least one step"),
        (lambda: TCN(2, (3,)).stream(torch.randn(1, 2, 5), []), "0 levels"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_number_for_the_channels_is_refused_with_what_to_give():
    with pytest.raises(TypeError, match=r"\(16,\) \* 3"):
        TCN(2, 16)
