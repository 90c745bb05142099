"""What a convolution's figure needs to know of sizes, kernels and channels; errors here say what does not fit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

KERNELS = ("edge", "blur", "sharpen", "ridge", "identity")
BUDGET = 18_000  # numbers that one figure carries
MODES = ("zeros", "reflect", "replicate", "circular")


def preset(name: str, height: int, width: int) -> Tensor:
    """A kernel by its name, one of ``KERNELS``, of any size.

    >>> preset("edge", 3, 3).int().tolist()
    [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    """
    rows, columns = torch.arange(height), torch.arange(width)
    centre = torch.zeros(height, width)
    centre[(height - 1) // 2, (width - 1) // 2] = 1.0
    if name == "edge":
        smooth = torch.minimum(rows + 1, height - rows)
        slope = (columns - width // 2 if width % 2 else 2 * columns - width + 1) if width > 1 else torch.ones(1)
        return smooth[:, None] * slope.float()
    if name == "blur":
        return torch.full((height, width), float(f"{1 / (height * width):.6g}"))
    if name == "ridge":
        return height * width * centre - 1 if height * width > 1 else centre
    if name == "sharpen":
        far = (rows - (height - 1) // 2).abs()[:, None] + (columns - (width - 1) // 2).abs()
        return centre * (1 + (far == 1).sum()) - (far == 1).float()
    if name == "identity":
        return centre
    raise ValueError(f"kernel {name!r} is not known; give one of {', '.join(KERNELS)}, or set weight")


def pair(value: Any) -> list[int]:
    return [int(value)] * 2 if isinstance(value, int) else [int(v) for v in value]


def plain(value: Any) -> Any:
    """One number where both axes agree, a pair where they do not, or a word."""
    if isinstance(value, (str, int)):
        return value
    values = [int(v) for v in value]
    return values[0] if len(set(values)) == 1 else values


def numbers(name: str, value: Any, ndim: int) -> list:
    """Nested lists with six significant digits, which is what travels to the page."""
    tensor = torch.as_tensor(value).detach().cpu().double()
    if tensor.ndim != ndim or 0 in tensor.shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it needs {ndim} axes, none of them empty")
    if not tensor.isfinite().all():
        raise ValueError(f"{name} holds infinite or undefined numbers; the figure needs finite ones")

    def rounded(v: Any) -> Any:
        if isinstance(v, list):
            return [rounded(item) for item in v]
        return int(v) if v == int(v) else float(f"{v:.6g}")

    return rounded(tensor.tolist())


def side(n: int, k: int, s: int, p: int | str, d: int, mode: str, extra: int | None) -> int:
    """The output's size along one axis; ``extra`` is the output padding when transposed. Refuses what cannot be."""
    whole = p if isinstance(p, str) else 2 * p
    whole = {"same": d * (k - 1), "valid": 0}.get(whole, whole)
    if extra is not None:
        if isinstance(p, str):
            raise ValueError(f"a transposed convolution takes its padding as a number, not {p!r}")
        if extra >= max(s, d):
            raise ValueError(f"output_padding {extra} must be smaller than the stride {s} or the dilation {d}")
        size = (n - 1) * s - whole + d * (k - 1) + extra + 1
        if size < 1:
            raise ValueError(f"padding {p} cuts the whole output away: its size would be {size}; lower the padding")
        return size
    if p == "same" and s != 1:
        raise ValueError(f"padding='same' needs stride 1, not {s}; give a number as the padding")
    if whole and mode in ("reflect", "circular") and -(-whole // 2) > n - (mode == "reflect"):
        raise ValueError(f"padding {p} is too much to {mode} an input of size {n}; lower the padding")
    span = d * (k - 1) + 1
    if span > n + whole:
        raise ValueError(
            f"a kernel of {k} with dilation {d} spans {span} cells, but the padded input has {n + whole}: "
            f"raise the padding, or lower the dilation or the kernel"
        )
    return (n + whole - span) // s + 1


def name_of(weight: Tensor) -> str:
    """The name of the kernel that every input channel of (C, Kh, Kw) has, or "own"."""
    known = (name for name in KERNELS if (weight - preset(name, *weight.shape[1:])).abs().max() < 1e-5)
    return next(known, "own")


def share(conv: nn.Module, x: Tensor, channel: int) -> tuple[Tensor, Tensor, Tensor, dict[str, Any], int]:
    """The layer with its weights as (O, C, Kh, Kw), dense; of a large layer, as many channels of one group as fit."""
    C, O, G = conv.in_channels, conv.out_channels, conv.groups
    c, o = C // G, O // G
    own = conv.weight.detach().cpu().double()
    own = own if own.ndim == 4 else own[:, :, None]
    bias = torch.zeros(O) if conv.bias is None else conv.bias.detach().cpu()
    blocks = (
        [b.transpose(0, 1) for b in own.split(c)] if conv.transposed else list(own.split(o))
    )  # each (O/G, C/G, Kh, Kw)
    area = own[0, 0].numel()
    if O * C * area + x.numel() <= BUDGET:
        weight = own.new_zeros(O, C, *own.shape[2:])
        for g, block in enumerate(blocks):
            weight[g * o : (g + 1) * o, g * c : (g + 1) * c] = block
        return x, weight, bias, {"groups": G, "numbering": {"out": 0, "outs": O, "in": 0, "ins": C}}, channel
    g = channel // o
    x = x[g * c : (g + 1) * c]
    fit = min(o, max(1, (BUDGET - x.numel()) // (c * area)))
    first = min(channel - g * o, o - fit)
    bias = bias[g * o + first : g * o + first + fit]
    numbering = {"out": g * o + first, "outs": O, "in": g * c, "ins": C}
    return x, blocks[g][first : first + fit], bias, {"groups": 1, "numbering": numbering}, channel - g * o - first


def size_of(traits: Any) -> tuple[int, int]:
    """The height and width of the output under these traits."""
    setting = {"stride": 1, "dilation": 1, "padding": 0, "output_padding": 0, "padding_mode": "zeros", **traits}
    kernel, x = traits["weight"][0][0], traits["input"][0]
    out = []
    for axis, (n, k) in enumerate(zip((len(x), len(x[0])), (len(kernel), len(kernel[0])), strict=True)):
        if traits["dims"] == 1 and axis == 0:
            out.append(1)
            continue
        s, d, e = (pair(setting[key])[axis] for key in ("stride", "dilation", "output_padding"))
        p = setting["padding"] if isinstance(setting["padding"], str) else pair(setting["padding"])[axis]
        out.append(side(n, k, s, p, d, setting["padding_mode"], e if setting.get("transposed") else None))
    return out[0], out[1]


def positions(traits: dict[str, Any]) -> tuple[int, int]:
    """Rows and columns that the player walks through: the output, the input if transposed, or a second layer."""
    shape = size_of(traits)
    if traits.get("two_layers"):
        try:
            return size_of({**traits, "input": [[[0] * shape[1]] * shape[0]]})
        except ValueError:  # the page says so where the second layer would stand
            return shape
    return (len(traits["input"][0]), len(traits["input"][0][0])) if traits.get("transposed") else shape
