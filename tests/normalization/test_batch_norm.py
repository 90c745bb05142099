"""What only batch normalization must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.normalization.batch_norm import BatchNorm, batch_norm, batch_norm_fused


@pytest.mark.oracle("batch-normalization", by="brute force")
def test_is_the_mean_and_the_biased_variance_of_each_channel_written_out():
    x = torch.randn(3, 2, 4, dtype=torch.float64)
    expected = torch.empty_like(x)
    for c in range(2):
        values = [x[b, c, s].item() for b in range(3) for s in range(4)]
        mu = sum(values) / 12
        variance = sum((v - mu) ** 2 for v in values) / 12
        expected[:, c] = (x[:, c] - mu) / (variance + 1e-5) ** 0.5
    assert_close(batch_norm(x, None, None, training=True), expected)


@pytest.mark.parametrize("training", [True, False])
def test_fused_form_agrees_on_the_value_every_gradient_and_the_averages(training):
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((4, 3, 5), (3,), (3,))]
    results = []
    for form in (batch_norm, batch_norm_fused):
        mean, var = torch.full((3,), 0.3, dtype=torch.float64), torch.full((3,), 2.0, dtype=torch.float64)
        y = form(inputs[0], mean, var, *inputs[1:], training=training, momentum=0.2)
        grads = torch.autograd.grad((y * torch.arange(60.0).view(4, 3, 5).sin()).sum(), inputs)
        results.append((y, *grads, mean, var))
    assert_close(*results)
    assert (results[0][-1] != 2.0).all() == training


@pytest.mark.parametrize(
    ("theirs", "shape"),
    [
        (nn.BatchNorm1d, (6, 3)),
        (nn.BatchNorm1d, (4, 3, 5)),
        (nn.BatchNorm2d, (4, 3, 5, 2)),
        (nn.BatchNorm3d, (2, 3, 2, 2, 2)),
    ],
)
@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}, {"momentum": 0.7, "eps": 0.1}],
    ids=str,
)
def test_is_torchs_layer_in_training_and_evaluation(theirs, shape, options):
    ours, peer = BatchNorm(3, **options), theirs(3, **options)
    for _ in range(3):
        x = 2 + 3 * torch.randn(shape)
        assert_close(ours(x), peer(x))
    assert_close(dict(ours.state_dict()), dict(peer.state_dict()), check_dtype=False)
    assert_close(ours.eval()(x), peer.eval()(x))


def test_momentum_is_the_share_of_the_newest_batch():
    layer = BatchNorm(1, momentum=0.25)
    layer(torch.tensor([[3.0], [5.0]]))
    assert_close(layer.running_mean, torch.tensor([0.75 * 0 + 0.25 * 4]))
    assert_close(layer.running_var, torch.tensor([0.75 * 1 + 0.25 * 2.0]))  # unbiased: 2, where biased is 1


def test_a_higher_momentum_makes_noisier_averages():
    def scatter(momentum):
        layer, seen = BatchNorm(1, momentum=momentum), []
        for step in range(2000):
            layer(torch.randn(8, 1))
            if step > 100:
                seen.append(layer.running_mean.item())
        return torch.tensor(seen).std().item()

    low, high = scatter(0.1), scatter(0.9)
    for m, found in ((0.1, low), (0.9, high)):
        assert abs(found / (m / (2 - m) / 8) ** 0.5 - 1) < 0.2  # the deviation of an exponential average
    assert high > 3 * low


def test_one_sample_with_positions_is_instance_normalization_and_without_is_refused():
    x = torch.randn(1, 4, 5, 5)
    assert_close(BatchNorm(4)(x), nn.InstanceNorm2d(4)(x))
    with pytest.raises(ValueError, match="one value a channel"):
        BatchNorm(4)(torch.randn(1, 4))
    with pytest.raises(ValueError, match="one value a channel"):
        batch_norm(torch.randn(1, 4), None, None, training=True)
    assert BatchNorm(4).eval()(torch.randn(1, 4)).shape == (1, 4)


def test_a_sample_depends_on_its_batch_in_training_only():
    layer, x = BatchNorm(3), torch.randn(4, 3)
    other = torch.cat([x[:1], 5 + x[1:]])
    assert not torch.allclose(layer(x)[0], layer(other)[0])
    layer.eval()
    assert_close(layer(x)[0], layer(other)[0])


def test_averages_stay_in_float32_under_autocast():
    layer = BatchNorm(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(nn.Conv2d(3, 3, 1)(torch.randn(2, 3, 4, 4)))
    assert layer.running_mean.dtype == layer.running_var.dtype == torch.float32


def test_keeps_its_digits_at_a_mean_of_ten_thousand():
    x = 1e4 + torch.randn(64, 2, 16)
    exact = batch_norm(x.double(), None, None, training=True)
    for form in (batch_norm, batch_norm_fused):
        assert (form(x, None, None, training=True).double() - exact).abs().max() < 5e-3


def test_the_functions_evaluate_unless_told_otherwise_and_then_need_averages():
    x, mean, var = torch.randn(2, 3), torch.randn(3), torch.rand(3) + 1
    for form in (batch_norm, batch_norm_fused):
        assert_close(form(x, mean, var), (x - mean) / (var + 1e-5).sqrt())
    with pytest.raises(ValueError, match="give both"):
        batch_norm(x, None, None)


@pytest.mark.parametrize("shape", [(4,), (2, 5), (2, 4, 3)])
def test_channels_elsewhere_are_refused(shape):
    with pytest.raises(ValueError, match="channels stand on axis 1"):
        BatchNorm(3)(torch.zeros(shape))


def test_what_has_no_channels_or_no_values_is_refused():
    for form in (batch_norm, batch_norm_fused):
        with pytest.raises(ValueError, match="channels stand on axis 1"):
            form(torch.zeros(4), None, None, training=True)
        with pytest.raises(ValueError, match="no value a channel"):
            form(torch.zeros(0, 3), None, None, training=True)
    with pytest.raises(ValueError, match="one number for each of the 3 channels"):
        batch_norm(torch.zeros(2, 3), torch.zeros(1), torch.ones(1))
    with pytest.raises(ValueError, match="at least 1 is needed"):
        BatchNorm(0)
