from __future__ import annotations

import pytest
import torch
from torch import nn

from nnvocab.compose import ManifestError, build_model

TOP = "input: {shape: [2, 4]}\ntopology:\n  type: stacked\n  layers:\n"
FOUR_TO_THREE = "    - {type: LinearLayer, d_in: 4, d_out: 3}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            TOP + FOUR_TO_THREE + "    - {type: LinearLayer, d_in: 5, d_out: 2}\n",
            r"line 6: topology.layers\[1\]: LinearLayer was given \(2, 3\), but takes in_features 5 \(.*\); change its sizes",
        ),
        (
            TOP + "    - type: residual\n      layers:\n    " + FOUR_TO_THREE,
            r"line 5: topology.layers\[0\]: residual was given \(2, 4\)",
        ),
        (TOP + "    - {type: torch.nn.LayerNorm, normalized_shape: 3}\n", r"line 5.*takes normalized_shape \(3,\)"),
        (
            "input: {shape: [1, 3], below: 9}\ntopology: {type: Embedding, num_embeddings: 1, embedding_dim: 2}\n",
            r"line 2: topology: Embedding was given \(1, 3\), but takes num_embeddings 1 \(.*\)",
        ),
        (
            "input: {shape: [2, 4]}\ntopology:\n  type: graph\n  nodes:\n"
            "    - {id: a, inputs: [input], layer: {type: torch.nn.Tanh}}\n"
            "    - {id: b, inputs: [a, input], layer: {type: torch.nn.Bilinear, in1_features: 4, in2_features: 3, out_features: 1}}\n",
            r"line 6: topology.nodes\[1\].layer: torch.nn.Bilinear was given \(2, 4\) and \(2, 4\)",
        ),
        (
            "input: {shape: [2, 5, 4]}\ntopology:\n  type: stacked\n  layers:\n"
            "    - {type: torch.nn.GRU, input_size: 4, hidden_size: 3}\n    - {type: LinearLayer, d_in: 3, d_out: 3}\n",
            r"line 6: topology.layers\[1\]: LinearLayer was given a tuple",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_found_when_the_model_is_built(text, said):
    with pytest.raises(ManifestError, match=r"(?s)" + said):
        build_model(text)


def test_without_an_input_they_are_found_when_it_is_used():
    model = build_model(TOP.partition("\n")[2] + FOUR_TO_THREE + "    - {type: LinearLayer, d_in: 5, d_out: 2}\n")
    with pytest.raises(ValueError, match="layer 1"):
        model(torch.zeros(1, 4))


def test_the_trial_leaves_no_trace():
    text = TOP + "    - {type: torch.nn.BatchNorm1d, num_features: 4}\n    - {type: torch.nn.Dropout, p: 0.5}\n"
    torch.manual_seed(0)
    with_input, drawn = build_model(text), torch.rand(1)
    torch.manual_seed(0)
    build_model(text.partition("\n")[2])
    assert with_input.training
    assert all(module.training for module in with_input.modules())
    assert with_input[0].num_batches_tracked == 0
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in with_input.modules())
    torch.testing.assert_close(torch.rand(1), drawn)


def test_a_recurrent_topology_may_stand_inside_of_another():
    gru = (
        "{type: recurrent, repeat: 2, layers: [{type: torch.nn.GRU, input_size: 4, hidden_size: 4, batch_first: true}]}"
    )
    text = f"input: {{shape: [2, 5, 4]}}\ntopology:\n  type: stacked\n  layers:\n    - {gru}\n    - {{type: LinearLayer, d_in: 4, d_out: 3}}\n"
    model = build_model(text)
    assert len([m for m in model.modules() if isinstance(m, nn.GRU)]) == 2
    assert model(torch.zeros(2, 5, 4)).shape == (2, 5, 3)
