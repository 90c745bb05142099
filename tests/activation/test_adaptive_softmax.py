"""What only adaptive softmax must hold."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.activation.adaptive_softmax import AdaptiveSoftmax, adaptive_log_softmax, adaptive_softmax
from nnvocab.activation.hierarchical_softmax import hierarchical_softmax


def pair(head_bias=False):
    torch.manual_seed(0)
    theirs = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [4, 8], div_value=2.0, head_bias=head_bias).double()
    ours = AdaptiveSoftmax(8, 12, (4, 8), div_value=2.0, head_bias=head_bias).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.oracle("adaptive-softmax", by="peer: torch.nn.AdaptiveLogSoftmaxWithLoss")
@pytest.mark.parametrize("head_bias", [False, True])
def test_torch_gives_the_same_probabilities_loss_and_gradients(scores, head_bias):
    ours, theirs = pair(head_bias)
    x, y = scores(30, 8), torch.randint(12, (30,), generator=torch.Generator().manual_seed(1))
    assert_close(ours.log_prob(x), theirs.log_prob(x))
    assert_close(ours(x).sum(-1), torch.ones(30).double())
    one, two = ours.loss(x, y), theirs(x, y).loss
    assert_close(one, two)
    grads = [torch.autograd.grad(loss, list(m.parameters())) for loss, m in ((one, ours), (two, theirs))]
    assert_close(*grads)


def test_the_loss_is_the_cross_entropy_of_the_probabilities(scores):
    ours, _ = pair()
    x, y = scores(30, 8), torch.arange(30) % 12
    assert_close(ours.loss(x, y), nn.functional.nll_loss(ours.log_prob(x), y))
    few = torch.zeros(30, dtype=torch.long)  # no sample in a tail
    assert_close(ours.loss(x, few), nn.functional.nll_loss(ours.log_prob(x), few))


def test_of_scores_it_is_a_tree_of_two_levels(scores):
    x = scores(2, 11)  # 3 in the head, 2 tails, 2 and 4 classes
    order = [0, 1, 2, 3, 5, 6, 4, 7, 8, 9, 10]  # depth first, each tail follows its place
    tree = (0, 1, 2, (3, 4), (5, 6, 7, 8))
    assert_close(adaptive_softmax(x, (3, 5, 9)), hierarchical_softmax(x[:, order], tree))
    assert_close(adaptive_softmax(x.T, (3, 5, 9), 0), adaptive_softmax(x, (3, 5, 9)).T)


def test_the_jacobian_is_that_of_two_softmaxes_in_a_row(scores):
    x, cutoffs = scores(11), (3, 5, 9)  # five scores for the head, then tails of two and of four
    p, head, tails = adaptive_softmax(x, cutoffs), x[:5].softmax(0), [x[5:7].softmax(0), x[7:].softmax(0)]
    expected = torch.zeros(9, 11, dtype=torch.float64)
    for c, place in enumerate([0, 1, 2, 3, 3, 4, 4, 4, 4]):
        for j in range(5):
            expected[c, j] = p[c] * (float(place == j) - head[j])
        for j, t in enumerate(tails[place - 3] if place > 2 else ()):
            expected[c, (5, 7)[place - 3] + j] = p[c] * (float(c - cutoffs[place - 3] == j) - t)
    assert_close(torch.autograd.functional.jacobian(lambda v: adaptive_softmax(v, cutoffs), x), expected)


def test_gradients_are_right(scores):
    assert torch.autograd.gradcheck(lambda x: adaptive_softmax(x, (3, 5, 9)), (scores(2, 11).requires_grad_(),))
    assert_close(adaptive_log_softmax(scores(4), (4,)), scores(4).log_softmax(-1))


def test_what_does_not_fit_is_refused(scores):
    for cutoffs in ((8, 4), (4, 4), (0, 4)):
        with pytest.raises(ValueError, match="rising"):
            AdaptiveSoftmax(8, 12, cutoffs)
    with pytest.raises(ValueError, match="rising"):
        adaptive_softmax(scores(3), ())
    with pytest.raises(ValueError, match="below n_classes"):
        AdaptiveSoftmax(8, 12, (12,))
    with pytest.raises(ValueError, match="smaller div_value"):
        AdaptiveSoftmax(8, 12, (4, 8), div_value=8.0)
    with pytest.raises(ValueError, match="div_value is 0.5"):
        AdaptiveSoftmax(8, 12, (4, 8), div_value=0.5)
    with pytest.raises(ValueError, match="11"):
        adaptive_softmax(scores(2, 10), (3, 5, 9))
    with pytest.raises(ValueError, match=r"\(N, C\)"):
        pair()[0].loss(scores(2, 8), torch.zeros(3, dtype=torch.long))
    for outside in (12, -1, -100):
        with pytest.raises(ValueError, match="outside of 0 to 11"):
            pair()[0].loss(scores(2, 8), torch.tensor([0, outside]))


def test_each_tail_is_narrower_by_the_same_factor():
    layer = AdaptiveSoftmax(64, 1000, (50, 200, 600))
    assert layer.head.bias is None
    assert [tail[0].out_features for tail in AdaptiveSoftmax(8, 12, (4, 8), div_value=1).tail] == [8, 8]
    assert [tail[0].out_features for tail in layer.tail] == [16, 4, 1]
    assert [tail[1].out_features for tail in layer.tail] == [150, 400, 400]


def test_samples_may_stand_on_several_axes(scores):
    layer, x = pair()[0], scores(2, 5, 8)
    assert_close(layer(x)[1, 3], layer(x[1, 3]))
