"""RWKV-4: written out, scanned and streamed are the same, and the peer's."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention import ChannelMixing, RWKVBlock, TimeMixing, dependencies, rule_mask, wkv, wkv_continue, wkv_scan


def given(T, scale=1.0):
    g = torch.Generator().manual_seed(0)
    k, v = (torch.randn(2, T, 3, generator=g, dtype=torch.float64) * s for s in (scale, 1.0))
    decay, bonus = torch.tensor([0.01, 0.5, 3.0]).double(), torch.tensor([-1.0, 0.0, 2.0]).double()
    return [t.requires_grad_() for t in (k, v, decay, bonus)]


@pytest.mark.oracle("rwkv", by="brute force")
@pytest.mark.parametrize("form", [wkv, wkv_scan])
def test_is_the_ratio_of_two_sums_written_out(form):
    k, v, w, u = given(7)
    y = form(k, v, w, u)
    for t in range(7):
        above, below = torch.exp(u + k[:, t]) * v[:, t], torch.exp(u + k[:, t])
        for s in range(t):
            weight = torch.exp(-(t - 1 - s) * w + k[:, s])
            above, below = above + weight * v[:, s], below + weight
        assert_close(y[:, t], above / below)


@pytest.mark.parametrize("T", [1, 2, 5, 16, 37])
def test_scan_agrees_with_the_written_out_form_on_the_value_and_on_every_gradient(T):
    inputs = given(T)
    plain, fast = wkv(*inputs), wkv_scan(*inputs)
    c = torch.randn_like(plain)
    assert_close(plain, fast)
    used = inputs if T > 2 else [inputs[1]]  # with one or two tokens some derivatives are zero or unused
    assert_close(
        torch.autograd.grad((plain * c).sum(), used, retain_graph=True),
        torch.autograd.grad((fast * c).sum(), used, retain_graph=True),
    )


@pytest.mark.parametrize("size", [1, 3, 8])
def test_pieces_of_any_size_continue_where_the_last_one_ended(size):
    k, v, w, u = (t.detach() for t in given(20))
    state, rows = None, []
    for at in range(0, 20, size):
        y, state = wkv_continue(k[:, at : at + size], v[:, at : at + size], w, u, state)
        rows.append(y)
    assert_close(torch.cat(rows, dim=1), wkv(k, v, w, u))


@pytest.mark.oracle("rwkv", by="peer: transformers")
@pytest.mark.filterwarnings("ignore")
def test_time_mixing_and_channel_mixing_are_the_peers():
    pytest.importorskip("transformers", reason="the peer is an optional package")
    modeling = pytest.importorskip("transformers.models.rwkv.modeling_rwkv", reason="newer releases may drop it")
    from transformers import RwkvConfig

    k, v, w, u = (t.detach().float() for t in given(9))
    assert_close(wkv_scan(k, v, w, u), modeling.rwkv_linear_attention_cpu(w.log(), u, k, v)[0], rtol=1e-4, atol=1e-5)

    config = RwkvConfig(hidden_size=6, attention_hidden_size=6, intermediate_size=10, num_hidden_layers=1)
    theirs_time, theirs_channel = modeling.RwkvSelfAttention(config), modeling.RwkvFeedForward(config)
    time, channel, x = TimeMixing(6), ChannelMixing(6, 10), torch.randn(2, 7, 6)
    names = {"k": "key", "v": "value", "r": "receptance"}
    with torch.no_grad():
        for ours, theirs in ((time, theirs_time), (channel, theirs_channel)):
            for mine, other in names.items():
                getattr(theirs, other).weight.copy_(getattr(ours, mine).weight)
                if hasattr(ours, "mix_" + mine):
                    getattr(ours, "mix_" + mine).copy_(torch.rand(6))
                    getattr(theirs, "time_mix_" + other).copy_(getattr(ours, "mix_" + mine))
        theirs_time.output.weight.copy_(time.out.weight)
        theirs_time.time_decay.copy_(time.log_decay)
        theirs_time.time_first.copy_(time.bonus)
        assert_close(time(x)[0], theirs_time(x)[0], rtol=1e-4, atol=1e-5)
        assert_close(channel(x)[0], theirs_channel(x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 4])
def test_streaming_is_the_block_and_the_state_stays_as_it_is(size):
    block, x = RWKVBlock(6), torch.randn(2, 30, 6)
    state, rows, sizes = None, [], set()
    with torch.no_grad():
        for part in x.split(size, dim=1):
            y, state = block.step(part, state)
            rows.append(y)
            sizes.add(tuple(tuple(s.shape) for s in state))
        assert_close(torch.cat(rows, dim=1), block(x), rtol=1e-4, atol=1e-5)
    assert sizes == {((2, 6),) * 5}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_huge_keys_do_no_harm_in_any_dtype(dtype):
    k, v, w, u = (t.detach() for t in given(30, scale=200.0))
    y = wkv_scan(k.to(dtype), v.to(dtype), w.to(dtype), u.to(dtype))
    assert y.dtype == dtype
    assert y.isfinite().all()
    exact = wkv(*(t.to(dtype).double() for t in (k, v, w, u)))
    assert_close(y.double(), exact, atol=0.05, rtol=0.05)
    assert not torch.exp(k.float()).isfinite().all()  # without the logarithms it would have overflowed


def test_how_much_a_token_weighs_does_not_depend_on_who_asks():
    k, v, w, u = (t.detach() for t in given(8))
    weights = torch.stack(
        [wkv(k, torch.eye(8)[None, :, s : s + 1].expand(2, 8, 3).double(), w, u) for s in range(8)], 2
    )
    for t in range(3, 7):  # the ratio of two older tokens is the same for every later one
        assert_close(weights[:, t, 0] / weights[:, t, 1], weights[:, 7, 0] / weights[:, 7, 1])


def test_channel_mixing_looks_at_the_token_before_and_the_block_looks_back_only():
    channel = ChannelMixing(6).double()
    x = torch.randn(1, 6, 6).double()
    assert torch.equal(dependencies(lambda t: channel(t)[0], x), rule_mask(lambda i, j: (j <= i) & (i - j < 2), 6))
    assert torch.equal(dependencies(RWKVBlock(6).double(), x), rule_mask(lambda i, j: j <= i, 6))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RWKVBlock(6)(torch.zeros(1, 3, 5)), "width 5"),
        (lambda: RWKVBlock(0), "embed_dim"),
        (lambda: RWKVBlock(6, 0), "hidden_dim"),
        (lambda: wkv(*torch.zeros(2, 1, 3, 4), *torch.zeros(2, 3)), "positions, C"),
        (lambda: wkv_scan(*torch.zeros(2, 1, 0, 4), *torch.zeros(2, 4)), "at least one position"),
        (lambda: wkv_scan(torch.zeros(1, 3, 4), torch.zeros(1, 2, 4), *torch.zeros(2, 4)), "positions, C"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
