"""What only the LoRA linear layer must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.layers.lora_linear import LoRALinear, lora_linear, lora_linear_merged


def learned(**kwargs):
    layer = LoRALinear(6, 5, r=3, lora_alpha=12.0, **kwargs)
    nn.init.normal_(layer.lora_B, std=0.1)
    return layer


@pytest.mark.oracle("lora-linear-layer", by="peer: peft")
@pytest.mark.parametrize("bias", [False, True])
def test_with_the_same_weights_it_is_pefts_layer(bias):
    peft = pytest.importorskip("peft", reason="peft is not installed")
    ours, base = learned(bias=bias), nn.Sequential(nn.Linear(6, 5, bias=bias))
    base[0].load_state_dict(ours.base.state_dict())
    theirs = peft.get_peft_model(base, peft.LoraConfig(r=3, lora_alpha=12, target_modules=["0"]))
    layer = theirs.base_model.model[0]
    assert layer.scaling["default"] == ours.scaling == 4.0
    assert layer.lora_B["default"].weight.count_nonzero() == 0
    with torch.no_grad():
        layer.lora_A["default"].weight.copy_(ours.lora_A)
        layer.lora_B["default"].weight.copy_(ours.lora_B)
    x = torch.randn(4, 6)
    assert_close(ours(x), theirs(x))
    theirs.merge_adapter()
    ours.merge()
    assert_close(ours.base.weight, layer.base_layer.weight)


def test_is_the_sum_written_out():
    x, W, b, A, B = (torch.randn(s, dtype=torch.float64) for s in ((4, 6), (5, 6), (5,), (3, 6), (5, 3)))
    expected = torch.stack(
        [
            torch.stack(
                [
                    b[o] + sum(x[n, i] * (W[o, i] + 0.5 * sum(B[o, r] * A[r, i] for r in range(3))) for i in range(6))
                    for o in range(5)
                ]
            )
            for n in range(4)
        ]
    )
    assert_close(lora_linear(x, W, b, A, B, 0.5), expected)


def test_merged_form_agrees_on_the_value_and_on_every_gradient():
    free = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((2, 4, 6), (5, 6), (5,), (3, 6), (5, 3))]
    weights = torch.randn(2, 4, 5, dtype=torch.float64)
    plain, merged = (f(*free, 0.5) for f in (lora_linear, lora_linear_merged))
    assert_close(plain, merged)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), free), torch.autograd.grad((merged * weights).sum(), free)
    )


def test_the_layer_is_the_function():
    layer, x = learned(), torch.randn(2, 4, 6)
    y = lora_linear(x, layer.base.weight, layer.base.bias, layer.lora_A, layer.lora_B, layer.scaling)
    assert_close(layer(x), y)
    assert_close(layer(x[0, 0]), y[0, 0])


def test_starts_as_the_frozen_layer_bit_by_bit():
    base, x = nn.Linear(64, 64), torch.randn(3, 64)
    layer = LoRALinear.from_linear(base, r=8)
    assert layer.base is base and layer.lora_A.count_nonzero() > 0
    assert torch.equal(layer(x), base(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_merged_equals_unmerged_and_back_again(dtype):
    layer, x = learned().to(dtype), torch.randn(4, 6, dtype=dtype)
    before, weight = layer(x), layer.base.weight.clone()
    layer.merge()
    assert (layer(x) - before).abs().max() < 1e-6 and not torch.equal(layer.base.weight, weight)
    layer.unmerge()
    assert (layer.base.weight - weight).abs().max() < 1e-6
    assert (layer(x) - before).abs().max() < 1e-6


def test_the_first_weight_starts_as_a_linear_layer_does_and_any_rank_up_to_the_smaller_side_fits():
    A = LoRALinear(100, 50, r=50).lora_A
    assert 0.099 < A.max() <= 0.1 and -0.1 <= A.min() < -0.099  # evenly from -1 / sqrt(I) to 1 / sqrt(I)
    assert LoRALinear(6, 5, r=1).change().shape == (5, 6)


def test_only_the_narrow_weights_learn_and_a_waits_for_b():
    layer = LoRALinear(6, 5, r=3)
    layer(torch.randn(4, 6)).sum().backward()
    assert {n for n, p in layer.named_parameters() if p.requires_grad} == {"lora_A", "lora_B"}
    assert layer.base.weight.grad is None
    assert layer.lora_A.grad.count_nonzero() == 0 and layer.lora_B.grad.count_nonzero() > 0


def test_what_was_learned_is_stored_alone_and_put_in_again():
    base = nn.Linear(6, 5)
    first, second = (LoRALinear.from_linear(base, r=3) for _ in range(2))
    nn.init.normal_(first.lora_B)
    state, x = first.adapter_state_dict(), torch.randn(4, 6)
    assert {n: tuple(t.shape) for n, t in state.items()} == {"lora_A": (3, 6), "lora_B": (5, 3)}
    nn.init.zeros_(first.lora_B)  # a copy: what was stored stays
    assert not second.load_state_dict(state, strict=False).unexpected_keys
    assert_close(second(x), base(x) + second.scaling * x @ state["lora_A"].T @ state["lora_B"].T)


def test_dropout_hides_the_input_from_the_change_only():
    layer, x = learned(lora_dropout=0.5), torch.randn(64, 6)
    assert not torch.equal(layer(x), layer(x))
    layer.lora_B.data.zero_()
    assert_close(layer(x), layer.base(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LoRALinear(6, 5, r=0), ValueError, "between 1 and 5"),
        (lambda: LoRALinear(6, 5, r=6), ValueError, "between 1 and 5"),
        (lambda: LoRALinear(6, 5, r=2, lora_alpha=0), ValueError, "above 0"),
        (lambda: LoRALinear(6, 5, r=2, lora_alpha=float("nan")), ValueError, "above 0"),
        (lambda: LoRALinear(6, 5, r=2)(torch.zeros(2, 5)), ValueError, "last axis must have 6 features"),
        (lambda: LoRALinear(6, 5, r=2, lora_dropout=1.0), ValueError, "probability"),
        (lambda: LoRALinear(6, 5, r=2).unmerge(), RuntimeError, "not merged"),
        (lambda: [f() for f in [LoRALinear(6, 5, r=2).merge] * 2], RuntimeError, "twice"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_rank_is_8_and_the_change_is_doubled_unless_told_otherwise():
    for layer in (LoRALinear(16, 12), LoRALinear.from_linear(nn.Linear(16, 12))):
        assert layer.lora_A.shape == (8, 16) and layer.scaling == 2.0 and layer.dropout.p == 0.0
        assert layer.base.bias is not None
