"""The layers chapter beside the libraries that have the same layer: equal widths, equal work."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from bench import Case
from torch import Tensor, nn

from nnvocab.layers import Bilinear, Embedding, Linear, LoRALinear, MixtureOfExperts, SparseLinear, SwiGLUFeedForward

TORCH = f"torch {torch.__version__}"


class _LoopOverExperts(nn.Module):
    """A mixture of experts as it is often written: one module for each expert, which is called on the tokens it got."""

    def __init__(self, embed_dim: int, num_experts: int, top_k: int, hidden_dim: int) -> None:
        super().__init__()
        self.top_k, self.score = top_k, nn.Linear(embed_dim, num_experts, bias=False)
        self.gate_up = nn.ModuleList(nn.Linear(embed_dim, 2 * hidden_dim, bias=False) for _ in range(num_experts))
        self.down = nn.ModuleList(nn.Linear(hidden_dim, embed_dim, bias=False) for _ in range(num_experts))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, 1)
        kept, chosen = self.score(tokens).softmax(-1).topk(self.top_k)
        kept = kept / kept.sum(-1, keepdim=True)
        y = torch.zeros_like(tokens)
        for e, (first, second) in enumerate(zip(self.gate_up, self.down, strict=True)):
            token, choice = torch.where(chosen == e)
            gate, up = first(tokens[token]).chunk(2, dim=-1)
            y.index_add_(0, token, second(F.silu(gate) * up) * kept[token, choice, None])
        return y.view_as(x)


def _experts() -> list[Case]:
    """Mixtures of experts: 2 of E experts, widths as in st-moe-pytorch's default."""
    rows = []
    B, T, C, hidden = 4, 256, 256, 682
    x = torch.randn(B, T, C, requires_grad=True)
    for E in (4, 8, 32):
        size = f"{B} x {T}, width {C}, 2 of {E} experts"
        ours, loop = MixtureOfExperts(C, E, 2, hidden_dim=hidden), _LoopOverExperts(C, E, 2, hidden)
        rows.append(
            Case(
                f"experts beside a loop: {size}",
                "Mixture of experts",
                f"a module for each expert, {TORCH}",
                lambda o=ours: o(x),
                lambda p=loop: p(x),
                goal=1.0,
            )
        )
        try:
            from st_moe_pytorch import MoE
        except ImportError:
            continue
        limited = MixtureOfExperts(
            C, E, 2, hidden_dim=hidden, capacity_factor=1.25 / 2
        )  # theirs counts tokens, not choices
        theirs = MoE(dim=C, num_experts=E, gating_top_n=2)
        rows.append(
            Case(
                f"experts beside st-moe: {size}",
                "Mixture of experts",
                "st-moe-pytorch 0.1.8",
                lambda o=limited: o(x),
                lambda p=theirs: p(x).outputs,
                goal=1.0,
            )
        )
    return rows


def _sparse() -> list[Case]:
    """A layer in compressed rows beside the full one: what is stored and multiplied is the hundredth part."""
    layer = SparseLinear(2048, 2048).prune(0.99)
    full, small, x = nn.Linear(2048, 2048), layer.to_csr(), torch.randn(64, 2048)
    return [
        Case(
            "sparse rows: 64 x 2048 to 2048, 99 % zeros",
            "Sparse linear layer",
            f"torch.nn.Linear, full, {TORCH}",
            lambda: small(x),
            lambda: full(x),
            backward=False,
            goal=1.0,
        )
    ]


def _lora() -> list[Case]:
    """A LoRA layer beside peft's, the same widths and rank, without dropout as in both defaults."""
    try:
        import peft
    except ImportError:
        return []
    rows = []
    for C, r in ((512, 8), (1024, 16)):
        x, config = torch.randn(4, 256, C, requires_grad=True), peft.LoraConfig(r=r, target_modules=["0"])
        ours = LoRALinear(C, C, r=r, lora_alpha=8.0)
        theirs = peft.get_peft_model(nn.Sequential(nn.Linear(C, C)), config).base_model.model[0]
        rows.append(
            Case(
                f"LoRA: 4 x 256, width {C}, rank {r}",
                "LoRA linear layer",
                f"peft {peft.__version__}",
                lambda o=ours, t=x: o(t),
                lambda p=theirs, t=x: p(t),
                goal=1.0,
            )
        )
    return rows


def _products() -> list[Case]:
    """Linear, bilinear and embedding layers beside torch's, and the gated block beside that of Llama."""
    x, wide = torch.randn(8, 256, 512, requires_grad=True), torch.randn(256, 64, requires_grad=True)
    ids = torch.randint(30_000, (16, 256))
    linear, linear_theirs = Linear(512, 2048), nn.Linear(512, 2048)
    bilinear, bilinear_theirs = Bilinear(64, 64, 64), nn.Bilinear(64, 64, 64)
    table, table_theirs = Embedding(30_000, 256), nn.Embedding(30_000, 256)
    rows = [
        Case(
            "linear: 8x256, 512 to 2048",
            "Linear layer",
            f"nn.Linear, {TORCH}",
            lambda: linear(x),
            lambda: linear_theirs(x),
        ),
        Case(
            "bilinear: 256 x 64 and 64 to 64",
            "Bilinear layer",
            f"nn.Bilinear, {TORCH}",
            lambda: bilinear(wide, wide),
            lambda: bilinear_theirs(wide, wide),
        ),
        Case(
            "embedding: 16x256 of 30,000 rows of 256",
            "Embedding layer",
            f"nn.Embedding, {TORCH}",
            lambda: table(ids),
            lambda: table_theirs(ids),
        ),
    ]
    try:
        import transformers
        from transformers.models.llama.modeling_llama import LlamaMLP
    except ImportError:
        return rows
    theirs = LlamaMLP(transformers.LlamaConfig(hidden_size=512, intermediate_size=1365, num_attention_heads=8))
    for fused in (False, True):
        ours = SwiGLUFeedForward(512, 1365, fused=fused)
        rows.append(
            Case(
                f"SwiGLU{', gate and up in one' if fused else ''}: 8x256, width 512, hidden 1365",
                "SwiGLU feed-forward block",
                f"LlamaMLP of transformers {transformers.__version__}",
                lambda o=ours: o(x),
                lambda: theirs(x),
            )
        )
    return rows


def cases() -> list[Case]:
    """All comparisons of the chapter."""
    torch.manual_seed(0)
    return [*_products(), *_experts(), *_sparse(), *_lora()]
