"""The widget that slides a kernel over an input, cell by cell, and writes out every product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import traitlets as t
from torch import Tensor, nn

from nnvocab.widgets._convolution_settings import (
    BUDGET,
    KERNELS,
    MODES,
    name_of,
    numbers,
    pair,
    plain,
    positions,
    preset,
    share,
    size_of,
)
from nnvocab.widgets.base import Widget

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ConvolutionStrides(Widget):
    """A convolution, cell by cell.

    Args:
        conv: an ``nn.Conv2d``, ``nn.Conv1d``, ``nn.ConvTranspose2d`` or ``nn.ConvTranspose1d``; without it, a 3 by 3
            edge kernel.
        x: its input, (C, H, W) or (C, L), with or without a batch axis of one, and without C where C is one; without
            it, a handwritten digit.
        step: the position to begin at; without it, the middle.
        channel: the output channel to show.
        two_layers: show a second layer with the same kernel, and what one unit of it sees.
        kernel: put a known kernel in place of the weights of ``channel``: edge, blur, sharpen, ridge or identity.

    Everything that a reader can change is a trait, and may be set from Python too: ``input`` (C, H, W), ``weight``
    (output channel, input channel, height, width; with groups, the entries between groups are zero and unread),
    ``bias``, ``stride``, ``padding``, ``dilation``, ``groups``, ``transposed``, ``output_padding``, ``padding_mode``,
    ``step``, ``channel``, ``input_channel``, ``two_layers`` and ``kernel``. ``module`` is the layer as it now stands,
    and ``output`` what torch makes of it.

    Raises:
        TypeError: if ``conv`` is no such module.
        ValueError: if ``x`` does not fit ``conv``, the kernel does not fit its padded input, or both are too large.

    >>> figure = ConvolutionStrides(torch.nn.Conv2d(1, 1, 3, stride=2), torch.zeros(1, 9, 9), kernel="blur")
    >>> figure.output.shape
    torch.Size([1, 4, 4])
    """

    file = "convolution_strides"

    input = t.Any().tag(sync=True)
    weight = t.Any().tag(sync=True)
    bias = t.Any().tag(sync=True)
    stride = t.Any(1).tag(sync=True)
    padding = t.Any(0).tag(sync=True)
    dilation = t.Any(1).tag(sync=True)
    output_padding = t.Any(0).tag(sync=True)
    groups = t.Int(1, min=1).tag(sync=True)
    transposed = t.Bool(False).tag(sync=True)
    padding_mode = t.Enum(MODES, "zeros").tag(sync=True)
    dims = t.Int(2).tag(sync=True)
    step = t.Int(0).tag(sync=True)
    channel = t.Int(0).tag(sync=True)
    input_channel = t.Int(0).tag(sync=True)
    two_layers = t.Bool(False).tag(sync=True)
    kernel = t.Enum((*KERNELS, "own"), "own").tag(sync=True)
    numbering = t.Dict().tag(sync=True)  # which channels of a larger layer these are

    _page = False  # true while the page speaks: its reader is told there what does not fit
    _ready = False

    def __init__(
        self,
        conv: nn.Module | None = None,
        x: Any = None,
        *,
        step: int | None = None,
        channel: int = 0,
        two_layers: bool = False,
        kernel: str | None = None,
    ) -> None:
        if conv is not None and not isinstance(conv, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)):
            raise TypeError(
                f"ConvolutionStrides takes an nn.Conv2d, nn.Conv1d, nn.ConvTranspose2d or nn.ConvTranspose1d and an "
                f"input, not {type(conv).__name__}; for a model, give one of its layers and what reaches that layer"
            )
        dims = 2 if conv is None else len(conv.kernel_size)
        if x is None:
            if conv is not None and (dims, conv.in_channels) != (2, 1):
                shape = "(C, H, W)" if dims == 2 else "(C, L)"
                raise ValueError(f"give an input x of shape {shape}: this layer reads {conv.in_channels} channels")
            from sklearn.datasets import load_digits

            x = load_digits().images[3]
        x = torch.as_tensor(x).detach().cpu().double()
        if x.ndim == dims + 2 and x.shape[0] == 1:
            x = x[0]
        if x.ndim == dims and (conv is None or conv.in_channels == 1):
            x = x[None]
        if x.ndim != dims + 1 or (conv is not None and x.shape[0] != conv.in_channels):
            need = f"({'C' if conv is None else conv.in_channels}, {'H, W' if dims == 2 else 'L'})"
            raise ValueError(
                f"the input has shape {tuple(x.shape)}, but {need} is needed: give one image or signal, as x[0]"
            )
        x = x if dims == 2 else x[:, None]
        traits: dict[str, Any] = {"dims": dims, "two_layers": two_layers}
        if conv is None:
            weight, bias = preset("edge", 3, 3).expand(1, x.shape[0], 3, 3), torch.zeros(1)
            traits["numbering"] = {"out": 0, "outs": 1, "in": 0, "ins": x.shape[0]}
        else:
            if conv.weight.is_meta:
                raise ValueError("this layer is on the meta device and has no numbers; build it on a real device")
            traits |= {key: plain(getattr(conv, key)) for key in ("stride", "padding", "dilation", "output_padding")}
            traits |= {"transposed": conv.transposed, "padding_mode": conv.padding_mode}
            if not 0 <= channel < conv.out_channels:
                raise ValueError(
                    f"channel {channel} is not one of the {conv.out_channels} output channels of this layer"
                )
            x, weight, bias, extra, channel = share(conv, x, channel)
            traits |= extra
        if x.numel() + weight.numel() > BUDGET:
            raise ValueError(
                f"the figure carries at most {BUDGET:,} numbers; this input of {' x '.join(map(str, x.shape))} and its "
                f"weights are {x.numel() + weight.numel():,}: give a crop or a smaller copy, as x[..., ::4, ::4]"
            )
        weight = weight.detach().cpu().double().clone()
        if not 0 <= channel < weight.shape[0]:
            raise ValueError(f"channel {channel} is not one of the {weight.shape[0]} output channels")
        if kernel is not None:
            weight[channel] = preset(kernel, *weight.shape[2:])
        traits |= {
            "input": numbers("x", x, 3),
            "weight": numbers("weight", weight, 4),
            "bias": numbers("bias", bias, 1),
        }
        traits |= {"channel": channel, "kernel": name_of(weight[channel])}
        group = weight.shape[0] // traits.get("groups", 1)
        traits["input_channel"] = channel // group * (x.shape[0] // traits.get("groups", 1))
        rows, columns = positions(traits)
        traits["step"] = rows // 2 * columns + columns // 2 if step is None else step
        if not 0 <= traits["step"] < rows * columns:
            raise ValueError(f"step {step} is not one of the {rows * columns} positions 0 to {rows * columns - 1}")
        super().__init__(**traits)
        self._ready = True

    @property
    def module(self) -> nn.Module:
        """The layer as it now stands: a copy, so training it leaves the figure alone."""
        weight = torch.tensor(self.weight, dtype=torch.get_default_dtype())  # (O, C, Kh, Kw)
        o, c = weight.shape[0] // self.groups, weight.shape[1] // self.groups
        blocks = [weight[g * o : (g + 1) * o, g * c : (g + 1) * c] for g in range(self.groups)]
        weight = torch.cat([b.transpose(0, 1) for b in blocks] if self.transposed else blocks)
        settings = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}
        if self.transposed:
            kind = nn.ConvTranspose2d if self.dims == 2 else nn.ConvTranspose1d
            settings["output_padding"] = self.output_padding
            if isinstance(self.padding, str):  # the page's reader transposed it: it counts as none there too
                settings["padding"] = 0
        else:
            kind = nn.Conv2d if self.dims == 2 else nn.Conv1d
            settings["padding_mode"] = self.padding_mode
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        size = weight.shape[2:] if self.dims == 2 else weight.shape[3:]
        layer = kind(len(self.input), len(self.weight), tuple(size), **settings)
        with torch.no_grad():
            layer.weight.copy_(weight if self.dims == 2 else weight.squeeze(2))
            layer.bias.copy_(torch.tensor(self.bias))
        return layer

    @property
    def output(self) -> Tensor:
        """What torch's own layer makes of the input: (O, H, W) or (O, L)."""
        size_of(self._trait_values)
        x = torch.tensor(self.input, dtype=torch.get_default_dtype())
        with torch.no_grad():
            return self.module((x if self.dims == 2 else x.squeeze(1))[None])[0]

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the page sends; what does not fit is told to the reader there."""
        self._page = True
        try:
            super().set_state(sync_data)
        finally:
            self._page = False

    @t.validate("input", "weight", "bias")
    def _lists(self, proposal: dict) -> list:
        name = proposal["trait"].name
        value = numbers(name, proposal["value"], {"input": 3, "weight": 4, "bias": 1}[name])
        need = {"input": len(self.weight[0]), "weight": len(self.input), "bias": len(self.weight)}[name]
        have = len(value[0]) if name == "weight" else len(value)
        if self._ready and have != need:
            raise ValueError(f"{name} is for {have} channels, but the others for {need}; make a new ConvolutionStrides")
        return self._fits(name, value)

    @t.validate("stride", "padding", "dilation", "output_padding", "groups", "transposed", "padding_mode")
    def _settings(self, proposal: dict) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name in ("stride", "padding", "dilation", "output_padding"):
            value = plain(value)
            least = 1 if name in ("stride", "dilation") else 0
            if isinstance(value, str):
                if name != "padding" or value not in ("same", "valid"):
                    raise ValueError(f"{name} {value!r} is no number of cells")
            elif len(pair(value)) != 2 or min(pair(value)) < least:
                raise ValueError(f"{name} {value} must be a whole number, or a pair, of at least {least}")
        if name == "groups" and (value < 1 or len(self.input) % value or len(self.weight) % value):
            raise ValueError(
                f"groups {value} must divide the {len(self.input)} input and the {len(self.weight)} output channels"
            )
        return self._fits(name, value)

    @t.observe("kernel", "weight")
    def _rename(self, change: dict) -> None:
        if not self._ready or self._page:
            return
        weight = torch.tensor(self.weight, dtype=torch.float64)
        if change["name"] == "weight":
            self.kernel = name_of(weight[self.channel])
        elif self.kernel not in ("own", name_of(weight[self.channel])):
            weight[self.channel] = preset(self.kernel, *weight.shape[2:])
            self.weight = weight

    def _fits(self, name: str, value: Any) -> Any:
        if self._ready and not self._page:
            size_of({**self._trait_values, name: value})
        return value

    def still(self) -> Figure:
        """The input with the present window, the kernel, and the output as far as it has been filled."""
        from matplotlib import pyplot as plt
        from matplotlib.patches import Rectangle

        from nnvocab.style import MAGNITUDE, PALETTE, SIGNED

        output = self.output if self.dims == 2 else self.output[:, None]
        shown = output[self.channel].clone()
        height, width = shown.shape
        if not (self.transposed or self.two_layers):
            shown.view(-1)[self.step + 1 :] = float("nan")
        pictures = [
            ("input", torch.tensor(self.input[self.input_channel]).float()),
            ("kernel", torch.tensor(self.weight[self.channel][self.input_channel]).float()),
            (f"output, {height} by {width}", shown),
        ]
        figure, axes = plt.subplots(1, 3, figsize=(7.2, 3.2), width_ratios=[5, 3, 5], layout="constrained")
        for axis, (title, values) in zip(axes, pictures, strict=True):
            low, limit = float(values.nan_to_num().min()), float(values.nan_to_num().abs().max()) or 1.0
            axis.imshow(
                values.numpy(), cmap=SIGNED if low < 0 else MAGNITUDE, vmin=-limit if low < 0 else 0, vmax=limit
            )
            axis.set(title=title, xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(True)
        for (r, c), value in [((r, c), v) for r, row in enumerate(pictures[1][1]) for c, v in enumerate(row)]:
            if values.shape[1] <= 40 and len(pictures[1][1][0]) <= 5:
                axes[1].text(c, r, f"{value:.3g}", ha="center", va="center", fontsize=9, bbox={"fc": "white", "lw": 0})
        if not (self.transposed or self.two_layers or self.padding == "same"):
            (sy, sx), (py, px), (dy, dx) = (
                pair(0 if v == "valid" else v) for v in (self.stride, self.padding, self.dilation)
            )
            kh, kw = pictures[1][1].shape
            sy, py, dy = (sy, py, dy) if self.dims == 2 else (1, 0, 1)
            r, c = divmod(min(self.step, height * width - 1), width)
            corner = (c * sx - px - 0.5, r * sy - py - 0.5)
            window = Rectangle(
                corner, dx * (kw - 1) + 1, dy * (kh - 1) + 1, fill=False, ec=PALETTE["weight"], lw=2.5, clip_on=False
            )
            axes[0].add_patch(window)
            axes[2].add_patch(Rectangle((c - 0.5, r - 0.5), 1, 1, fill=False, ec=PALETTE["output"], lw=2.5))
        return figure
