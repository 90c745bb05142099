"""What only LoRA on attention projections must hold; the contract tests run on every entry beside these."""

from itertools import combinations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.attention import AttentionLayer, GroupedQueryAttention, MultiHeadAttention
from nnvocab.layers.lora_attention import LoRAProjections, lora_attention


def shake(model):
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.normal_(std=0.3)
    return model


@pytest.mark.oracle("lora-on-attention-projections", by="brute force")
@pytest.mark.parametrize("targets", [c for n in (1, 2, 4) for c in combinations("qkvo", n)])
def test_a_fused_layer_is_the_layer_with_its_weights_changed_in_the_chosen_rows(targets):
    layer, x = MultiHeadAttention(16, 4, num_kv_heads=2), torch.randn(2, 5, 16)
    plain = MultiHeadAttention(16, 4, num_kv_heads=2)
    plain.load_state_dict(layer.state_dict())
    adapted = shake(lora_attention(layer, targets, r=2, lora_alpha=6))
    rows = {"q": slice(0, 16), "k": slice(16, 24), "v": slice(24, 32)}
    with torch.no_grad():
        for t in targets:
            if t == "o":
                plain.out.weight += 3 * layer.out.lora_B @ layer.out.lora_A
            else:
                plain.qkv.weight[rows[t]] += 3 * layer.qkv.lora_B[t] @ layer.qkv.lora_A[t]
    assert_close(adapted(x), plain(x))
    adapted.merge()
    assert_close(adapted(x), plain(x))
    assert_close(layer.qkv.base.weight if set(targets) - {"o"} else layer.qkv.weight, plain.qkv.weight)
    adapted.unmerge()
    assert_close(adapted(x), plain(x))


def test_with_the_same_weights_it_is_pefts_model():
    peft = pytest.importorskip("peft", reason="peft is not installed")
    net, copy, x = GroupedQueryAttention(16, 4, 2), GroupedQueryAttention(16, 4, 2), torch.randn(2, 5, 16)
    copy.load_state_dict(net.state_dict())
    ours = shake(lora_attention(net, ("q", "v"), r=2, lora_alpha=16))
    theirs = peft.get_peft_model(copy, peft.LoraConfig(r=2, lora_alpha=16, target_modules=["q", "v"]))
    with torch.no_grad():
        for t in "qv":
            other = theirs.base_model.model.get_submodule(t)
            other.lora_A["default"].weight.copy_(net.get_submodule(t).lora_A)
            other.lora_B["default"].weight.copy_(net.get_submodule(t).lora_B)
    assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("targets", [("q",), ("q", "v"), ("q", "k", "v", "o")])
def test_subsets_of_equal_budget_train_equally_many_numbers(targets):
    counts = {
        lora_attention(MultiHeadAttention(64, 4), targets, r=8 // len(targets)).trainable_parameters(),
        lora_attention(MultiHeadAttention(64, 4), ("k",), r=8).trainable_parameters(),
    }
    assert counts == {8 * (64 + 64)}


def test_starts_as_the_model_was_and_finds_every_layer():
    model = nn.Sequential(MultiHeadAttention(16, 2), nn.Linear(16, 16), GroupedQueryAttention(16, 4, 1))
    x = torch.randn(2, 3, 16)
    before = model(x)
    adapted = lora_attention(model, ("v", "o"), r=1)
    assert torch.equal(adapted(x), before)
    assert adapted.adapted == ("0.qkv", "0.out", "2.v", "2.out")


def test_both_paths_of_decoupled_attention_count_as_queries():
    layer = AttentionLayer.from_settings({"mode": "decoupled", "d_model": 16, "n_heads": 2, "sem_dim": 8, "geo_dim": 8})
    adapted = lora_attention(layer, ["q"], r=2)
    assert adapted.adapted == ("attention.paths.q_sem", "attention.paths.q_geo")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lora_attention(MultiHeadAttention(16, 2), ["x"]), "letters out of q, k, v, o"),
        (lambda: lora_attention(MultiHeadAttention(16, 2), "qv"), "a list of letters"),
        (lambda: lora_attention(nn.Sequential(nn.Linear(4, 4)), ["q"]), "q or q_proj"),
        (lambda: lora_attention(nn.MultiheadAttention(16, 2), ["q"]), "from_multi_head"),
        (lambda: LoRAProjections(nn.Linear(4, 12), {"q": 4, "k": 4}, ["q"], r=1), "have width 8"),
        (lambda: LoRAProjections(nn.Linear(4, 8), {"q": 4, "k": 4}, ["v"], r=1), "parts out of q, k"),
        (lambda: LoRAProjections(nn.Linear(4, 8), {"q": 4, "k": 4}, [], r=1), "parts out of q, k"),
        (lambda: lora_attention(nn.ModuleDict({"qkv": nn.Linear(4, 8)}), ["q"]), "three equal parts"),
        (lambda: LoRAProjections(nn.Linear(4, 8), {"q": 4, "k": 4}, ["q"], r=9), "between 1 and 4"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_merging_twice_is_refused():
    layer = LoRAProjections(nn.Linear(4, 8), {"q": 4, "k": 4}, ["q"], r=1)
    with pytest.raises(RuntimeError, match="not merged"):
        layer.unmerge()
    layer.merge()
    with pytest.raises(RuntimeError, match="twice"):
        layer.merge()


def test_without_heads_to_read_a_fused_layer_is_three_equal_parts():
    model = lora_attention(nn.ModuleDict({"qkv": nn.Linear(4, 12)}), ["q", "v"], r=1)
    assert model.layers()["qkv"].parts == {"q": 4, "k": 4, "v": 4}


def test_dropout_hides_the_input_from_the_changes_only():
    layer, x = (
        shake(LoRAProjections(nn.Linear(4, 8), {"q": 4, "k": 4}, ["q"], r=2, lora_dropout=0.5)),
        torch.randn(9, 4),
    )
    assert not torch.equal(layer(x), layer(x))
    assert_close(layer(x)[:, 4:], layer.base(x)[:, 4:])
    layer.eval()
    assert_close(layer(x), x @ (layer.base.weight + layer.change()).T + layer.base.bias)


def test_of_a_fused_layer_alone_the_narrow_weights_learn_and_nothing_else():
    layer = LoRAProjections(nn.Linear(4, 8), {"q": 4, "k": 4}, ["q"], r=2)
    assert {n for n, p in layer.named_parameters() if p.requires_grad} == {"lora_A.q", "lora_B.q"}


def test_the_rank_is_8_and_the_change_is_doubled_unless_told_otherwise():
    fused = LoRAProjections(nn.Linear(16, 32), {"q": 16, "k": 16}, ["q"])
    adapted = lora_attention(GroupedQueryAttention(16, 2, 2)).layers()
    assert list(adapted) == ["q", "v"]
    for layer in (fused, *adapted.values()):
        A = layer.lora_A["q"] if layer is fused else layer.lora_A
        assert A.shape == (8, 16) and layer.scaling == 2.0 and layer.dropout.p == 0.0
