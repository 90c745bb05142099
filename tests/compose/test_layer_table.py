from __future__ import annotations

import inspect

import pytest
from torch import nn

import nnvocab
from nnvocab.compose import layer_table
from nnvocab.compose.layer_configs import CONFIGS
from nnvocab.compose.layer_specs import find_layer


@pytest.mark.oracle("layer-table", by="brute force")
def test_the_table_holds_every_configuration_and_every_module_of_the_registry():
    rows = {name: (what, arguments) for name, what, arguments in layer_table()}
    assert set(CONFIGS) <= set(rows)
    for record in nnvocab.entries():
        made = record.object
        if isinstance(made, type) and issubclass(made, nn.Module) and made.__name__ not in CONFIGS:
            parameters = list(inspect.signature(made.__init__).parameters.values())[1:]
            if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
                continue
            named = [p.split("=")[0] for p in rows[made.__name__][1].split(", ") if p]
            assert {p.name for p in parameters} >= {n for n in named if n.isidentifier()}
            assert all(any(n == p.name for n in named) for p in parameters), made
    assert all(what for what, _ in rows.values())


def test_the_layers_of_a_transformer_are_all_there_and_no_name_stands_twice():
    names = [name for name, _, _ in layer_table()]
    words = (
        "AttentionLayer SwiGLULayer GLULayer MoELayer SSMLayer RMSNormLayer LayerNormLayer LinearLayer DropoutLayer "
        "LoRALinearLayer DiffusionNextTokenHead"
    )
    assert names[:11] == words.split()
    assert len(set(names)) == len(names)


def test_every_name_of_the_table_is_one_that_a_manifest_finds():
    for name, _, _ in layer_table():
        assert name in CONFIGS or find_layer(name).__name__ == name


def test_a_row_says_which_arguments_are_needed_and_what_the_others_are():
    rows = {name: arguments for name, _, arguments in layer_table()}
    assert rows["LinearLayer"] == "d_in, d_out, bias=True"
    assert rows["DropoutLayer"] == "p"
    assert rows["Cyclic"] == "layers, iterations"
