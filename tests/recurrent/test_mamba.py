"""What Mamba must hold: its equations written out, mambapy's numbers, and a step mode that is the scan."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.recurrent import S4, Mamba, selective_scan


def written_out(layer, u):
    """The layer from its parameters, one position after the other."""
    E, R, N = layer.d_inner, layer.dt_rank, layer.d_state
    outputs = torch.empty_like(u)
    for b in range(u.shape[0]):
        h, seen = torch.zeros(E, N, dtype=u.dtype), [torch.zeros(E, dtype=u.dtype)] * (layer.d_conv - 1)
        for t in range(u.shape[1]):
            both = layer.in_proj.weight @ u[b, t]
            seen.append(both[:E])
            x = sum(layer.conv1d.weight[:, 0, k] * seen[t + k] for k in range(layer.d_conv)) + layer.conv1d.bias
            x = x * torch.sigmoid(x)
            made = layer.x_proj.weight @ x
            delta = torch.log1p(torch.exp(layer.dt_proj.weight @ made[:R] + layer.dt_proj.bias))
            for n in range(N):
                A = -torch.exp(layer.A_log[:, n])
                h[:, n] = torch.exp(delta * A) * h[:, n] + delta * x * made[R + n]
            y = h @ made[R + N :] + layer.D * x
            z = both[E:]
            outputs[b, t] = layer.out_proj.weight @ (y * z * torch.sigmoid(z))
    return outputs


@pytest.mark.oracle("mamba", by="brute force")
@pytest.mark.parametrize("options", [{}, {"d_state": 3, "d_conv": 1, "expand": 1, "dt_rank": 3}, {"d_conv": 2}])
def test_is_its_equations_written_out(options):
    layer, u = Mamba(4, **options).double(), torch.randn(2, 7, 4, dtype=torch.float64)
    with torch.no_grad():
        assert_close(layer(u), written_out(layer, u))


def test_is_mambapys_block_with_the_same_weights_and_gradients():
    mambapy = pytest.importorskip("mambapy.mamba", reason="mambapy is an optional peer")
    theirs = mambapy.MambaBlock(mambapy.MambaConfig(d_model=8, n_layers=1))
    ours = Mamba(8)
    ours.load_state_dict(theirs.state_dict())
    results = []
    for layer in (ours, theirs):
        x = torch.linspace(-2, 2, 2 * 40 * 8).sin().view(2, 40, 8).requires_grad_()
        y = layer(x)
        gradients = torch.autograd.grad((y * torch.linspace(0, 1, 8)).sum(), [x, *layer.parameters()])
        names = ["x", *(n for n, _ in layer.named_parameters())]
        results.append({"y": y, **dict(zip(names, gradients, strict=True))})
    assert_close(*results, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("d_conv", [1, 2, 4])
def test_step_by_step_is_the_whole_sequence(d_conv):
    layer, x, state, outputs = Mamba(4, 3, d_conv).double(), torch.randn(2, 40, 4, dtype=torch.float64), None, []
    for t in range(40):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    whole, last = layer.scan(x)
    assert_close(torch.stack(outputs, 1), whole)
    assert_close(state, last)


def test_the_state_does_not_grow():
    layer, state, sizes = Mamba(4), None, []
    for _ in range(20):
        _, state = layer.step(torch.randn(1, 4), state)
        sizes.append(sum(s.numel() for s in state))
    assert set(sizes) == {layer.d_inner * (layer.d_state + layer.d_conv - 1)}


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_it_goes_on_from_a_state(cut):
    layer, x = Mamba(4).double(), torch.randn(2, 9, 4, dtype=torch.float64)
    first, state = layer.scan(x[:, :cut])
    second, _ = layer.scan(x[:, cut:], state)
    assert_close(torch.cat([first, second], 1), layer(x))


def test_a_state_may_be_a_plain_pair():
    layer, x = Mamba(4), torch.randn(2, 3, 4)
    state = layer.scan(x)[1]
    assert_close(layer.scan(x, tuple(state)), layer.scan(x, state))


def test_the_layer_by_the_plain_scan_has_the_same_gradients():
    layer, x = Mamba(4, 3).double(), torch.randn(2, 37, 4, dtype=torch.float64)

    def plain():
        inner, z = layer.in_proj(x).chunk(2, dim=-1)
        inner = F.silu(layer.conv1d(F.pad(inner.transpose(1, 2), (layer.d_conv - 1, 0)))).transpose(1, 2)
        return layer.out_proj(selective_scan(inner, *layer._selected(inner))[0] * F.silu(z))

    results = []
    for call in (plain, lambda: layer(x)):
        y = call()
        results.append([y, *torch.autograd.grad(y.square().sum(), list(layer.parameters()))])
    assert_close(*results)


def test_it_never_looks_ahead():
    layer, x = Mamba(4), torch.randn(1, 40, 4)
    changed = x.clone()
    changed[:, 35:] += 1.0
    assert_close(layer(x)[:, :35], layer(changed)[:, :35])


def test_its_response_to_an_impulse_is_no_kernel_for_it_and_s4s_is():
    """S4's system commutes with scaling and shifting, so a kernel makes it; Mamba's does neither."""
    u = torch.randn(1, 12, 2, dtype=torch.float64)
    impulse = torch.zeros_like(u)
    impulse[:, 0] = 1.0

    def by_kernel(f):
        kernel = f(impulse)  # (1, T, C): each channel's own answer
        return sum(F.pad(kernel, (0, 0, t, 0))[:, :12] * u[:, t : t + 1] for t in range(12))

    s4 = S4(2, 4).double()
    keep, write, C = s4.system()
    from nnvocab.recurrent import diagonal_convolution

    def linear(v):
        return diagonal_convolution(v, keep, write, C[0], s4.D)

    mamba = Mamba(2).double()
    assert_close(by_kernel(linear), linear(u))
    assert not torch.allclose(by_kernel(mamba), mamba(u), rtol=0.1)
    assert_close(linear(2 * u), 2 * linear(u))
    assert not torch.allclose(mamba(2 * u), 2 * mamba(u), rtol=0.1)


def test_step_lengths_begin_in_the_range():
    layer = Mamba(64, dt_min=0.01, dt_max=0.2)
    delta = F.softplus(layer.dt_proj.bias)
    assert delta.min() > 0.0099 and delta.max() < 0.201
    assert_close(-layer.A_log.exp()[0], -torch.arange(1.0, 17.0))


def test_step_lengths_begin_with_weights_up_to_the_root_of_their_rank():
    layer = Mamba(64, dt_rank=16)
    low, high = layer.dt_proj.weight.aminmax()
    assert -0.25 <= low < -0.24 and 0.24 < high <= 0.25


def test_bias_adds_biases_to_the_projections():
    assert Mamba(4, bias=True).in_proj.bias is not None and Mamba(4).in_proj.bias is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Mamba(0), "must be positive integers"),
        (lambda: Mamba(4, dt_rank="full"), "'full'"),
        (lambda: Mamba(4, dt_rank=0), "dt_rank 0"),
        (lambda: Mamba(4, dt_min=0.2), "dt_min 0.2"),
        (lambda: Mamba(4)(torch.randn(2, 4)), r"\(B, T, 4\)"),
        (lambda: Mamba(4)(torch.randn(2, 0, 4)), "at least one step"),
        (lambda: Mamba(4).step(torch.randn(2, 1, 4)), "one position"),
        (lambda: Mamba(4).scan(torch.randn(2, 3, 4), Mamba(4).scan(torch.randn(1, 3, 4))[1]), "state has shapes"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
