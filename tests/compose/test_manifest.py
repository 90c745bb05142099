from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from nnvocab.compose import (
    Cyclic,
    ManifestError,
    Residual,
    build_model,
    example_input,
    resolved,
)

SHIPPED = sorted(Path(str(resources.files("nnvocab.compose") / "manifests")).glob("*.yml"))
LAYERS = [
    "{type: AttentionLayer, d_model: 32, n_heads: 4, mode: standard, rope_enabled: true, is_causal: true, dropout_p: 0.0}",
    "{type: AttentionLayer, d_model: 32, n_heads: 4, n_kv_heads: 2, mode: gqa}",
    "{type: AttentionLayer, d_model: 32, n_heads: 4, mode: decoupled, sem_dim: 8, geo_dim: 16, rope_enabled: true}",
    "{type: SwiGLULayer, d_model: 32, d_ff: 64, bias: false}",
    "{type: GLULayer, d_model: 32, d_ff: 64, activation: geglu}",
    "{type: MoELayer, d_model: 32, num_experts: 8, top_k: 2, d_ff: 64}",
    "{type: SSMLayer, d_model: 32, d_state: 16, d_conv: 4, expand: 2}",
    "{type: RMSNormLayer, d_model: 32, eps: 1.0e-5}",
    "{type: LayerNormLayer, d_model: 32, eps: 1e-5}",
    "{type: AttentionLayer, d_model: 32, n_heads: 8, n_kv_heads: 2, mode: decoupled, sem_dim: 8, geo_dim: 16, "
    "rope_enabled: true, rope_base: 500000.0, is_causal: true, decoupled_gate: true}",
    "{type: AttentionLayer, d_model: 32, n_heads: 4, mode: standard, lora_rank: 4, lora_alpha: 16, lora_targets: [q, v]}",
    "{type: LinearLayer, d_in: 32, d_out: 50, bias: false}",
    "{type: DropoutLayer, p: 0.1}",
    "{type: LoRALinearLayer, d_in: 32, d_out: 32, rank: 8, alpha: 16.0}",
    "{type: DiffusionNextTokenHead, embed_dim: 32, vocab_size: 50, num_infer_steps: 4, cfg_guidance_scale: 1.5}",
]


def one(layer: str) -> str:
    return f"topology:\n  type: stacked\n  layers:\n    - {layer}\n"


@pytest.mark.oracle("model-manifest", by="closed form")
def test_a_manifest_is_the_model_written_by_hand():
    model = build_model(
        "vars: {d: 6}\n"
        "topology:\n"
        "  type: residual\n"
        "  layers:\n"
        "    - {type: torch.nn.LayerNorm, normalized_shape: '${d}'}\n"
        "    - {type: torch.nn.Linear, in_features: '${d}', out_features: '${d}'}\n"
    )
    norm, linear = model.layer
    x = torch.randn(3, 6)
    torch.testing.assert_close(model(x), x + linear(norm(x)))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_manifest_builds_runs_learns_and_goes_round(path):
    model = build_model(path)
    y = model(example_input(path))
    y.pow(2).mean().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad and p.ndim > 1)
    again = build_model(yaml.safe_dump(resolved(model)))
    assert resolved(again) == resolved(model)
    assert [p.shape for p in again.parameters()] == [p.shape for p in model.parameters()]


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_of_a_transformer_builds_by_its_configuration(layer):
    model = build_model(one(layer))
    assert model(torch.randn(2, 5, 32)).shape[:2] == (2, 5)
    assert resolved(build_model(resolved(model))) == resolved(model)


def test_any_entry_builds_by_any_of_its_names():
    for name in ("GroupedQueryAttention", "grouped-query attention", "GQA"):
        model = build_model(one(f"{{type: {name}, embed_dim: 16, num_heads: 4, num_kv_heads: 2}}"))
        assert type(model[0]).__name__ == "GroupedQueryAttention"


