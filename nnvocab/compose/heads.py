"""Heads for several agents: one distribution over actions for each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.compose.branches import SequenceBranch
from nnvocab.compose.parallel import Parallel
from nnvocab.compose.sequential import Sequential
from nnvocab.recurrent.lstm import LSTM
from nnvocab.vocabulary import Example, entry


@entry(
    name="Grid softmax action head",
    aliases=("grid softmax head",),
    ids=("par_grid_softmax_head",),
    page="agents",
    paper="bridle1990probabilistic",
    peer="torch.distributions.Categorical",
    related=("Multi-agent policy heads", "Gate configuration options"),
    example=lambda: Example(GridSoftmaxHead(3, 4), (torch.randn(2, 12),)),
)
class GridSoftmaxHead(nn.Module):
    r"""Read logits as a grid of agents by actions, and give each agent its own distribution.

    .. math::
        p_{a k} = \frac{e^{z_{a k}}}{\sum_{k'} e^{z_{a k'}}}

    where :math:`z_{ak}` is the logit of action k for agent a.

    Args:
        num_agents: agents A, the rows.
        num_actions: actions K of each agent, the columns.

    Shapes:
        logits: (B, A*K). Returns probabilities (B, A, K).

    Notice:
        Each row sums to 1, all together to A: one softmax over all A*K would make the agents compete for a single choice.
        The logits must be free to be negative: behind a ReLU an action cannot be rejected, and where all logits are
        below zero the agent chooses evenly and learns nothing. The layer has no weights.

    Raises:
        ValueError: if a size is below 1, or the logits are not A*K wide.

    Source: Bridle 1990 (the softmax), once for each row.

    >>> head = GridSoftmaxHead(3, 4)
    >>> head(torch.zeros(1, 12))[0, 0].tolist()
    [0.25, 0.25, 0.25, 0.25]
    """

    def __init__(self, num_agents: int, num_actions: int) -> None:
        super().__init__()
        if min(num_agents, num_actions) < 1:
            raise ValueError(f"num_agents is {num_agents} and num_actions {num_actions}, but both must be at least 1")
        self.num_agents, self.num_actions = num_agents, num_actions

    def grid(self, logits: Tensor) -> Tensor:
        """The logits as rows of agents: (B, A*K) to (B, A, K)."""
        A, K = self.num_agents, self.num_actions
        if logits.shape[-1] != A * K:
            raise ValueError(f"the logits are {logits.shape[-1]} wide, but {A} agents with {K} actions need {A * K}")
        return logits.unflatten(-1, (A, K))  # (B, A, K)

    def forward(self, logits: Tensor) -> Tensor:
        return self.grid(logits).softmax(dim=-1)

    def log_prob(self, logits: Tensor, actions: Tensor) -> Tensor:
        """The log-probability of the action of each agent: actions (B, A) to (B, A)."""
        if actions.shape != (*logits.shape[:-1], self.num_agents):
            raise ValueError(
                f"actions have shape {tuple(actions.shape)}, but one for each of {self.num_agents} agents is needed"
            )
        if actions.dtype != torch.long:
            raise ValueError(f"actions are {actions.dtype}, but numbers of actions are needed: actions.long()")
        return self.grid(logits).log_softmax(dim=-1).gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def entropy(self, logits: Tensor) -> Tensor:
        """How undecided each agent is, in nats: (B, A)."""
        log_p = self.grid(logits).log_softmax(dim=-1)
        return -(log_p.exp() * log_p).sum(dim=-1)

    def sample(self, logits: Tensor, *, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw an action for each agent; returns the actions (B, A) and their log-probabilities (B, A)."""
        p = self(logits)
        drawn = torch.multinomial(p.detach().reshape(-1, self.num_actions), 1, generator=generator)
        actions = drawn.view(p.shape[:-1])  # (B*A, 1) -> (B, A)
        return actions, self.log_prob(logits, actions)


@entry(
    name="Multi-agent policy heads",
    aliases=("agent heads", "3 agents × 4 actions"),
    ids=("par_multi_agent",),
    page="agents",
    kind="model",
    paper="lowe2017multi",
    related=("Grid softmax action head", "Parallel layer", "Multi-modal fusion with parallel branches"),
    example=lambda: Example(MultiAgentPolicy(6, 8, 4, recurrent_features=5), (torch.randn(2, 3, 6),)),
)
class MultiAgentPolicy(nn.Module):
    r"""Three agents on one trunk: one reacts, one remembers, one looks back.

    .. math::
        \begin{aligned}
        h_t &= \operatorname{ReLU}(A x_t + b) \\
        z &= [\,D(h_T);\; D'(\operatorname{LSTM}(h_{1:T})_T);\; D''(\operatorname{MHA}(h_{1:T})_T)\,] \\
        p &= \operatorname{gridsoftmax}(z)
        \end{aligned}

    where :math:`x_t` is what is observed at step t, D, D', D'' are linear layers, and :math:`p_a` is the policy of agent a.

    Args:
        in_features: width of an observation.
        hidden_features: width of the trunk.
        num_actions: actions K of each agent.
        recurrent_features: width of the LSTM of agent 1.
        num_heads: attention heads of agent 2; they divide ``hidden_features``.

    Shapes:
        x: (B, T, in_features), the last T observations. Returns probabilities (B, 3, K).

    Notice:
        The LSTM and the attention need a history: with a single observation (T = 1) they have nothing to remember. All
        heads end in a linear layer, so that logits may be negative. Agent 0 sees the last observation alone.

    Raises:
        ValueError: if x has no time axis, or ``num_heads`` does not divide ``hidden_features``.

    Source: Lowe et al. 2017, section 4.1 (each agent its own policy), here with a shared trunk.

    >>> policy = MultiAgentPolicy(64, 32, 4)
    >>> policy(torch.zeros(2, 8, 64)).shape
    torch.Size([2, 3, 4])
    """

    def __init__(
        self,
        in_features: int = 64,
        hidden_features: int = 32,
        num_actions: int = 4,
        *,
        recurrent_features: int = 16,
        num_heads: int = 2,
    ) -> None:
        super().__init__()
        if num_heads < 1 or hidden_features % num_heads:
            raise ValueError(f"num_heads is {num_heads}, which does not divide hidden_features {hidden_features}")
        C = hidden_features
        self.trunk = Sequential(nn.Linear(in_features, C), nn.ReLU())
        lstm = SequenceBranch(LSTM(C, recurrent_features, batch_first=True))
        attention = SequenceBranch(nn.MultiheadAttention(C, num_heads, batch_first=True))
        self.heads = Parallel(
            [
                SequenceBranch(nn.Linear(C, num_actions)),
                Sequential(lstm, nn.Linear(recurrent_features, num_actions)),
                Sequential(attention, nn.Linear(C, num_actions)),
            ]
        )
        self.policy = GridSoftmaxHead(3, num_actions)

    def logits(self, x: Tensor) -> Tensor:
        """The logits of all agents, (B, 3*K), as the policy head takes them."""
        if x.dim() != 3:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, but (B, T, features) is needed: a history, or x[:, None] for one step"
            )
        return self.heads(self.trunk(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.policy(self.logits(x))
