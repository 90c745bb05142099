"""Compose: layers in a row, side by side, behind a gate, and built from a manifest."""

from nnvocab.compose.branches import SequenceBranch, Slice
from nnvocab.compose.combine import (
    CombineMode,
    add_branches,
    average_branches,
    combine,
    concat_branches,
    pad_to_widest,
    weighted_sum,
    weighted_sum_stacked,
)
from nnvocab.compose.diffusion_head import DiffusionNextTokenHead, add_noise, cosine_alpha_bar, ddim_step
from nnvocab.compose.filtered import (
    FilteredParallel,
    balance_loss,
    mix_branches,
    mix_branches_skipping,
    mixture_of_branches,
)
from nnvocab.compose.freezing import freeze, trainable, unfreeze
from nnvocab.compose.fusion import multimodal_fusion
from nnvocab.compose.gate import Gate, gate_weights, straight_through, temperature_at
from nnvocab.compose.grid_scatter import grid_scatter, grid_scatter_stacked
from nnvocab.compose.heads import GridSoftmaxHead, MultiAgentPolicy
from nnvocab.compose.kmeans_experts import KMeansExperts
from nnvocab.compose.layer_choice import try_layer
from nnvocab.compose.layer_configs import AttentionLayerConfig, build_layer
from nnvocab.compose.layer_specs import find_layer
from nnvocab.compose.layer_table import layer_table
from nnvocab.compose.manifest import build_model, example_input, resolved
from nnvocab.compose.manifest_text import ManifestError, read_manifest
from nnvocab.compose.observers import BranchEvent, LivePlot, Recorder, observe, to_console
from nnvocab.compose.parallel import Parallel
from nnvocab.compose.residual import Residual, residual
from nnvocab.compose.sequential import Sequential
from nnvocab.compose.shapes import output_shape
from nnvocab.compose.specialization import routing_scenario, specialization, usage_by_group
from nnvocab.compose.stitch import Stitch, stitched_branches
from nnvocab.compose.summary import summarize
from nnvocab.compose.target_propagation import TargetPropagation
from nnvocab.compose.topologies import Cyclic, Graph, Recurrent
from nnvocab.compose.two_stage import TwoStages, fit, train_experts_then_gate

__all__ = [
    "AttentionLayerConfig",
    "BranchEvent",
    "CombineMode",
    "Cyclic",
    "DiffusionNextTokenHead",
    "FilteredParallel",
    "Gate",
    "Graph",
    "GridSoftmaxHead",
    "KMeansExperts",
    "LivePlot",
    "ManifestError",
    "MultiAgentPolicy",
    "Parallel",
    "Recorder",
    "Recurrent",
    "Residual",
    "SequenceBranch",
    "Sequential",
    "Slice",
    "Stitch",
    "TargetPropagation",
    "TwoStages",
    "add_branches",
    "add_noise",
    "average_branches",
    "balance_loss",
    "build_layer",
    "build_model",
    "combine",
    "concat_branches",
    "cosine_alpha_bar",
    "ddim_step",
    "example_input",
    "find_layer",
    "fit",
    "freeze",
    "gate_weights",
    "grid_scatter",
    "grid_scatter_stacked",
    "layer_table",
    "mix_branches",
    "mix_branches_skipping",
    "mixture_of_branches",
    "multimodal_fusion",
    "observe",
    "output_shape",
    "pad_to_widest",
    "read_manifest",
    "residual",
    "resolved",
    "routing_scenario",
    "specialization",
    "stitched_branches",
    "straight_through",
    "summarize",
    "temperature_at",
    "to_console",
    "train_experts_then_gate",
    "trainable",
    "try_layer",
    "unfreeze",
    "usage_by_group",
    "weighted_sum",
    "weighted_sum_stacked",
]
