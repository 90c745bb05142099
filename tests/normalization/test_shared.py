"""What the normalizations have in common: what they refuse, what they show, how their averages follow the batches."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.normalization import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm
from nnvocab.normalization.batch_norm import batch_norm, batch_norm_fused
from nnvocab.normalization.group_norm import group_norm
from nnvocab.normalization.instance_norm import instance_norm, instance_norm_fused
from nnvocab.normalization.layer_norm import layer_norm
from nnvocab.normalization.rms_norm import rms_norm

FORMS = {
    "batch": lambda x: batch_norm(x, None, None, training=True),
    "instance": instance_norm,
    "group": lambda x: group_norm(x, 3),
    "layer": lambda x: layer_norm(x, (4,)),
    "rms": lambda x: rms_norm(x, (4,)),
}
LAYERS = [BatchNorm(3), InstanceNorm(3), GroupNorm(3, 3), LayerNorm(4), RMSNorm(4)]


@pytest.mark.parametrize("call", [*LAYERS, *(pytest.param(form, id=name) for name, form in FORMS.items())], ids=str)
def test_integers_are_refused(call):
    with pytest.raises(TypeError, match=r"x.float\(\)"):
        call(torch.ones(2, 3, 4, dtype=torch.long))


@pytest.mark.parametrize("learned", [True, False])
def test_a_layer_shows_whether_it_learns_a_scale(learned):
    for layer in (BatchNorm(6, affine=learned), InstanceNorm(6, affine=learned), GroupNorm(2, 6, affine=learned)):
        assert f"affine={learned}" in repr(layer)
    for layer in (LayerNorm(6, elementwise_affine=learned), RMSNorm(6, elementwise_affine=learned)):
        assert f"elementwise_affine={learned}" in repr(layer)


@pytest.mark.parametrize("form", [batch_norm, batch_norm_fused, instance_norm, instance_norm_fused])
def test_a_tenth_of_the_newest_batch_enters_the_averages_unless_told_otherwise(form):
    x, mean, var = torch.randn(4, 3, 5), torch.zeros(3), torch.ones(3)
    form(x, mean, var, None, None, True)
    assert_close(mean, 0.1 * x.mean((0, 2)))


@pytest.mark.parametrize(
    ("layer", "scaled"), [(BatchNorm, True), (InstanceNorm, False), (GroupNorm, True), (RMSNorm, True)]
)
def test_every_layer_but_that_of_an_instance_learns_a_scale_unless_told_otherwise(layer, scaled):
    made = layer(2, 6) if layer is GroupNorm else layer(6)
    assert (made.weight is not None) == scaled
    assert made.eps == 1e-5
