"""Retention: parallel, recurrent and chunked forms agree with each other and with the peer."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention import (
    MultiScaleRetention,
    decay_mask,
    dependencies,
    peak_bytes,
    retention,
    retention_chunked,
    retention_step,
    rule_mask,
)

DECAYS = torch.tensor([0.9, 0.5], dtype=torch.float64)


def heads(T, E=3):
    g = torch.Generator().manual_seed(0)
    shapes = (2, 2, T, 4), (2, 2, T, 4), (2, 2, T, E)
    return [torch.randn(s, generator=g, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("retentive-network", by="brute force")
def test_is_the_decaying_sum_written_out():
    q, k, v = heads(6)
    y = retention(q, k, v, decays=DECAYS)
    for h, gamma in enumerate((0.9, 0.5)):
        for i in range(6):
            expected = sum(
                gamma ** (i - j) * (q[:, h, i] * k[:, h, j]).sum(-1, keepdim=True) * v[:, h, j] for j in range(i + 1)
            )
            assert_close(y[:, h, i], expected)


@pytest.mark.parametrize("T", [1, 5, 64, 65, 200])
def test_chunks_agree_with_the_parallel_form_on_the_value_and_on_every_gradient(T):
    given = [*heads(T), DECAYS.clone().requires_grad_()]
    plain, fast = (f(*given[:3], decays=given[3]) for f in (retention, retention_chunked))
    c = torch.randn_like(plain)
    assert_close(plain, fast)
    assert_close(torch.autograd.grad((plain * c).sum(), given), torch.autograd.grad((fast * c).sum(), given))


def test_steps_agree_with_the_parallel_form():
    q, k, v = heads(9)
    state, rows = None, []
    for t in range(9):
        y, state = retention_step(q[:, :, t], k[:, :, t], v[:, :, t], state, decays=DECAYS)
        rows.append(y)
    assert_close(torch.stack(rows, dim=2), retention(q, k, v, decays=DECAYS))
    assert state.shape == (2, 2, 4, 3)


@pytest.mark.oracle("retentive-network", by="peer: yet-another-retnet")
@pytest.mark.parametrize("form", ["parallel", "recurrent", "chunkwise"])
def test_the_layer_is_the_peers_layer(form):
    peer_module = pytest.importorskip("yet_another_retnet.retention", reason="the peer is an optional package")
    peer = peer_module.MultiScaleRetention(32, 2).eval()
    gammas = peer_module._build_decay_gammas(2)
    ours = MultiScaleRetention(32, 2, decays=gammas, bias=True)
    names = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "gate": "g_proj", "out": "out_proj"}
    with torch.no_grad():
        for mine, theirs in names.items():
            for part in ("weight", "bias"):
                getattr(getattr(ours, mine), part).copy_(torch.randn_like(getattr(getattr(peer, theirs), part)) * 0.2)
                getattr(getattr(peer, theirs), part).copy_(getattr(getattr(ours, mine), part))
        x = torch.randn(2, 10, 32)
        if form == "parallel":
            expected = peer(x, x, x)[0]
        elif form == "recurrent":
            state, rows = None, []
            for t in range(10):
                y, state = peer.forward_recurrent(x[:, t], x[:, t], x[:, t], t, state)
                rows.append(y)
            expected = torch.stack(rows, dim=1)
        else:
            first, state = peer.forward_chunkwise(x[:, :6], x[:, :6], x[:, :6], 0, None)
            rest, _ = peer.forward_chunkwise(x[:, 6:], x[:, 6:], x[:, 6:], 6, state)
            expected = torch.cat([first, rest], dim=1)
        assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)


def test_token_by_token_is_the_layer():
    layer, x = MultiScaleRetention(16, 2, value_dim=32), torch.randn(2, 70, 16)
    state, rows = None, []
    with torch.no_grad():
        for t in range(70):
            y, state = layer.step(x[:, t], state, position=t)
            rows.append(y)
        assert_close(torch.stack(rows, dim=1), layer(x), rtol=1e-3, atol=1e-4)
    assert state.shape == (2, 2, 8, 16)


def test_only_distances_matter():
    q, k, v = MultiScaleRetention(16, 2).project(torch.randn(1, 1, 16).expand(1, 9, 16))
    r = q @ k.mT  # the same token everywhere: the score depends on the distance alone
    for back in range(4):
        assert_close(r.diagonal(-back, -2, -1), r[..., back, :1].expand(1, 2, 9 - back))


def test_a_layer_looks_back_only():
    found = dependencies(MultiScaleRetention(8, 2).double(), torch.randn(1, 6, 8).double())
    assert torch.equal(found, rule_mask(lambda i, j: j <= i, 6))


def test_heads_are_normalized_each_by_itself():
    layer = MultiScaleRetention(8, 2)
    y = torch.randn(2, 2, 5, 4) * torch.tensor([1.0, 100.0]).view(2, 1, 1)
    seen = {}
    layer.out.register_forward_hook(lambda m, args, out: seen.update(given=args[0]))
    x = torch.randn(2, 5, 8)
    layer.finish(x, y)
    normal = (y - y.mean(-1, keepdim=True)) / (y.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    assert_close(seen["given"], torch.nn.functional.silu(layer.gate(x)) * normal.transpose(1, 2).flatten(2))


def test_decays_are_those_of_the_paper_and_weigh_as_powers():
    assert_close(MultiScaleRetention(8, 4).decays, torch.tensor([31 / 32, 63 / 64, 127 / 128, 255 / 256]))
    mask = decay_mask(4, torch.tensor([0.5]))[0]
    assert mask[3].tolist() == [0.125, 0.25, 0.5, 1.0]
    assert (mask.triu(1) == 0).all()


def test_memory_grows_with_the_length_and_not_with_its_square():
    def peak(form, T):
        q, k, v = (torch.rand(1, 2, T, 8) for _ in range(3))
        return peak_bytes(lambda: form(q, k, v, decays=DECAYS.float()))

    assert peak(retention_chunked, 2048) < 2.1 * peak(retention_chunked, 1024)
    assert peak(retention, 2048) > 3.5 * peak(retention, 1024)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiScaleRetention(6, 2), "in pairs"),
        (lambda: MultiScaleRetention(8, 2, decays=torch.tensor([0.5])), "2 numbers"),
        (lambda: MultiScaleRetention(8, 2, decays=torch.tensor([0.5, 1.5])), "at most 1"),
        (lambda: MultiScaleRetention(8, 2, decays=torch.tensor([0.5, 0.0])), "above 0"),
        (lambda: MultiScaleRetention(8, 2, value_dim=7), "multiple"),
        (lambda: MultiScaleRetention(8, 2).step(torch.zeros(1, 1, 8), position=0), "one token"),
        (lambda: retention(*heads(3), decays=DECAYS[:1]), "2 heads need one number each"),
        (lambda: retention_chunked(*heads(3), decays=DECAYS[:1]), "2 heads need one number each"),
        (lambda: retention_chunked(heads(3)[0], *heads(4)[1:], decays=DECAYS), "looks at itself"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
