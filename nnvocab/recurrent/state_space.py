"""State space model: a linear system in continuous time, made discrete, run in three ways that agree."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nnvocab.vocabulary import Example, entry


def wide(t: Tensor) -> Tensor:
    """The tensor in float32 or wider: matrix exponentials, FFTs and complex numbers exist in no narrower type."""
    return t.to(torch.promote_types(t.dtype, torch.float32))


def hippo_legs(d_state: int, *, like: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Make the HiPPO-LegS system, whose state holds the past as coefficients of Legendre polynomials.

    .. math::
        A_{nk} = -\begin{cases} \sqrt{(2n+1)(2k+1)} & n > k \\ n + 1 & n = k \\ 0 & n < k \end{cases}, \qquad
        B_n = \sqrt{2n + 1}

    Args:
        d_state: width N of the state.
        like: a tensor whose dtype and device are taken.

    Shapes:
        Returns A (N, N) and B (N, 1).

    Source: Gu et al. 2020, theorem 2; as S4 uses it, without the factor 1/t.

    >>> hippo_legs(2)[0]
    tensor([[-1.0000,  0.0000],
            [-1.7321, -2.0000]])
    """
    if d_state < 1:
        raise ValueError(f"d_state is {d_state}, but must be at least 1")
    n = torch.arange(d_state, **({} if like is None else {"dtype": like.dtype, "device": like.device})) * 1.0
    root = (2 * n + 1).sqrt()
    A = -(root[:, None] * root).tril(-1) - torch.diag(n + 1)
    return A + 0.0, root[:, None]


def discretize_zoh(A: Tensor, B: Tensor, delta: Tensor | float) -> tuple[Tensor, Tensor]:
    r"""Make the system discrete by zero-order hold: exact if the input is constant during each step.

    .. math::
        \bar A = e^{\Delta A}, \qquad \bar B = A^{-1}(e^{\Delta A} - I)\, B, \qquad
        \exp \Delta\begin{pmatrix} A & B \\ 0 & 0 \end{pmatrix} = \begin{pmatrix} \bar A & \bar B \\ 0 & I \end{pmatrix}

    Shapes:
        A: (N, N); B: (N, P); delta: a number. Returns the discrete A and B.

    Notice:
        The second form needs no inverse, so a system that integrates (A = 0) is no exception.

    >>> discretize_zoh(torch.zeros(1, 1), torch.ones(1, 1), 0.5)
    (tensor([[1.]]), tensor([[0.5000]]))
    """
    check_system(A, B)
    N, P = B.shape
    block = torch.cat([torch.cat([A, B], dim=1), A.new_zeros(P, N + P)])  # (N + P, N + P)
    power = torch.matrix_exp(delta * block)
    top = power.narrow(0, 0, N)
    return top.narrow(1, 0, N), top.narrow(1, N, P)


def discretize_bilinear(A: Tensor, B: Tensor, delta: Tensor | float) -> tuple[Tensor, Tensor]:
    r"""Make the system discrete by the bilinear rule (Tustin), which takes the mean slope of both ends of a step.

    .. math::
        \bar A = (I - \tfrac{\Delta}{2} A)^{-1}(I + \tfrac{\Delta}{2} A), \qquad
        \bar B = (I - \tfrac{\Delta}{2} A)^{-1} \Delta B

    Shapes:
        A: (N, N); B: (N, P); delta: a number. Returns the discrete A and B.

    >>> discretize_bilinear(-2 * torch.ones(1, 1), torch.ones(1, 1), 1.0)
    (tensor([[0.]]), tensor([[0.5000]]))
    """
    check_system(A, B)
    eye = torch.eye(A.shape[0], dtype=A.dtype, device=A.device)
    left = eye - delta / 2 * A
    return torch.linalg.solve(left, eye + delta / 2 * A), torch.linalg.solve(left, delta * B)


def check_system(A: Tensor, B: Tensor) -> None:
    """Refuse matrices that make no system: A must be (N, N) and B (N, P)."""
    if A.dim() != 2 or B.dim() != 2 or A.shape[0] != A.shape[1] or A.shape[0] != B.shape[0]:
        raise ValueError(f"A has shape {tuple(A.shape)} and B {tuple(B.shape)}, but (N, N) and (N, P) are needed")


