from __future__ import annotations

import pytest
import torch
from torch import nn

from nnvocab.attention import GroupedQueryAttention
from nnvocab.cli import main
from nnvocab.compose import summarize


def test_counts_parameters_shapes_and_what_is_frozen():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    model[0].requires_grad_(False)
    found = summarize(model, torch.zeros(3, 4))
    assert [line.shape for line in found.lines] == [(3, 8), (3, 8), (3, 2)]
    assert (found.parameters, found.trainable) == (4 * 8 + 8 + 8 * 2 + 2, 8 * 2 + 2)
    assert model.training


def test_the_cache_is_that_of_the_layers_times_their_uses():
    attention = GroupedQueryAttention(64, 8, 2)
    once = attention.cache_bytes()
    assert summarize(nn.Sequential(attention), torch.zeros(1, 3, 64)).cache_bytes == once
    assert summarize(nn.Sequential(attention, attention), torch.zeros(1, 3, 64)).cache_bytes == 2 * once
    assert summarize(nn.Sequential(attention), cache_dtype=torch.float32).cache_bytes == 2 * once


def test_a_line_has_the_cache_of_all_that_is_in_it_once():
    attention = GroupedQueryAttention(64, 8, 2)
    model = nn.Sequential(nn.Sequential(attention, nn.Linear(64, 64)), nn.Linear(64, 8))
    found = {line.name: line.cache_bytes for line in summarize(model, torch.zeros(1, 3, 64)).lines}
    assert found["0"] == found["0.0"] == attention.cache_bytes()
    assert found["0.1"] == found["1"] == 0


def test_a_model_without_parts_is_listed_itself():
    (line,) = summarize(nn.Linear(2, 3), torch.zeros(1, 2)).lines
    assert (line.name, line.shape, line.parameters) == ("(model)", (1, 3), 9)


def test_what_cannot_be_summarized_is_refused():
    with pytest.raises(TypeError, match="model is a int, but must be"):
        summarize(3)
    with pytest.raises(ValueError, match="before they see an input: give one"):
        summarize(nn.Sequential(nn.LazyLinear(2)))
    assert summarize(nn.Sequential(nn.LazyLinear(2)), torch.zeros(1, 3)).parameters == 8


def test_the_table_goes_as_deep_as_asked_and_has_a_line_for_each_total():
    model = nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2, bias=False)))
    assert [line.name for line in summarize(model, depth=1).lines] == ["0"]
    assert [line.name for line in summarize(model, depth=2).lines] == ["0", "0.0", "0.1"]
    assert [line.name for line in summarize(model).lines] == ["0", "0.0", "0.0.0", "0.1"]
    model[0][1].requires_grad_(False)
    text = repr(summarize(model, torch.zeros(1, 2))).splitlines()
    assert text[0].split() == ["layer", "kind", "output", "parameters", "cache/token"]
    assert text[2].split() == ["0", "Sequential", "1", "x", "2", "10"]
    assert text[-2:] == [
        "10 parameters, 6 of them trained, 4 frozen",
        "0 bytes of keys and values a token, stored as float16",
    ]


def test_without_an_input_nothing_runs():
    assert summarize(nn.Sequential(nn.Linear(2, 2))).lines[0].shape is None


def test_the_command_line_prints_it(tmp_path, capsys):
    path = tmp_path / "model.yml"
    path.write_text(
        "vars: {d: 16}\ninput: {shape: [1, 4, '${d}']}\n"
        "topology: {type: stacked, layers: [{type: AttentionLayer, d_model: '${d}', n_heads: 2}]}\n"
    )
    assert main(["build", str(path), "--summary"]) == 0
    out = capsys.readouterr().out
    assert "1 x 4 x 16" in out
    assert "1,024 parameters" in out
    assert "64 bytes of keys and values a token" in out
    assert main(["build", str(path), "--summary", "--set", "d=32"]) == 0
    assert "4,096 parameters" in capsys.readouterr().out
    assert main(["build", str(path)]) == 0
    assert "AttentionLayer" in capsys.readouterr().out


def test_the_command_line_says_what_is_wrong(tmp_path, capsys):
    assert main(["build", str(tmp_path / "none.yml")]) == 2
    assert "there is no file" in capsys.readouterr().err
    path = tmp_path / "model.yml"
    path.write_text("topology:\n  type: stackd\n")
    assert main(["build", str(path)]) == 2
    assert "model.yml, line 2" in capsys.readouterr().err
    assert main(["build", str(tmp_path)]) == 2
    assert "cannot read" in capsys.readouterr().err
    assert main(["build", str(path), "--set", "d"]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err
