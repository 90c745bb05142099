"""Layers: weights that meet the input once, and what is put beside them."""

from nnvocab.layers.adapter import Adapter, AdapterModel, bottleneck
from nnvocab.layers.bilinear import Bilinear, bilinear, bilinear_torch
from nnvocab.layers.capsule_network import CapsuleDecoder, CapsuleNetwork, CapsuleOutput
from nnvocab.layers.capsules import CapsuleLayer, margin_loss, route, route_batched, squash
from nnvocab.layers.connectivity import Connectivity, connectivity
from nnvocab.layers.dense import ACTIVATIONS, Dense, dense, dense_torch
from nnvocab.layers.dropout import Dropout, dropout, dropout_torch
from nnvocab.layers.embedding import Embedding, embedding, embedding_lookup
from nnvocab.layers.expert_choice import ExpertChoice, ExpertChoices, mix_chosen, mix_chosen_batched
from nnvocab.layers.expert_load import ExpertLoad
from nnvocab.layers.experts import SwiGLUExperts, mix_experts, mix_experts_grouped
from nnvocab.layers.gated_linear import GATES, GatedLinear, gated_linear, gated_linear_fused, gated_width
from nnvocab.layers.glu_feed_forward import (
    GEGLUFeedForward,
    GLUFeedForward,
    ReGLUFeedForward,
    SwiGLUFeedForward,
    feed_forward_parameters,
    glu_feed_forward,
    glu_feed_forward_fused,
)
from nnvocab.layers.letters import (
    LetterTransformer,
    letter_transformer,
    letter_windows,
    next_letter_loss,
    source_letters,
)
from nnvocab.layers.linear import Linear, linear, linear_torch
from nnvocab.layers.load_balancing import expert_shares, load_balancing_loss, router_z_loss
from nnvocab.layers.lora import LoRAModel, named_targets
from nnvocab.layers.lora_attention import LoRAProjections, lora_attention
from nnvocab.layers.lora_linear import LoRALinear, lora_linear, lora_linear_merged
from nnvocab.layers.lora_preset import PresetReport, adapt_letters, held_out_loss, read_lora_preset, run_lora_preset
from nnvocab.layers.low_rank_bilinear import LowRankBilinear, low_rank_bilinear, low_rank_bilinear_factored
from nnvocab.layers.mixture_of_experts import MixtureOfExperts, RoutingStatistics
from nnvocab.layers.moe_block import MoEBlock
from nnvocab.layers.prefix_tuning import PrefixEncoder, PrefixTuning, prefix_attention, prefix_attention_fused
from nnvocab.layers.prompt_tuning import PromptTuning, prepend_prompt
from nnvocab.layers.pruning import (
    gradient_mask,
    magnitude_mask,
    mask_of_largest,
    random_mask,
    row_mask,
    scheduled_sparsity,
    two_four_mask,
)
from nnvocab.layers.router import Routing, TopKRouter, keep_top_k
from nnvocab.layers.sparse_linear import SparseLinear, masked_linear, masked_linear_csr
from nnvocab.layers.sparse_storage import CSRLinear, TwoFourLinear, pack_two_four, stored_bytes, unpack_two_four
from nnvocab.layers.weight_matrix import weight_contributions, without

__all__ = [
    "ACTIVATIONS",
    "GATES",
    "Adapter",
    "AdapterModel",
    "Bilinear",
    "CSRLinear",
    "CapsuleDecoder",
    "CapsuleLayer",
    "CapsuleNetwork",
    "CapsuleOutput",
    "Connectivity",
    "Dense",
    "Dropout",
    "Embedding",
    "ExpertChoice",
    "ExpertChoices",
    "ExpertLoad",
    "GEGLUFeedForward",
    "GLUFeedForward",
    "GatedLinear",
    "LetterTransformer",
    "Linear",
    "LoRALinear",
    "LoRAModel",
    "LoRAProjections",
    "LowRankBilinear",
    "MixtureOfExperts",
    "MoEBlock",
    "PrefixEncoder",
    "PrefixTuning",
    "PresetReport",
    "PromptTuning",
    "ReGLUFeedForward",
    "Routing",
    "RoutingStatistics",
    "SparseLinear",
    "SwiGLUExperts",
    "SwiGLUFeedForward",
    "TopKRouter",
    "TwoFourLinear",
    "adapt_letters",
    "bilinear",
    "bilinear_torch",
    "bottleneck",
    "connectivity",
    "dense",
    "dense_torch",
    "dropout",
    "dropout_torch",
    "embedding",
    "embedding_lookup",
    "expert_shares",
    "feed_forward_parameters",
    "gated_linear",
    "gated_linear_fused",
    "gated_width",
    "glu_feed_forward",
    "glu_feed_forward_fused",
    "gradient_mask",
    "held_out_loss",
    "keep_top_k",
    "letter_transformer",
    "letter_windows",
    "linear",
    "linear_torch",
    "load_balancing_loss",
    "lora_attention",
    "lora_linear",
    "lora_linear_merged",
    "low_rank_bilinear",
    "low_rank_bilinear_factored",
    "magnitude_mask",
    "margin_loss",
    "mask_of_largest",
    "masked_linear",
    "masked_linear_csr",
    "mix_chosen",
    "mix_chosen_batched",
    "mix_experts",
    "mix_experts_grouped",
    "named_targets",
    "next_letter_loss",
    "pack_two_four",
    "prefix_attention",
    "prefix_attention_fused",
    "prepend_prompt",
    "random_mask",
    "read_lora_preset",
    "route",
    "route_batched",
    "router_z_loss",
    "row_mask",
    "run_lora_preset",
    "scheduled_sparsity",
    "source_letters",
    "squash",
    "stored_bytes",
    "two_four_mask",
    "unpack_two_four",
    "weight_contributions",
    "without",
]
