from __future__ import annotations

import pytest
import torch

from nnvocab.compose import KMeansExperts


@pytest.mark.oracle("parallel-k-means-experts", by="brute force")
@pytest.mark.parametrize("mode", ["concat", "filter"])
def test_the_logits_are_the_sum_over_experts_and_clusters(mode):
    torch.manual_seed(0)
    net = KMeansExperts(3, 2, (4, 2), mode=mode, temperature=0.7).double()
    torch.nn.init.normal_(net.bias)
    x = torch.randn(5, 3, dtype=torch.float64)
    for b in range(5):
        share = [1.0, 1.0] if mode == "concat" else net.gate(x[b]).softmax(0).tolist()
        expected = net.bias.clone()
        for i, (expert, head) in enumerate(zip(net.experts, net.heads, strict=True)):
            distance = torch.stack([((x[b] - c) ** 2).sum() for c in expert.centres])
            weights = (-distance / 0.7).exp()
            for k in range(len(weights)):
                expected = expected + share[i] * weights[k] / weights.sum() * head.weight[:, k]
        torch.testing.assert_close(net(x)[b], expected)


@pytest.mark.parametrize("mode", ["concat", "filter"])
def test_the_trace_adds_up_to_the_logit_of_the_predicted_class(mode):
    net = KMeansExperts(3, 4, (4, 2, 5), mode=mode)
    x = torch.randn(6, 3)
    trace = net.trace(x)
    torch.testing.assert_close(trace.contribution.sum(1) + net.bias[trace.prediction], net(x).amax(1))
    torch.testing.assert_close(trace.weight.sum(1), torch.ones(6))
    for i, expert in enumerate(net.experts):
        torch.testing.assert_close(trace.cluster[:, i], expert.symbols(x))


def test_centres_start_on_the_data():
    net = KMeansExperts(2, 2, (3, 3))
    x = torch.randn(20, 2) + 100
    net.init_centres(x, generator=torch.Generator().manual_seed(0))
    for expert in net.experts:
        assert all((x == c).all(1).any() for c in expert.centres)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="num_clusters is empty"):
        KMeansExperts(2, 2, ())
    with pytest.raises(ValueError, match="mode is 'add', but must be"):
        KMeansExperts(2, 2, (2,), mode="add")
    with pytest.raises(ValueError, match=r"x has shape \(3, 5\), but \(B, 2\) is needed"):
        KMeansExperts(2, 2, (2,))(torch.ones(3, 5))
