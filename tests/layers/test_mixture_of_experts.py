"""What only the mixture of experts must hold; the contract tests run on every entry beside these."""

import copy

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.testing import assert_close

from nnvocab.layers.experts import SwiGLUExperts, mix_experts
from nnvocab.layers.load_balancing import load_balancing_loss, router_z_loss
from nnvocab.layers.mixture_of_experts import MixtureOfExperts
from nnvocab.layers.router import TopKRouter


@pytest.mark.oracle("mixture-of-experts", by="brute force")
@pytest.mark.parametrize("capacity_factor", [None, 0.5, 1.0])
@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_is_the_sum_over_the_experts_of_a_token_written_out(top_k, capacity_factor):
    layer, x = MixtureOfExperts(6, 4, top_k, capacity_factor=capacity_factor), torch.randn(2, 7, 6)
    routing = layer.router(x.view(14, 6))
    capacity = None if top_k == 4 else layer.capacity(14)
    expected = mix_experts(
        x.view(14, 6), routing.experts, routing.weights, *layer.experts.parameters(), capacity=capacity
    )
    assert_close(layer(x), expected.view(2, 7, 6))


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_equals_the_layer_of_mixtral_with_its_weights(top_k):
    peer = pytest.importorskip("transformers.models.mixtral.modeling_mixtral", reason="the peer is optional")
    config = peer.MixtralConfig(hidden_size=16, intermediate_size=24, num_local_experts=4, num_experts_per_tok=top_k)
    theirs = peer.MixtralSparseMoeBlock(config)
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=0.3)
    ours = MixtureOfExperts(16, 4, top_k, hidden_dim=24)
    with torch.no_grad():
        ours.router.score.weight.copy_(theirs.gate.weight)
        ours.experts.gate.copy_(theirs.experts.gate_up_proj[:, :24])
        ours.experts.up.copy_(theirs.experts.gate_up_proj[:, 24:])
        ours.experts.down.copy_(theirs.experts.down_proj)
    x = torch.randn(2, 5, 16)
    assert_close(ours(x), theirs(x))


def test_all_experts_at_once_equal_dispatch_to_all():
    dense, x = MixtureOfExperts(6, 3, 3), torch.randn(4, 6)
    routing = dense.router(x)
    expected = mix_experts(x, routing.experts, routing.weights, *dense.experts.parameters())
    assert_close(dense(x), expected)


def test_one_expert_is_that_network():
    layer, x = MixtureOfExperts(6, 1, 1), torch.randn(4, 6)
    assert_close(layer(x), layer.experts.batch(x[None])[0])


def test_order_of_the_tokens_does_not_matter_without_a_capacity():
    layer, x, order = MixtureOfExperts(6, 4, 2), torch.randn(9, 6), torch.randperm(9)
    assert_close(layer(x)[order], layer(x[order]))


def test_seats_follow_the_capacity_and_statistics_say_who_was_dropped():
    layer, x = MixtureOfExperts(6, 4, 1, capacity_factor=1.0), torch.randn(1, 8, 6)
    with torch.no_grad():
        layer.router.score.weight.zero_()  # all logits are equal: all tokens choose the same expert
    y, routing = layer(x, need_routing=True)
    assert layer.capacity(8) == 2
    assert int(routing.tokens_per_expert.sum()) == 2 and routing.dropped == 0.75
    dropped = ~routing.seated[..., 0]
    assert_close(y[dropped], torch.zeros(6, 6))
    assert (y[~dropped].abs().sum(-1) > 0).all()


def test_statistics_add_up():
    layer, x = MixtureOfExperts(6, 4, 2), torch.randn(2, 5, 6)
    _, routing = layer(x, need_routing=True)
    assert routing.experts.shape == (2, 5, 2) and routing.probs.shape == (2, 5, 4)
    assert int(routing.tokens_per_expert.sum()) == 20 and routing.dropped == 0
    assert_close(routing.weights.sum(-1), torch.ones(2, 5))
    assert 0 < routing.entropy <= 1


