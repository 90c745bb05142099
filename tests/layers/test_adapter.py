"""What only the adapter layer must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.layers.adapter import Adapter, AdapterModel, bottleneck


def net():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 3))


@pytest.mark.oracle("adapter-layer", by="brute force")
def test_is_the_detour_written_out():
    x, W, b, V, c = (torch.randn(s, dtype=torch.float64) for s in ((2, 4), (3, 4), (3,), (4, 3), (4,)))
    y = bottleneck(x, W, b, V, c)
    for n in range(2):
        inside = [max(0.0, float(b[k] + sum(W[k, i] * x[n, i] for i in range(4)))) for k in range(3)]
        for o in range(4):
            assert_close(y[n, o].item(), float(x[n, o] + c[o] + sum(V[o, k] * inside[k] for k in range(3))))
    layer = Adapter(4, 3).double()
    with torch.no_grad():
        for p, value in zip(
            (layer.down.weight, layer.down.bias, layer.up.weight, layer.up.bias), (W, b, V, c), strict=True
        ):
            p.copy_(value)
    assert_close(layer(x), y)


def test_starts_as_the_identity_and_torchs_start_would_not():
    x = torch.randn(200, 64)
    assert torch.equal(Adapter(64, 16)(x), x)
    usual = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 64))
    assert 0.2 < (usual(x).norm() / x.norm()).item() < 0.4


def test_another_activation_is_used():
    layer = Adapter(4, 3, activation=nn.Tanh())
    nn.init.normal_(layer.up.weight)
    x = torch.randn(2, 4)
    assert_close(layer(x), x + layer.up(torch.tanh(layer.down(x))))


def test_a_frozen_model_with_adapters_starts_as_it_was_and_only_they_learn():
    model, x = net(), torch.randn(5, 6)
    before, count = model(x), sum(p.numel() for p in model.parameters())
    adapted = AdapterModel(model, ["0", "2"], adapter_size=4)
    assert torch.equal(adapted(x), before)
    free = {n for n, p in adapted.named_parameters() if p.requires_grad}
    assert all(".tasks.default." in n for n in free)
    each = 2 * 8 * 4 + 4 + 8
    assert sum(p.numel() for p in adapted.parameters()) == count + 2 * each
    assert adapted.trainable_parameters() == 2 * each
    adapted(x).sum().backward()
    assert all(p.grad is None for n, p in adapted.named_parameters() if ".tasks." not in n)


def test_tasks_are_switched_and_do_not_touch_each_other():
    adapted, x = AdapterModel(net(), ["0", "2"], 4, tasks=["digits", "letters"]), torch.randn(5, 6)
    plain = adapted(x)
    for task in adapted.tasks:
        adapted.switch(task)
        with torch.no_grad():
            for p in adapted.parameters():
                if p.requires_grad:
                    p.normal_()
    letters = adapted(x)
    adapted.switch("digits")
    digits = adapted(x)
    assert not torch.allclose(letters, digits)
    before = adapted.adapter_state_dict("letters")
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.1)
    digits.square().sum().backward()
    optimizer.step()
    assert all(torch.equal(before[n], t) for n, t in adapted.adapter_state_dict("letters").items())
    adapted.switch("letters")
    assert_close(adapted(x), letters)
    adapted.switch(None)
    assert torch.equal(adapted(x), plain)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Adapter(0), ValueError, "at least 1"),
        (lambda: Adapter(4)(torch.zeros(1, 5)), ValueError, "width 5"),
        (lambda: AdapterModel(net(), ["1"]), TypeError, "is a Tanh"),
        (lambda: AdapterModel(net(), ["7"]), ValueError, "no module is called"),
        (lambda: AdapterModel(net(), ["0"], tasks=[]), ValueError, "at least one name"),
        (lambda: AdapterModel(net(), ["0"], tasks="ab"), ValueError, "give a list"),
        (lambda: AdapterModel(net(), ["0"]).switch("b"), ValueError, "the tasks are default"),
        (lambda: AdapterModel(net(), ["0"]).adapter_state_dict("b"), ValueError, "the tasks are default"),
        (lambda: AdapterModel(net(), "0"), TypeError, "give a list"),
        (lambda: AdapterModel(net(), []), ValueError, "nothing would learn"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_smallest_has_one_number_on_the_way():
    assert Adapter(1, 1)(torch.ones(2, 1)).shape == (2, 1) and Adapter(4).down.out_features == 64
    assert AdapterModel(net(), ["0"]).model[0].tasks["default"].down.out_features == 64