def ssm_recurrence(u: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    r"""Run a discrete linear system step by step, as the equation is written.

    .. math::
        x_t = A x_{t-1} + B u_t, \qquad y_t = C x_t + D u_t

    Shapes:
        u: (B, T, P); A: (N, N); B: (N, P); C: (Q, N); D: (Q, P). Returns (B, T, Q).
    """
    x = u.new_zeros(u.shape[0], A.shape[0])
    outputs = []
    for u_t in u.unbind(1):
        x = x @ A.T + u_t @ B.T  # (B, N)
        outputs.append(x @ C.T + u_t @ D.T)  # (B, Q)
    return torch.stack(outputs, dim=1)


def ssm_kernel(A: Tensor, B: Tensor, C: Tensor, T: int) -> Tensor:
    r"""Compute the impulse response of a discrete linear system.

    .. math::
        K_t = C A^t B, \qquad t = 0, \dots, T - 1

    Shapes:
        A: (N, N); B: (N, P); C: (Q, N). Returns (T, Q, P).

    Notice:
        The powers come by doubling: T of them in about log2 T products.
    """
    columns, power = B.unsqueeze(0), A  # (1, N, P)
    while columns.shape[0] < T:
        columns = torch.cat([columns, power @ columns])
        power = power @ power
    return C @ columns.narrow(0, 0, T)


def ssm_convolution(u: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """The same function as one long convolution with the impulse response, by the fast Fourier transform."""
    T = u.shape[1]
    n = 2 * T  # room for the tail, so that the end does not wrap around to the beginning
    K = torch.fft.rfft(ssm_kernel(A, B, C, T), n=n, dim=0)  # (n / 2 + 1, Q, P)
    U = torch.fft.rfft(u, n=n, dim=1)  # (B, n / 2 + 1, P)
    return torch.fft.irfft(torch.einsum("fqp,bfp->bfq", K, U), n=n, dim=1).narrow(1, 0, T) + u @ D.T


def ssm_scan(u: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """The same function as a parallel scan: in round i every state adds A^(2^i) times the state 2^i before it."""
    x, power, reach = u @ B.T, A, 1  # (B, T, N)
    while reach < u.shape[1]:
        x = torch.cat([x[:, :reach], x[:, reach:] + x[:, :-reach] @ power.T], dim=1)
        power, reach = power @ power, 2 * reach
    return x @ C.T + u @ D.T


METHODS = {"zoh": discretize_zoh, "bilinear": discretize_bilinear}
MODES = {"recurrence": ssm_recurrence, "convolution": ssm_convolution, "scan": ssm_scan}


@entry(
    name="State space model",
    aliases=("SSM", "structured state space", "State space models (S4, Mamba)", "linear state space layer"),
    page="state_space",
    ids=("state_space_models",),
    paper="gu2022s4",
    peer="scipy.signal.cont2discrete, scipy.signal.dlsim",
    related=("S4", "Mamba", "Recurrent neural network"),
    example=lambda: Example(StateSpace(2, 3, d_state=4), (torch.randn(2, 5, 2),)),
)
class StateSpace(nn.Module):
    r"""A linear system in continuous time that is sampled in steps of delta and learned.

    .. math::
        x'(t) = A\, x(t) + B\, u(t), \qquad y(t) = C\, x(t) + D\, u(t)

    where u is the input, x the state, y the output, and :math:`\Delta` turns (A, B) into the discrete
    :math:`(\bar A, \bar B)` that the sequence is run with.

    Args:
        input_size: width P of the input.
        output_size: width Q of the output.
        d_state: width N of the state.
        delta: length of a step at the beginning; it is learned, and stays positive.
        method: "zoh" or "bilinear", how time is made discrete.
        mode: "recurrence", "convolution" or "scan": three ways to the same result.

    Shapes:
        u: (B, T, P). Returns (B, T, Q).

    Notice:
        Linear and the same at every step, so it is a convolution too: that is how it trains in parallel. Nothing here
        can depend on what was read, unlike in Mamba. A begins as HiPPO-LegS.

    Raises:
        ValueError: if a size or delta is not positive, method or mode is unknown, or u has the wrong shape.

    Source: Gu et al. 2022, section 2.

    >>> system = StateSpace(1, 2, d_state=8)
    >>> system(torch.zeros(4, 100, 1)).shape
    torch.Size([4, 100, 2])
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        d_state: int = 16,
        delta: float = 0.1,
        method: str = "bilinear",
        mode: str = "convolution",
    ) -> None:
        super().__init__()
        if min(input_size, output_size, d_state) < 1 or delta <= 0:
            raise ValueError(
                f"input_size {input_size}, output_size {output_size}, d_state {d_state} and delta {delta} "
                f"must be positive"
            )
        if method not in METHODS or mode not in MODES:
            raise ValueError(
                f"method is {method!r} and mode {mode!r}, but they must be one of {list(METHODS)} and of {list(MODES)}"
            )
        self.input_size, self.method, self.mode = input_size, method, mode
        A, B = hippo_legs(d_state)
        self.A, self.B = nn.Parameter(A), nn.Parameter(B.repeat(1, input_size))
        self.C = nn.Parameter(torch.randn(output_size, d_state) / d_state**0.5)
        self.D = nn.Parameter(torch.zeros(output_size, input_size))
        self.log_delta = nn.Parameter(torch.tensor(math.log(delta)))

    def discrete(self) -> tuple[Tensor, Tensor]:
        """The discrete A and B at the present step length."""
        return METHODS[self.method](wide(self.A), wide(self.B), wide(self.log_delta).exp())

    def forward(self, u: Tensor) -> Tensor:
        if u.dim() != 3 or u.shape[1] == 0 or u.shape[2] != self.input_size:
            raise ValueError(
                f"u has shape {tuple(u.shape)}, but (B, T, {self.input_size}) with at least one step is needed"
            )
        return MODES[self.mode](wide(u), *self.discrete(), wide(self.C), wide(self.D)).to(u.dtype)
