"""S4 in its diagonal form: one small linear system for each channel, started so that it remembers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.recurrent.state_space import hippo_legs, wide
from nnvocab.vocabulary import Example, entry


def diagonal_start(d_state: int, init: str = "legs") -> Tensor:
    r"""The frequencies that a diagonal system starts with: the imaginary parts of its N/2 pairs of eigenvalues.

    .. math::
        A_n = -\tfrac12 + i\,\omega_n, \qquad \omega_n = \pi n \;\text{(lin)}, \quad
        \tfrac{N}{\pi}\big(\tfrac{N}{2n+1} - 1\big) \;\text{(inv)}, \quad
        \operatorname{Im} \lambda_n(A_{\text{LegS}} + \tfrac12 p p^{\top}) \;\text{(legs)}

    where :math:`p_n = \sqrt{2n + 1}`: without its low-rank part HiPPO-LegS is -1/2 plus a skew-symmetric matrix.

    Shapes:
        Returns (N/2,), ascending, in float64.

    Raises:
        ValueError: if d_state is odd or below 2, or init is unknown.

    Source: Gu et al. 2022 (S4D), section 4.

    >>> diagonal_start(4, "lin")
    tensor([0.0000, 3.1416], dtype=torch.float64)
    """
    check_start(d_state, init)
    n = torch.arange(d_state // 2, dtype=torch.float64)
    if init == "lin":
        return math.pi * n
    if init == "inv":
        return (d_state / math.pi * (d_state / (2 * n + 1) - 1)).flip(0)
    A, p = hippo_legs(d_state, like=n)
    skew = A + p @ p.T / 2 + torch.eye(d_state, dtype=n.dtype) / 2
    return torch.linalg.eigvalsh(1j * skew)[d_state // 2 :]  # i times skew-symmetric is Hermitian: real eigenvalues


def check_start(d_state: int, init: str) -> None:
    """Refuse a state that is not made of pairs, and a start that does not exist."""
    if d_state < 2 or d_state % 2:
        raise ValueError(f"d_state is {d_state}, but eigenvalues come in conjugate pairs: give an even number")
    if init not in ("legs", "lin", "inv"):
        raise ValueError(f"init is {init!r}, but must be 'legs', 'lin' or 'inv'")


def discretize_diagonal(A: Tensor, delta: Tensor, method: str) -> tuple[Tensor, Tensor]:
    r"""Make diagonal systems with B = 1 discrete: elementwise, where ``discretize_zoh`` needs a matrix exponential.

    .. math::
        \text{zoh: } \bar A = e^{\Delta A},\; \bar B = \tfrac{\bar A - 1}{A}, \qquad
        \text{bilinear: } \bar A = \tfrac{1 + \Delta A / 2}{1 - \Delta A / 2},\;
        \bar B = \tfrac{\Delta}{1 - \Delta A / 2}

    Shapes:
        A: (C, N/2) complex; delta: (C,). Returns both of shape (C, N/2).
    """
    if method not in ("zoh", "bilinear"):
        raise ValueError(f"method is {method!r}, but must be 'zoh' or 'bilinear'")
    delta = delta.unsqueeze(1)
    step = delta * A
    if method == "zoh":
        keep = step.exp()
        return keep, (keep - 1) / A
    return (1 + step / 2) / (1 - step / 2), delta / (1 - step / 2)


def diagonal_recurrence(u: Tensor, keep: Tensor, write: Tensor, C: Tensor, D: Tensor) -> Tensor:
    r"""Run a diagonal system for each channel step by step, as the equation is written.

    .. math::
        x_t = \bar A \odot x_{t-1} + \bar B\, u_t, \qquad y_t = 2 \operatorname{Re} \sum_n C_n x_{t,n} + D u_t

    where each eigenvalue stands for itself and for its complex conjugate, hence the 2 Re.

    Shapes:
        u: (B, T, C); keep, write and C: (C, N/2) complex; D: (C,). Returns (B, T, C).
    """
    x = keep.new_zeros(u.shape[0], *keep.shape)
    outputs = []
    for u_t in u.unbind(1):
        x = keep * x + write * u_t[..., None]  # (B, C, N/2)
        outputs.append(2 * (C * x).sum(-1).real + D * u_t)
    return torch.stack(outputs, dim=1)


def diagonal_kernel(keep: Tensor, write: Tensor, C: Tensor, T: int) -> Tensor:
    r"""Compute the impulse response of a diagonal system: a product with a Vandermonde matrix.

    .. math::
        K_t = 2 \operatorname{Re} \sum_n C_n \bar B_n \bar A_n^{\,t}

    Shapes:
        keep, write and C: (C, N/2) complex. Returns (C, T).
    """
    t = torch.arange(T, device=keep.device, dtype=keep.real.dtype)
    return 2 * torch.einsum("cn,cnt->ct", C * write, (keep.log().unsqueeze(2) * t).exp()).real


def diagonal_convolution(u: Tensor, keep: Tensor, write: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """The same function as one long convolution, by the fast Fourier transform."""
    return _convolve(u, diagonal_kernel(keep, write, C, u.shape[1])) + D * u


def _convolve(u: Tensor, kernel: Tensor) -> Tensor:
    T = u.shape[1]
    spectrum = torch.fft.rfft(u, n=2 * T, dim=1) * torch.fft.rfft(kernel, n=2 * T).T  # (B, T + 1, C)
    return torch.fft.irfft(spectrum, n=2 * T, dim=1).narrow(1, 0, T)


@entry(
    name="S4",
    aliases=("Structured State Space sequence model", "S4D (diagonal)", "S4D"),
    page="state_space",
    ids=("s4",),
    paper="gu2022s4d",
    peer="scipy.signal.dlsim",
    related=("State space model", "Mamba", "Temporal convolutional network"),
    example=lambda: Example(S4(3, d_state=4), (torch.randn(2, 5, 3),)),
)
class S4(nn.Module):
    r"""Structured state space layer in its diagonal form (S4D): a linear system a channel, then a mixing of channels.

    .. math::
        y = \operatorname{GLU}\big(W \operatorname{GELU}(K * u + D \odot u)\big), \qquad
        K_t = 2 \operatorname{Re} \sum_n C_n \bar B_n \bar A_n^{\,t}

    where :math:`*` is a causal convolution over time and :math:`\bar A, \bar B` come from A and the step length of the
    channel.

    Args:
        d_model: width C of the input and of the output.
        d_state: width N of each channel's state, even: N/2 pairs of complex eigenvalues.
        dt_min: shortest step length at the beginning.
        dt_max: longest; the channels' are spread between the two, evenly in the logarithm.
        bidirectional: add a second kernel that looks ahead.
        init: eigenvalues at the beginning: "legs" (HiPPO-LegS), "lin" or "inv".
        method: "zoh" or "bilinear", how time is made discrete.

    Shapes:
        x: (B, T, C). Returns (B, T, C).

    Notice:
        It trains as a convolution and runs as a recurrence: ``step`` gives the same outputs one by one from a state
        that does not grow. A channel with step length delta remembers for about 1/delta steps.

    Raises:
        ValueError: if d_model is below 1, d_state is odd, the range of dt is empty, init or method is unknown, x has the wrong shape, or
            ``step`` is called on a bidirectional layer.

    Source: Gu et al. 2022 (S4D), sections 3 and 4; HiPPO and the two modes: Gu, Goel and Re 2022. S4 itself keeps a
    low-rank part beside the diagonal, which S4D drops.

    >>> layer = S4(8, d_state=16)
    >>> layer(torch.zeros(2, 100, 8)).shape
    torch.Size([2, 100, 8])
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        bidirectional: bool = False,
        init: str = "legs",
        method: str = "zoh",
    ) -> None:
        super().__init__()
        if d_model < 1:
            raise ValueError(f"d_model is {d_model}, but must be at least 1")
        check_start(d_state, init)
        if not 0 < dt_min <= dt_max:
            raise ValueError(f"dt_min {dt_min} and dt_max {dt_max} must be 0 < dt_min <= dt_max")
        if method not in ("zoh", "bilinear"):
            raise ValueError(f"method is {method!r}, but must be 'zoh' or 'bilinear'")
        self.d_model, self.bidirectional, self.method = d_model, bidirectional, method
        low, high = math.log(dt_min), math.log(dt_max)
        self.log_dt = nn.Parameter(torch.empty(d_model).uniform_(low, high))
        self.log_A_real = nn.Parameter(torch.full((d_model, d_state // 2), math.log(0.5)))
        self.A_imag = nn.Parameter(diagonal_start(d_state, init).to(self.log_dt.dtype).repeat(d_model, 1))
        self.C = nn.Parameter(torch.randn(1 + bidirectional, d_model, d_state // 2, 2) * 0.5**0.5)  # real, imaginary
        self.D = nn.Parameter(torch.randn(d_model))
        self.mix = nn.Linear(d_model, 2 * d_model)

    def system(self) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """The discrete A and B, each (C, N/2), and a C of that shape for each direction, all complex."""
        A = torch.complex(-wide(self.log_A_real).exp(), wide(self.A_imag))
        keep, write = discretize_diagonal(A, wide(self.log_dt).exp(), self.method)
        return keep, write, torch.view_as_complex(wide(self.C).contiguous()).unbind(0)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 3 or x.shape[1] == 0 or x.shape[2] != self.d_model:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, but (B, T, {self.d_model}) with at least one step is needed"
            )
        keep, write, C = self.system()
        u = wide(x)
        y = diagonal_convolution(u, keep, write, C[0], wide(self.D))
        if self.bidirectional:
            y = y + _convolve(u.flip(1), diagonal_kernel(keep, write, C[1], u.shape[1])).flip(1)
        return self._mixed(y.to(x.dtype))

    def _mixed(self, y: Tensor) -> Tensor:
        return F.glu(self.mix(F.gelu(y)), dim=-1)

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read one step: x (B, C) and the complex state (B, C, N/2), None before the first; returns y and the next."""
        if self.bidirectional:
            raise ValueError("a bidirectional layer cannot go step by step: its second kernel looks ahead")
        if x.dim() != 2 or x.shape[1] != self.d_model:
            raise ValueError(f"x has shape {tuple(x.shape)}, but (B, {self.d_model}) is needed: one step")
        keep, write, C = self.system()
        u = wide(x)
        if state is None:
            state = keep.new_zeros(x.shape[0], *keep.shape)
        elif state.shape != (x.shape[0], *keep.shape):
            raise ValueError(f"state has shape {tuple(state.shape)}, but {(x.shape[0], *keep.shape)} is needed")
        state = keep * state + write * u[..., None]
        return self._mixed((2 * (C[0] * state).sum(-1).real + wide(self.D) * u).to(x.dtype)), state