def test_losses_are_numbers_before_the_first_call_and_belong_to_the_last():
    layer = MixtureOfExperts(6, 4, 2).eval()
    assert layer.auxiliary_loss() == 0.0  # where None would raise
    for x in (torch.randn(3, 6), torch.randn(5, 6)):
        layer(x)
        routing = layer.router(x)
        balance, z = load_balancing_loss(routing.probs, routing.experts), router_z_loss(routing.logits)
        assert_close(layer.aux_loss, balance)
        assert_close(layer.auxiliary_loss(), 0.01 * balance + 0.001 * z)


def test_load_is_kept_in_training_and_saved():
    layer, x = MixtureOfExperts(6, 4, 2), torch.randn(50, 6)
    layer.eval()(x)
    assert_close(layer.expert_load, torch.full((4,), 0.25))
    layer.train()(x)
    assert not torch.allclose(layer.expert_load, torch.full((4,), 0.25))
    assert_close(layer.expert_load.sum(), torch.tensor(1.0))
    assert "load.share" in layer.state_dict()


def test_a_trained_layer_can_be_copied():
    layer = MixtureOfExperts(6, 4, 2)
    layer(torch.randn(3, 6, requires_grad=True))
    made = copy.deepcopy(layer)
    assert_close(made.aux_loss, layer.aux_loss)
    assert not made.aux_loss.requires_grad and layer.aux_loss.requires_grad


def test_work_for_a_token_depends_on_the_experts_it_visits_and_not_on_how_many_there_are():
    few, many = MixtureOfExperts(6, 4, 2, hidden_dim=8), MixtureOfExperts(6, 64, 2, hidden_dim=8)
    assert few.flops_per_token()["sparse"] == many.flops_per_token()["sparse"] == 2 * 2 * 3 * 6 * 8
    assert many.flops_per_token()["dense"] == 16 * few.flops_per_token()["dense"]
    assert many.flops_per_token()["router"] == 2 * 6 * 64


def test_experts_are_as_wide_as_eight_thirds_unless_told_otherwise():
    assert MixtureOfExperts(16, 4).experts.down.shape == (4, 16, 48)  # 8 * 16 / 3, rounded up to a multiple of 8


def test_entropy_is_the_share_of_the_most_that_there_can_be():
    layer, x = MixtureOfExperts(6, 4, 1), torch.randn(8, 6)
    torch.nn.init.zeros_(layer.router.score.weight)
    assert_close(layer(x, need_routing=True)[1].entropy, torch.tensor(1.0))  # all are equally probable
    with torch.no_grad():
        layer.router.score.weight[0] = 100.0  # for these tokens expert 0 is certain
    assert_close(layer(x.abs(), need_routing=True)[1].entropy, torch.tensor(0.0))


@pytest.mark.parametrize("num_experts", [2, 3, 8])
def test_entropy_of_a_router_that_is_not_sure_is_that_of_its_mean(num_experts):
    layer, x = MixtureOfExperts(6, num_experts, 1), torch.randn(5, 6)
    mean = layer.router(x).probs.mean(dim=0)
    expected = torch.distributions.Categorical(mean).entropy() / torch.tensor(float(num_experts)).log()
    assert_close(layer(x, need_routing=True)[1].entropy, expected)


def test_a_token_alone_is_taken_and_visits_two_experts_unless_told_otherwise():
    layer, x = MixtureOfExperts(6, 4), torch.randn(6)
    y, routing = layer(x, need_routing=True)
    assert_close(y, layer(x[None])[0])
    assert y.shape == (6,) and routing.experts.shape == (2,)


def test_where_all_experts_compute_nothing_is_dropped_whatever_the_capacity():
    layer, x = MixtureOfExperts(6, 4, 4, capacity_factor=0.5), torch.randn(7, 6)
    _, routing = layer(x, need_routing=True)
    assert routing.tokens_per_expert.tolist() == [7] * 4 and routing.dropped == 0 and routing.seated.all()


