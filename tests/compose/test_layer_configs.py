from __future__ import annotations

import inspect

import pytest
import torch
from pydantic import ValidationError

from nnvocab.attention import AttentionLayer
from nnvocab.compose import AttentionLayerConfig, build_layer
from nnvocab.compose.layer_configs import CONFIGS, LayerConfig

CONFIG = AttentionLayerConfig(d_model=8, n_heads=2, lora_rank=2)


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


def test_what_is_written_says_every_setting_that_the_mode_uses_and_builds_the_same_layer():
    written = CONFIG.written()
    assert written["d_model"] == 8 and written["mode"] == "standard" and written["lora_targets"] == ["q", "v"]
    sizes = [[p.shape for p in c.build().parameters()] for c in (CONFIG, AttentionLayerConfig(**CONFIG.written()))]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("kind", ["SSMLayer", "SwiGLULayer", "MoELayer", "LinearLayer", "DiffusionNextTokenHead"])
def test_what_is_not_said_is_the_default_of_the_layer_itself(kind):
    sizes = {n: 4 for n, field in CONFIGS[kind].model_fields.items() if field.is_required() and n != "name"}
    layer = CONFIGS[kind](**sizes).build()
    own = inspect.signature(type(layer)).parameters
    shared = {n: f.default for n, f in CONFIGS[kind].model_fields.items() if not f.is_required() and n in own}
    assert shared and shared == {n: own[n].default for n in shared}


def test_the_smallest_and_the_largest_values_are_what_the_layers_take():
    small = CONFIGS["SSMLayer"](d_model=1, d_state=1, d_conv=1, expand=1).build()
    assert small(torch.zeros(1, 2, 1)).shape == (1, 2, 1)
    with pytest.raises(ValidationError, match="less than 1"):
        CONFIGS["LoRALinearLayer"](d_in=2, d_out=2, dropout=1.0)


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
