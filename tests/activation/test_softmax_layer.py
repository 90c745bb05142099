"""The layer for the whole family: every variant is its own function, and nothing falls back."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab import activation
from nnvocab.activation.softmax_layer import VARIANTS, SoftmaxLayer

TREE = ((0, 1), (2, 3))
MASK = torch.tensor([True, False, True, True, False, True])
LAYERS = {
    "standard": ({}, lambda x: activation.softmax(x)),
    "grid": ({"rows": 2}, lambda x: activation.grid_softmax(x, 2)),
    "hierarchical": ({"tree": TREE}, lambda x: activation.hierarchical_softmax(x, TREE)),
    "temperature": ({"temperature": 0.3}, lambda x: activation.temperature_softmax(x, 0.3)),
    "gumbel": ({"temperature": 0.5}, None),
    "masked": ({}, lambda x: activation.masked_softmax(x, MASK)),
    "sparsemax": ({}, lambda x: activation.sparsemax(x)),
    "entmax": ({"alpha": 1.3}, lambda x: activation.entmax_bisect(x, 1.3)),
    "adaptive": ({"cutoffs": (2, 5)}, lambda x: activation.adaptive_softmax(x, (2, 5))),
    "mixture": (
        {"num_softmaxes": 2},
        lambda x: activation.mixture_of_softmaxes(x[..., 2:].unflatten(-1, (2, 2)), x[..., :2]),
    ),
}


def call(variant, x, **more):
    layer = SoftmaxLayer(variant, **LAYERS[variant][0])
    return layer(x, MASK, **more) if variant == "masked" else layer(x, **more)


@pytest.mark.oracle("softmax-family", by="brute force")
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_is_its_plain_function_with_a_true_gradient(scores, variant):
    x = scores(3, 6).requires_grad_()
    if variant == "gumbel":
        x2 = call("gumbel", x, generator=torch.Generator().manual_seed(0))
        noise = activation.gumbel_noise(x, generator=torch.Generator().manual_seed(0))
        assert_close(x2, ((x + noise) / 0.5).softmax(-1))
    else:
        assert_close(call(variant, x), LAYERS[variant][1](x))
    assert torch.autograd.gradcheck(lambda v: call(variant, v, generator=torch.Generator().manual_seed(0)), (x,))
    total = call(variant, x).sum(-1)
    assert_close(total, torch.full_like(total, 2.0 if variant == "grid" else 1.0))


def test_they_are_ten_and_no_two_are_the_same(scores):
    assert len(VARIANTS) == 10
    x = scores(1, 6)
    shown = [call(v, x).detach() for v in VARIANTS]
    for i, one in enumerate(shown):
        for two in shown[i + 1 :]:
            assert one.shape != two.shape or not torch.allclose(one, two)


def test_alpha_and_temperature_are_learned_where_they_are_parameters(scores):
    for variant, name in (("entmax", "alpha"), ("temperature", "temperature")):
        layer = SoftmaxLayer(variant, **{name: nn.Parameter(torch.tensor(1.4))}).double()
        layer(scores(3, 6)).square().sum().backward()
        assert getattr(layer, name).grad != 0
        assert list(layer.state_dict()) == [name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hard",), "one of standard"),
        (("grid",), "needs rows"),
        (("hierarchical",), "needs tree"),
        (("adaptive",), "needs cutoffs"),
        (("mixture",), "needs num_softmaxes"),
    ],
)
def test_what_is_missing_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        SoftmaxLayer(*arguments)


def test_what_belongs_to_another_variant_is_an_error():
    with pytest.raises(ValueError, match="rows is of no use"):
        SoftmaxLayer("sparsemax", rows=2)
    with pytest.raises(ValueError, match="has no temperature"):
        SoftmaxLayer("sparsemax", temperature=2.0)
    with pytest.raises(ValueError, match="needs a mask"):
        SoftmaxLayer("masked")(torch.zeros(3))
    with pytest.raises(ValueError, match="reads no mask"):
        SoftmaxLayer()(torch.zeros(3), MASK[:3])
    with pytest.raises(ValueError, match="has no temperature"):
        SoftmaxLayer("entmax", temperature=nn.Parameter(torch.ones(())))
    with pytest.raises(ValueError, match="has no alpha"):
        SoftmaxLayer("sparsemax", alpha=1.3)
    with pytest.raises(ValueError, match="has no alpha"):
        SoftmaxLayer(alpha=nn.Parameter(torch.tensor(1.5)))
    with pytest.raises(ValueError, match="above 0"):
        SoftmaxLayer("temperature", temperature=-1.0)
    with pytest.raises(ValueError, match="num_softmaxes is 0"):
        SoftmaxLayer("mixture", num_softmaxes=0)
    for wrong in (5, 2):
        with pytest.raises(ValueError, match=r"K \+ K V"):
            SoftmaxLayer("mixture", num_softmaxes=2)(torch.zeros(wrong))
    with pytest.raises(ValueError, match="dim is 1"):
        SoftmaxLayer("mixture", 1, num_softmaxes=2)(torch.zeros(6))
    with pytest.raises(TypeError, match="nested tuples"):
        SoftmaxLayer("hierarchical", tree=[0, 1])
    assert "entmax" in repr(SoftmaxLayer("entmax"))


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v not in ("gumbel", "masked")])
def test_every_variant_takes_the_axis_of_the_scores(variant, scores):
    x, options = scores(2, 3, 6), LAYERS[variant][0]
    y = SoftmaxLayer(variant, 0, **options)(x.movedim(-1, 0))
    assert_close(y, SoftmaxLayer(variant, **options)(x).movedim(-1, 0))


def test_masked_and_gumbel_take_the_axis_too(scores):
    x = scores(3, 6)
    assert_close(SoftmaxLayer("masked", 0)(x.T, MASK[:, None]), SoftmaxLayer("masked")(x, MASK).T)
    assert_close(SoftmaxLayer("gumbel", 0)(x.T).sum(0), torch.ones(3).double())


def test_the_temperature_reaches_the_grid(scores):
    x = scores(3, 6)
    layer = SoftmaxLayer("grid", rows=2, temperature=0.3)
    assert_close(layer(x), activation.grid_softmax(x, 2, 0.3))