def test_a_router_of_ones_own_is_used():
    layer, x = MixtureOfExperts(6, 4, 1, router=TopKRouter(6, 4, 1, renormalize=False)), torch.randn(3, 6)
    chosen = layer.router(x)
    expected = layer.experts.every(x)[chosen.experts[:, 0], torch.arange(3)] * chosen.probs.amax(-1, keepdim=True)
    assert_close(layer(x), expected)


def test_noise_and_dropout_are_gone_in_evaluation():
    layer = MixtureOfExperts(6, 4, 2, expert_dropout=0.3, router=TopKRouter(6, 4, 2, noisy=True))
    x = torch.randn(20, 6)
    assert not torch.allclose(layer(x), layer(x))
    layer.eval()
    assert_close(layer(x), layer(x))


@pytest.mark.parametrize(("top_k", "capacity_factor"), [(2, None), (2, 1.0), (4, None)])
def test_no_tokens_give_none_and_losses_that_are_no_nan(top_k, capacity_factor):
    layer = MixtureOfExperts(6, 4, top_k, capacity_factor=capacity_factor)
    y, routing = layer(torch.zeros(2, 0, 6), need_routing=True)
    assert y.shape == (2, 0, 6)
    assert layer.aux_loss == 0 and layer.z_loss == 0 and routing.dropped == 0
    assert_close(layer.expert_load, torch.full((4,), 0.25))


def test_a_capacity_that_comes_out_even_is_not_rounded_up():
    for tenths in range(1, 40):
        layer = MixtureOfExperts(6, 4, 2, capacity_factor=tenths / 10)
        assert layer.capacity(200) == min(200, 10 * tenths)  # tenths / 10 * 200 * 2 / 4


def test_impossible_layers_and_inputs_are_refused():
    with pytest.raises(ValueError, match="between 1 and num_experts"):
        MixtureOfExperts(6, 2, 3)
    for factor in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="must be positive"):
            MixtureOfExperts(6, 4, 2, capacity_factor=factor)
    with pytest.raises(ValueError, match="make both the same"):
        MixtureOfExperts(6, 4, 2, router=TopKRouter(6, 8, 2))
    with pytest.raises(ValueError, match="made for width 6"):
        MixtureOfExperts(6, 4, 2)(torch.zeros(3, 5))


def test_stacked_experts_are_ordinary_parameters():
    names = {n for n, _ in MixtureOfExperts(6, 4, 2, bias=True).named_parameters()}
    assert {"experts.gate", "experts.up", "experts.down", "experts.gate_bias", "router.score.weight"} <= names
    assert isinstance(MixtureOfExperts(6, 4, 2).experts, SwiGLUExperts)


@pytest.mark.parametrize("training", [False, True])
def test_without_a_capacity_nothing_is_made_on_another_device(training, monkeypatch):
    """The lengths of the groups are read back, and fake CUDA tensors have none: possible ones stand in for them."""
    layer = MixtureOfExperts(6, 4, 2, bias=True, expert_dropout=0.5, router=TopKRouter(6, 4, 2, noisy=True))
    monkeypatch.setattr(FakeTensor, "tolist", lambda counts: [3, 0, 5, 2], raising=False)
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=False):
        kept = [*layer.named_parameters(), *layer.named_buffers()]
        state = {n: torch.empty(t.shape, dtype=t.dtype, device="cuda") for n, t in kept}
        x = torch.empty(1, 5, 6, device="cuda")
        y, routing = torch.func.functional_call(layer.train(training), state, (x,), {"need_routing": True})
        losses = layer.aux_loss, layer.z_loss  # made when they are read
    assert y.shape == (1, 5, 6) and all(t.device.type == "cuda" for t in (y, *routing, *losses))
