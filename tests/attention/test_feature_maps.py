"""Feature maps: positive, and random ones that meet the softmax's kernel on average."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention import EluPlusOne, LearnedFeatures, RandomFeatures, ReluFeatures, make_feature_map
from nnvocab.attention.feature_maps import features_of


def test_simple_maps_are_what_they_say():
    x = torch.tensor([-1.0, 0.0, 2.0])
    assert_close(EluPlusOne()(x), torch.tensor([torch.e**-1, 1.0, 3.0]))
    assert_close(ReluFeatures()(x), torch.tensor([0.0, 0.0, 2.0]))


def test_learned_features_are_positive_sum_to_one_and_learn():
    features = LearnedFeatures(4, 6)
    y = features(torch.randn(5, 4))
    assert (y > 0).all()
    assert_close(y.sum(-1), torch.ones(5))
    y[:, 0].sum().backward()
    assert features.weight.grad.abs().sum() > 0


def test_learned_features_are_the_softmax_over_a_projection_and_its_negative():
    features = LearnedFeatures(1, 4)
    features.load_state_dict({"weight": torch.tensor([[1.0], [2.0]]).log()})
    y = features(torch.tensor([[1.0], [-1.0]]))  # e to the power of log 1, log 2, -log 1, -log 2
    assert_close(y, torch.tensor([[1.0, 2.0, 1.0, 0.5], [1.0, 0.5, 1.0, 2.0]]) / 4.5)


def test_random_features_meet_the_exponential_kernel_and_more_of_them_come_nearer():
    g = torch.Generator().manual_seed(0)
    q, k = (torch.randn(2, 50, 8, generator=g) / 2).unbind()  # the longer the vectors, the more features it takes
    exact = torch.exp(q @ k.T / 8**0.5)

    def error(n):
        errors = []
        for _ in range(8):
            f = RandomFeatures(8, n, generator=g)
            errors.append(((f(q) @ f(k).T / exact - 1).square().mean()).sqrt())
        return torch.stack(errors).mean()

    assert error(4096) < 0.1 < error(256) < error(16)
    assert error(1024) < 0.7 * error(256)  # half, where the variance falls with the number


def test_random_directions_are_orthogonal_in_blocks_and_as_long_as_gaussian_ones():
    W = RandomFeatures(16, 32, generator=torch.Generator().manual_seed(0)).weight
    gram = W @ W.T
    for block in (gram[:16, :16], gram[16:, 16:]):
        assert_close(block, torch.diag(block.diagonal()), atol=1e-4, rtol=0)
    assert abs(W.square().sum(-1).mean() - 16) < 4
    assert not any(p.requires_grad for p in RandomFeatures(4, 4).parameters())


def test_the_same_generator_draws_the_same_directions():
    a, b = (RandomFeatures(4, 6, generator=torch.Generator().manual_seed(1)).weight for _ in range(2))
    assert torch.equal(a, b)


def test_the_largest_exponents_come_off_and_the_weights_stay():
    features = RandomFeatures(4, 6, generator=torch.Generator().manual_seed(0))
    q, k = torch.randn(2, 1, 2, 5, 4, generator=torch.Generator().manual_seed(1)).unbind()
    phi_q, phi_k, _ = features_of(features, q, k)
    assert_close(phi_q.amax(-1), torch.ones(1, 2, 5))
    assert_close(phi_k.amax(-2), torch.ones(1, 2, 6))
    weights, bare = phi_q @ phi_k.mT, features(q) @ features(k).mT
    assert_close(weights / weights.sum(-1, keepdim=True), bare / bare.sum(-1, keepdim=True))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("softmax", 4), "must be one of"),
        (("relu", 4, 8), "as wide"),
        (("learned", 4, 5), "even"),
        (("favor", 4, 0), "at least"),
    ],
)
def test_what_does_not_exist_is_refused(args, message):
    with pytest.raises(ValueError, match=message.replace("as wide", "as many")):
        make_feature_map(*args)