def test_repeated_blocks_have_weights_of_their_own_unless_they_share():
    text = (
        "topology: {{type: stacked, repeat: 3, share: {share}, layers: [{{type: LinearLayer, d_in: 2, d_out: 2}}]}}\n"
    )
    own, shared = (build_model(text.format(share=s)) for s in ("false", "true"))
    assert sum(p.numel() for p in own.parameters()) == 3 * sum(p.numel() for p in shared.parameters())
    x = torch.randn(1, 2)
    (layer,) = {id(m): m for m in shared.modules() if isinstance(m, nn.Linear)}.values()
    torch.testing.assert_close(shared(x), layer(layer(layer(x))))


def test_variables_can_be_set_from_outside():
    text = "vars: {d: 4, twice: '${d}'}\ntopology: {type: LinearLayer, d_in: '${d}', d_out: '${twice}'}\n"
    assert build_model(text).weight.shape == (4, 4)
    assert build_model(text, {"d": 7}).weight.shape == (7, 7)


def test_parallel_knows_every_mode_and_branching_concatenates():
    branches = "[{type: LinearLayer, d_in: 4, d_out: 3}, {type: LinearLayer, d_in: 4, d_out: 3}]"
    x = torch.randn(2, 4)
    for mode, shape in (("concat", (2, 6)), ("add", (2, 3)), ("avg", (2, 3))):
        assert build_model(f"topology: {{type: parallel, mode: {mode}, layers: {branches}}}\n")(x).shape == shape
    grid = f"topology: {{type: parallel, mode: grid_scatter, grid: [2, 2], positions: [[0, 0], [1, 1]], layers: {branches}}}\n"
    assert build_model(grid)(x).shape == (2, 2, 2, 1, 3)
    gate = "{type: Gate, layer: {type: LinearLayer, d_in: 4, d_out: 2}}"
    assert build_model(f"topology: {{type: parallel, mode: filter, gate: {gate}, layers: {branches}}}\n")(x).shape == (
        2,
        3,
    )
    assert build_model(f"topology: {{type: BranchingTopology, layers: {branches}}}\n")(x).shape == (2, 6)


def test_recurrent_and_cyclic_topologies_are_built():
    net = build_model(
        "topology: {type: RecurrentTopology, layers: [{type: torch.nn.GRUCell, input_size: 2, hidden_size: 3}]}\n"
    )
    assert net(torch.ones(1, 2))[0].shape == (1, 3)
    net = build_model("topology: {type: cyclic, iterations: 4, layers: [{type: torch.nn.Tanh}]}\n")
    assert isinstance(net, Cyclic)
    assert net.iterations == 4


