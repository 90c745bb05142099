"""The counts of the comparison, held to torch's counter and to the layers themselves; and the recall task."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnvocab.recurrent import Mamba, associative_recall, mixer_costs


@pytest.mark.oracle("ssm-versus-attention", by="peer: torch.utils.flop_counter")
@pytest.mark.parametrize(("T", "C"), [(32, 16), (64, 48)])
def test_operations_of_attention_are_those_that_torch_counts(T, C):
    layer, x = nn.MultiheadAttention(C, 4, bias=False, batch_first=True), torch.randn(1, T, C)
    with FlopCounterMode(display=False) as counter:
        layer(x, x, x, need_weights=True)
    assert mixer_costs(T, C).attention_flops == counter.get_total_flops()


@pytest.mark.parametrize("options", [{}, {"d_state": 8, "d_conv": 2, "expand": 3}])
def test_operations_of_mamba_but_the_scan_are_those_that_torch_counts(options):
    """torch counts products and convolutions; the scan's own are three multiply-adds a position, channel and state."""
    T, C = 32, 48
    layer = Mamba(C, **options)
    E, N = layer.d_inner, layer.d_state
    with FlopCounterMode(display=False) as counter:
        x = layer.in_proj(torch.randn(1, T, C)).chunk(2, dim=-1)[0]
        x = layer.conv1d(nn.functional.pad(x.transpose(1, 2), (layer.d_conv - 1, 0))).transpose(1, 2)
        layer._selected(x)
        layer.out_proj(x)
    assert mixer_costs(T, C, **options).mamba_flops - 6 * T * E * N == counter.get_total_flops()


def test_what_mamba_keeps_is_its_state():
    for T in (1, 100):
        state = Mamba(8).scan(torch.randn(1, T, 8))[1]
        assert mixer_costs(T, 8).mamba_kept == sum(s.numel() for s in state)


def test_attention_keeps_a_key_and_a_value_a_position():
    assert mixer_costs(100, 64).attention_kept == 2 * 100 * 64


def test_doubling_the_length_doubles_one_and_in_the_end_quadruples_the_other():
    short, long = mixer_costs(10**6, 64), mixer_costs(2 * 10**6, 64)
    assert long.mamba_flops == 2 * short.mamba_flops
    assert long.attention_flops / short.attention_flops == pytest.approx(4, rel=1e-3)


def test_the_task_asks_for_the_value_beside_the_key():
    task = associative_recall(100, 6, 10, 4, generator=torch.Generator().manual_seed(0))
    for keys, values, query, answer in zip(*task, strict=True):
        assert len(set(keys.tolist())) == 6
        assert values[keys.tolist().index(query.item())] == answer
    again = associative_recall(100, 6, 10, 4, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(task, again, strict=True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mixer_costs(0, 4), "must be positive"),
        (lambda: associative_recall(1, 9, 8, 4), "8 different keys"),
        (lambda: associative_recall(1, 0, 8, 4), "1 to 8"),
        (lambda: associative_recall(0, 2, 8, 4), "batch 0"),
        (lambda: associative_recall(1, 2, 8, 0), "num_values 0"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
