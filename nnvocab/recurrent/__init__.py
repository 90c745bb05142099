"""Recurrent layers and state space models: a state that is read and changed step by step."""

from nnvocab.recurrent.bidirectional import Bidirectional, reverse_padded
from nnvocab.recurrent.dt_rank import auto_dt_rank, dt_bias, step_size
from nnvocab.recurrent.gates import Gates, forget_gate, input_gate, lstm_gates, output_gate
from nnvocab.recurrent.gru import GRU, gru_cell, gru_layer, gru_layer_fused
from nnvocab.recurrent.hidden_state import hidden_states
from nnvocab.recurrent.highway import cell_state_gradient, gradient_over_time, hidden_state_gradient
from nnvocab.recurrent.lstm import LSTM, lstm_cell, lstm_layer, lstm_layer_fused, set_forget_bias
from nnvocab.recurrent.mamba import Mamba, MambaState
from nnvocab.recurrent.mamba_block import MambaBlock, MambaLM
from nnvocab.recurrent.rnn import RNN, one_step, rnn_cell, rnn_layer, rnn_layer_fused
from nnvocab.recurrent.s4 import (
    S4,
    diagonal_convolution,
    diagonal_kernel,
    diagonal_recurrence,
    diagonal_start,
    discretize_diagonal,
)
from nnvocab.recurrent.scan import selective_scan, selective_scan_chunked, selective_scan_parallel
from nnvocab.recurrent.ssm_versus_attention import Costs, Recall, associative_recall, mixer_costs
from nnvocab.recurrent.state_space import (
    StateSpace,
    discretize_bilinear,
    discretize_zoh,
    hippo_legs,
    ssm_convolution,
    ssm_kernel,
    ssm_recurrence,
    ssm_scan,
)
from nnvocab.recurrent.tcn import TCN, TemporalBlock, causal_conv, causal_conv_fused, receptive_field
from nnvocab.recurrent.unrolling import Unrolled, truncated_bptt, unroll

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "S4",
    "TCN",
    "Bidirectional",
    "Costs",
    "Gates",
    "Mamba",
    "MambaBlock",
    "MambaLM",
    "MambaState",
    "Recall",
    "StateSpace",
    "TemporalBlock",
    "Unrolled",
    "associative_recall",
    "auto_dt_rank",
    "causal_conv",
    "causal_conv_fused",
    "cell_state_gradient",
    "diagonal_convolution",
    "diagonal_kernel",
    "diagonal_recurrence",
    "diagonal_start",
    "discretize_bilinear",
    "discretize_diagonal",
    "discretize_zoh",
    "dt_bias",
    "forget_gate",
    "gradient_over_time",
    "gru_cell",
    "gru_layer",
    "gru_layer_fused",
    "hidden_state_gradient",
    "hidden_states",
    "hippo_legs",
    "input_gate",
    "lstm_cell",
    "lstm_gates",
    "lstm_layer",
    "lstm_layer_fused",
    "mixer_costs",
    "one_step",
    "output_gate",
    "receptive_field",
    "reverse_padded",
    "rnn_cell",
    "rnn_layer",
    "rnn_layer_fused",
    "selective_scan",
    "selective_scan_chunked",
    "selective_scan_parallel",
    "set_forget_bias",
    "ssm_convolution",
    "ssm_kernel",
    "ssm_recurrence",
    "ssm_scan",
    "step_size",
    "truncated_bptt",
    "unroll",
]
