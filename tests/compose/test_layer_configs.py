from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from nnvocab.attention import AttentionLayer
from nnvocab.compose import AttentionLayerConfig, build_layer
from nnvocab.compose.layer_configs import LayerConfig


@pytest.mark.oracle("layer-configuration", by="closed form")
def test_a_configuration_builds_the_layer_that_its_settings_build():
    settings = {"d_model": 512, "n_heads": 8, "mode": "decoupled", "sem_dim": 64, "geo_dim": 128, "rope_enabled": True}
    torch.manual_seed(0)
    ours = build_layer(AttentionLayerConfig(**settings))
    torch.manual_seed(0)
    theirs = AttentionLayer.from_settings(settings)
    x = torch.randn(1, 6, 512)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)
    y, cache = ours(x, need_cache=True)
    assert y.shape == (1, 6, 512)
    assert cache.seen == 6


def test_unknown_keys_and_wrong_values_are_errors():
    with pytest.raises(ValidationError, match="n_head"):
        AttentionLayerConfig(d_model=8, n_head=2)
    with pytest.raises(ValidationError, match="standard"):
        AttentionLayerConfig(d_model=8, n_heads=2, mode="dba")
    with pytest.raises(ValueError, match="belongs to mode"):
        AttentionLayerConfig(d_model=8, n_heads=2, sem_dim=4).build()
    with pytest.raises(ValidationError, match="finite number"):
        AttentionLayerConfig(d_model=8, n_heads=2, rope_base=float("inf"))
    with pytest.raises(TypeError, match="does not say what it builds"):
        LayerConfig().build()
    with pytest.raises(TypeError, match="config is a dict, but must be one of AttentionLayerConfig"):
        build_layer({"d_model": 8})