def test_topologies_nest_to_any_depth():
    inner = {"type": "torch.nn.Identity"}
    for _ in range(5):
        inner = {"type": "residual", "layers": [inner]}
    model = build_model({"topology": inner})
    assert isinstance(model, Residual)
    torch.testing.assert_close(model(torch.ones(1, 1)), torch.full((1, 1), 6.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            one("{type: LinearLayer, d_in: 4, d_out: 2, biass: true}"),
            r"line 4.*no argument 'biass'; did you mean 'bias'\?",
        ),
        (one("{type: LinearLayer, d_in: 4}"), r"line 4.*needs the argument 'd_out': add it"),
        (
            one("{type: LinearLayer, d_in: four, d_out: 2}"),
            r"line 4.*d_in is 'four', but input should be a valid integer",
        ),
        (one("{type: LinearLayer, d_in: 0, d_out: 2}"), r"d_in is 0, but input should be greater than or equal to 1"),
        (one("{type: LinaerLayer, d_in: 4, d_out: 2}"), r"line 4.*no entry is called 'LinaerLayer'"),
        (
            one("{type: torch.nn.Linaer}"),
            r"torch.nn has no module 'Linaer' that can be called; did you mean 'Linear'\?",
        ),
        (one("{type: torch.nn.ModuleList}"), r"torch.nn has no module 'ModuleList' that can be called"),
        ("topology:\n  type: staked\n", r"line 2.*no entry is called 'staked'.*did you mean 'stacked'\?"),
        (one("{type: LinearLayer, 3: 4, d_in: 1, d_out: 1}"), r"line 4.*LinearLayer has no argument '3'"),
        (one("{type: LinearLayer, d_in: true, d_out: 1}"), r"line 4.*d_in is True, but must be a number"),
        (
            one("{type: torch.nn.Linear, in_features: true, out_features: 1}"),
            r"in_features is True, but must be a number",
        ),
        (
            one("{type: RMSNormLayer, d_model: 4, eps: .nan}"),
            r"line 4.*eps is nan, but input should be a finite number",
        ),
        (one("{type: LayerNormLayer, d_model: 4, eps: -1}"), r"line 4.*eps is -1, but input should be greater"),
        (one("{type: torch.nn.GRU, input_size: 4, hidden: 3}"), r"line 4.*GRU has no argument 'hidden'; did you mean"),
        (one("{type: torch.nn.GRU, input_size: 4, hidden_size: 3, proj_size: 2}"), r"GRU has no argument 'proj_size'"),
        (
            "topology: {type: parallel, dim: x, layers: [{type: torch.nn.Tanh}]}\n",
            r"dim is 'x', but input should be a valid",
        ),
        (one("{type: torch.nn.Sequential}"), r"any number of unnamed arguments"),
        (one("{type: scaled dot-product attention}"), r"is no module to build"),
        (one("{type: LinearLayer, d_in: '${d}', d_out: 2}"), r"line 4.*\$\{d\} has no value under vars"),
        (one("{type: AttentionLayer, d_model: 32, n_heads: 5}"), r"line 4.*AttentionLayer: .*5"),
        (
            one("{type: AttentionLayer, d_model: 32, n_heads: 4, sem_dim: 8}"),
            r"mode 'standard' has no setting 'sem_dim'",
        ),
        (one("{type: GroupedQueryAttention, embed_dim: 16, num_heads: 4, num_kv_heads: 3}"), r"line 4.*num_kv_heads"),
        (one("LinearLayer"), r"line 4.*a layer is a mapping with the key 'type'; given: 'LinearLayer'"),
        ("topology:\n  type: stacked\n  layers: []\n", r"line 3.*a list of one layer at least"),
        ("topology:\n  type: stacked\n  layer: []\n", r"line 3.*no key 'layer'; did you mean 'layers'\?"),
        ("name: x\ntopology: {type: stacked}\n", r"line 2: topology.layers: a topology needs 'layers'"),
        ("topology:\n  type: cyclic\n  layers: [{type: torch.nn.Tanh}]\n", r"iterations is None"),
        ("topology: {type: stacked, repeat: 0, layers: [{type: torch.nn.Tanh}]}\n", r"repeat is 0"),
        ("topology: {type: stacked, share: maybe, layers: [{type: torch.nn.Tanh}]}\n", r"share is 'maybe'"),
        ("topology: {type: parallel, mode: sum, layers: [{type: torch.nn.Tanh}]}\n", r"mode is 'sum'"),
        ("topology: {type: parallel, mode: filter, layers: [{type: torch.nn.Tanh}]}\n", r"needs gate="),
        ("topologie: {}\nname: x\n", r"mapping with the key 'topology'"),
        ("topology: {type: torch.nn.Tanh}\nvariables: {}\n", r"line 2: variables: unknown key; did you mean 'vars'\?"),
        ("topology: {type: torch.nn.Tanh}\nname: a\nname: b\n", r"line 3: name: the key is given twice"),
        ("topology: {type: [\n", r"line \d.*this is no YAML"),
        ("vars: [1]\ntopology: {type: torch.nn.Tanh}\n", r"vars is a mapping"),
        (
            "vars:\n  a: '${b}'\n  b: '${a}'\ntopology: {type: torch.nn.Dropout, p: '${a}'}\n",
            r"line [23]: vars.[ab]: the variables (a -> b -> a|b -> a -> b) refer to each other in a circle: give one",
        ),
        (
            "topology:\n  type: stacked\n  layers:\n    - {type: torch.nn.Dropout, p: '${a'}\n",
            r"line 4: topology.layers\[0\].p: a variable cannot be filled in",
        ),
        (
            "vars:\n  a: '???'\ntopology: {type: torch.nn.Dropout, p: '${a}'}\n",
            r"a variable cannot be filled in: Missing",
        ),
    ],
)
def test_a_manifest_that_cannot_be_built_says_where_and_why(text, said):
    with pytest.raises(ManifestError, match=r"(?s)" + said):
        build_model(text)


