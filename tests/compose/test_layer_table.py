from __future__ import annotations

import inspect

import pytest
from torch import nn

import nnvocab
from nnvocab.compose import layer_table
from nnvocab.compose.layer_configs import CONFIGS


@pytest.mark.oracle("layer-table", by="brute force")
def test_the_table_holds_every_configuration_and_every_module_of_the_registry():
    rows = {name: (what, arguments) for name, what, arguments in layer_table()}
    assert set(CONFIGS) <= set(rows)
    for record in nnvocab.entries():
        made = record.object
        if isinstance(made, type) and issubclass(made, nn.Module):
            parameters = list(inspect.signature(made.__init__).parameters.values())[1:]
            if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
                continue
            named = [p.split("=")[0] for p in rows[made.__name__][1].split(", ") if p]
            assert {p.name for p in parameters} >= {n for n in named if n.isidentifier()}
            assert all(any(n == p.name for n in named) for p in parameters), made
    assert all(what for what, _ in rows.values())
