"""What only the router must hold."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.layers.router import TopKRouter, keep_top_k


def test_what_is_not_kept_weighs_nothing_but_zeroed_logits_would():
    logits = torch.tensor([2.0, 1.0, 0.5, -1.0])
    assert_close(keep_top_k(logits, 2).softmax(-1), torch.tensor([0.7311, 0.2689, 0.0, 0.0]), atol=1e-4, rtol=0)
    zeroed = torch.tensor([2.0, 1.0, 0.0, 0.0]).softmax(-1)
    assert_close(zeroed[2:], torch.full((2,), 0.0826), atol=1e-3, rtol=0)  # each unchosen expert keeps 8 %


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_weights_are_the_softmax_over_the_kept_logits(top_k):
    router, x = TopKRouter(6, 4, top_k), torch.randn(5, 6)
    routing = router(x)
    dense = torch.zeros(5, 4).scatter(1, routing.experts, routing.weights)
    assert_close(dense, keep_top_k(router.score(x), top_k).softmax(-1))
    assert (routing.weights[:, :-1] >= routing.weights[:, 1:]).all()


def test_without_renormalizing_a_weight_is_a_probability_among_all_experts():
    router, x = TopKRouter(6, 4, 1, renormalize=False), torch.randn(5, 6)
    routing = router(x)
    assert_close(routing.weights[:, 0], router.score(x).softmax(-1).amax(-1))


def test_one_renormalized_expert_leaves_the_router_no_gradient():
    x = torch.randn(5, 6)
    for renormalize, moves in ((True, False), (False, True)):
        router = TopKRouter(6, 4, 1, renormalize=renormalize)
        router(x).weights.sum().backward()
        assert bool(router.score.weight.grad.abs().max() > 1e-6) is moves


def test_noise_is_added_in_training_alone_and_its_size_is_learned():
    router, x = TopKRouter(6, 4, 2, noisy=True), torch.randn(500, 6)
    assert [n for n, _ in router.named_parameters()] == ["score.weight", "noise.weight"]
    router.eval()
    assert_close(router(x).logits, router.score(x))
    router.train()
    noise = router(x).logits - router.score(x)
    assert_close(noise.std(), torch.tensor(0.6931), atol=0.05, rtol=0)  # softplus(0)
    router(x).weights[:, 0].sum().backward()
    assert router.noise.weight.grad.abs().max() > 0


def test_bfloat16_logits_are_normalized_in_float32():
    routing = TopKRouter(6, 4, 2).to(torch.bfloat16)(torch.randn(5, 6, dtype=torch.bfloat16))
    assert routing.probs.dtype == torch.float32 and routing.weights.dtype == torch.bfloat16


@pytest.mark.parametrize("top_k", [0, 5])
def test_more_experts_than_there_are_or_none_are_refused(top_k):
    with pytest.raises(ValueError, match="between 1 and num_experts 4"):
        TopKRouter(6, 4, top_k)


def test_what_does_not_fit_is_refused():
    for k in (0, 5):
        with pytest.raises(ValueError, match="k is .*between 1 and 4"):
            keep_top_k(torch.zeros(3, 4), k)
    with pytest.raises(ValueError, match="last axis must have 6 features"):
        TopKRouter(6, 4)(torch.zeros(3, 5))