def graph(*nodes: str, output: str = "") -> str:
    return "topology:\n  type: graph\n  nodes:\n" + "".join(f"    - {n}\n" for n in nodes) + output


NODE = "{{id: {}, inputs: {}, layer: {{type: torch.nn.Identity}}}}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (graph(NODE.format("a", "[b]"), NODE.format("b", "[a]")), r"line \d.*form a cycle, so that none"),
        (graph(NODE.format("a", "[z]")), r"line 4.*takes 'z', which is no node; there is input, a"),
        (graph(NODE.format("a", "[input]"), NODE.format("a", "[input]")), r"line 5.*the id 'a' is given twice"),
        (graph("{id: a, layer: {type: torch.nn.Identity}}"), r"line 4.*exactly the keys id, inputs and layer"),
        ("topology: {type: graph}\n", r"a graph needs 'nodes'"),
        (graph(NODE.format("a", "[input]"), output="  output: z\n"), r"the output is 'z'"),
        (
            graph(NODE.format("a", "[input]"), output="  output: [a]\n"),
            r"line 5.*output is \['a'\], but must be the id of one",
        ),
        (graph(NODE.format("a.b", "[input]")), r"line 4.*a node cannot be called 'a.b': rename it"),
        (graph(NODE.format("keys", "[input]")), r"line 4.*a node cannot be called 'keys': rename it"),
        (graph(NODE.format("a", "[a]")), r"line 4.*the nodes a -> a form a cycle"),
    ],
)
def test_a_graph_that_cannot_be_built_says_where_and_why(text, said):
    with pytest.raises(ManifestError, match=said):
        build_model(text)


def test_the_message_names_the_file(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text("topology:\n  type: stacked\n  layers:\n    - {type: DropoutLayer, p: 2}\n")
    with pytest.raises(ManifestError, match=r"mine.yml, line 4: topology.layers\[0\].p: p is 2, but"):
        build_model(path)
    with pytest.raises(FileNotFoundError):
        build_model(tmp_path / "not there.yml")


def test_a_variable_may_have_any_name():
    assert (
        build_model("vars: {manifest: 3}\ntopology: {type: LinearLayer, d_in: '${manifest}', d_out: 1}\n").in_features
        == 3
    )


def test_what_is_no_manifest_at_all_is_refused():
    with pytest.raises(
        TypeError, match="source is a NoneType, but must be a file, the text of a manifest, or a mapping"
    ):
        build_model(None)


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_torchs_recurrent_layers_are_built_by_their_arguments(name):
    layer = f"{{type: torch.nn.{name}, input_size: 4, hidden_size: 3, num_layers: 2, batch_first: true}}"
    model = build_model(f"topology: {{type: recurrent, layers: [{layer}]}}\n")
    y, states = model(torch.zeros(2, 5, 4))
    assert y.shape == (2, 5, 3)
    assert len(states) == 1
    assert (model.layers[0].num_layers, model.layers[0].batch_first) == (2, True)
    assert resolved(build_model(resolved(model))) == resolved(model)


def test_a_variable_that_does_not_exist_cannot_be_set():
    with pytest.raises(ManifestError, match="no variable 'dd' to set; did you mean 'd'"):
        build_model("vars: {d: 1}\ntopology: {type: torch.nn.Tanh}\n", {"dd": 2})


@pytest.mark.parametrize(
    "given", ["[1, 2]", "{shape: 3}", "{shape: [0]}", "{shape: [2], below: 0}", "{shape: [2], over: 1}"]
)
def test_an_input_of_another_form_is_refused(given):
    with pytest.raises(ManifestError, match=r"line 1: input: input has the form"):
        example_input(f"input: {given}\ntopology: {{type: torch.nn.Tanh}}\n")


def test_a_model_without_a_manifest_has_none():
    with pytest.raises(ValueError, match="was not built from a manifest"):
        resolved(nn.Linear(1, 1))
