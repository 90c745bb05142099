"""What only low-rank adaptation of a model must hold; the contract tests run on every entry beside these."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.attention import GroupedQueryAttention
from nnvocab.layers.linear import Linear
from nnvocab.layers.lora import LoRAModel, named_targets


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = GroupedQueryAttention(16, 4, 2)
        self.head = nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))

    def forward(self, x):
        return self.head(self.attention(x).mean(1))


def learned(r=2):
    model = LoRAModel(Net(), ["q", "v", "head.0"], r, lora_alpha=8)
    for layer in model.layers().values():
        nn.init.normal_(layer.lora_B, std=0.3)
    return model


@pytest.mark.oracle("low-rank-adaptation", by="peer: peft")
def test_with_the_same_weights_it_is_pefts_model():
    peft = pytest.importorskip("peft", reason="peft is not installed")
    net, x = Net(), torch.randn(5, 4, 16)
    theirs = peft.get_peft_model(
        copy.deepcopy(net), peft.LoraConfig(r=2, lora_alpha=8, target_modules=["q", "v", "head.0"])
    )
    ours = LoRAModel(net, ["q", "v", "head.0"], 2, lora_alpha=8)
    assert sorted(ours.adapted) == sorted(
        n for n, m in theirs.base_model.model.named_modules() if isinstance(m, peft.tuners.lora.Linear)
    )
    with torch.no_grad():
        for name, layer in ours.layers().items():
            nn.init.normal_(layer.lora_B)
            other = theirs.base_model.model.get_submodule(name)
            other.lora_A["default"].weight.copy_(layer.lora_A)
            other.lora_B["default"].weight.copy_(layer.lora_B)
    assert_close(ours(x), theirs(x))
    trainable, total = theirs.get_nb_trainable_parameters()
    assert ours.trainable_parameters() == trainable
    assert ours.trainable_share() == trainable / total
    assert_close(torch.autograd.grad(ours(x).sum(), list(p for p in ours.parameters() if p.requires_grad)),
                 torch.autograd.grad(theirs(x).sum(), list(p for p in theirs.parameters() if p.requires_grad)))  # fmt: skip


def test_starts_as_the_model_was():
    net, x = Net(), torch.randn(5, 4, 16)
    before = net(x)
    assert torch.equal(LoRAModel(net, ["q", "k", "v", "out"], 2)(x), before)


def test_training_moves_the_changes_and_nothing_else():
    model, x = learned(), torch.randn(5, 4, 16)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(x).square().sum().backward()
    optimizer.step()
    for n, p in model.named_parameters():
        assert torch.equal(p, before[n]) == (".lora_" not in n)


def test_the_stored_change_is_all_that_a_task_needs():
    first, x = learned(), torch.randn(5, 4, 16)
    base = {n: p for n, p in first.model.state_dict().items() if ".lora_" not in n}
    second = learned()
    second.model.load_state_dict(base, strict=False)
    state = first.adapter_state_dict()
    assert all(".lora_" in n for n in state) and sum(t.numel() for t in state.values()) == first.trainable_parameters()
    assert not torch.allclose(second(x), first(x))
    second.load_adapter(state)
    assert torch.equal(second(x), first(x))


def test_merged_equals_unmerged_and_back_again():
    model, x = learned(), torch.randn(5, 4, 16)
    before = model(x)
    model.merge()
    assert (model(x) - before).abs().max() < 1e-6
    with pytest.raises(RuntimeError, match="unmerge"):
        model.load_adapter(model.adapter_state_dict())
    model.unmerge()
    assert (model(x) - before).abs().max() < 1e-6


def test_the_linear_layer_of_this_chapter_is_adapted_too():
    layer, x = Linear(6, 4), torch.randn(3, 6)
    model = LoRAModel(nn.Sequential(layer), ["0"], 2, lora_alpha=4)
    nn.init.normal_(model.model[0].lora_B)
    assert_close(model(x), x @ (layer.weight + 2 * model.model[0].lora_B @ model.model[0].lora_A).T + layer.bias)


def test_named_inputs_reach_the_model():
    model, x = LoRAModel(GroupedQueryAttention(16, 4, 2), ["q"], 2), torch.randn(2, 4, 16)
    padding = torch.tensor([[False, False, True, True]] * 2)
    assert_close(model(x, key_padding_mask=padding), model.model(x, key_padding_mask=padding))
    assert not torch.allclose(model(x, key_padding_mask=padding), model(x))


def test_names_are_matched_at_their_end_only():
    assert named_targets(Net(), ["q"]) == ["attention.q"]
    assert named_targets(Net(), ["head.2", "out"]) == ["attention.out", "head.2"]
    assert named_targets(Net(), ["attention.q"]) == ["attention.q"]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LoRAModel(Net(), ["query"]), ValueError, "no module is called 'query'.* q, v"),
        (lambda: LoRAModel(Net(), ["head.1"]), TypeError, "is a ReLU"),
        (lambda: LoRAModel(Net(), "q"), TypeError, "give a list"),
        (lambda: LoRAModel(Net(), []), ValueError, "nothing would learn"),
        (lambda: learned(2).load_adapter(learned(3).adapter_state_dict()), ValueError, "in these shapes"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_rank_is_8_and_the_change_is_doubled_unless_told_otherwise():
    layer = LoRAModel(nn.Sequential(nn.Linear(16, 16)), ["0"]).model[0]
    assert layer.lora_A.shape == (8, 16) and layer.scaling == 2.0 and layer.dropout.p == 0.0
