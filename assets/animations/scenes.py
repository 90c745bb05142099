"""One scene a chapter: what moves when the equation is carried out. Torch computes the numbers; none is drawn by hand."""

from __future__ import annotations

import numpy as np
import torch
from manim import (
    DOWN,
    LEFT,
    RIGHT,
    UP,
    Arrow,
    Create,
    Dot,
    FadeIn,
    FadeOut,
    Line,
    ManimColor,
    Rectangle,
    Scene,
    Square,
    Text,
    Transform,
    VGroup,
    Write,
    config,
)

from nnvocab.style import PALETTE

config.background_color = "#FFFFFF"
INK = ManimColor("#1B1F24")
COLOUR = {name: ManimColor(value) for name, value in PALETTE.items()}
FONT = "DejaVu Sans"


def words(text: str, size: float = 26, color: ManimColor = INK) -> Text:
    """Text in the book's look."""
    return Text(text, font=FONT, font_size=size, color=color)


def grid(values: torch.Tensor, color: ManimColor, side: float = 0.62, digits: int = 0) -> VGroup:
    """A matrix as cells with numbers; cell (r, c) is ``grid[r * columns + c]``."""
    rows, columns = values.shape
    cells = VGroup()
    for r in range(rows):
        for c in range(columns):
            box = Square(side, stroke_color=color, stroke_width=2, fill_color=color, fill_opacity=0.12)
            text = f"{values[r, c]:.{digits}f}".replace("-", "−")
            cells.add(
                VGroup(box, words(text, 20)).move_to(((c - (columns - 1) / 2) * side, ((rows - 1) / 2 - r) * side, 0))
            )
    return cells


class Convolution(Scene):
    """A 3×3 kernel slides over a padded 4×4 input with stride 2 and fills a 2×2 output."""

    def construct(self) -> None:
        x = torch.tensor([[0, 1, 2, 0], [1, 3, 1, 0], [2, 1, 0, 1], [0, 0, 1, 2]], dtype=torch.float32)
        k = torch.tensor([[1, 0, -1], [1, 0, -1], [1, 0, -1]], dtype=torch.float32)
        y = torch.nn.functional.conv2d(x[None, None], k[None, None], stride=2, padding=1)[0, 0]
        padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
        title = words("stride 2, padding 1: ⌊(4 + 2·1 − 3) / 2⌋ + 1 = 2").to_edge(UP)
        left = grid(padded, COLOUR["input"]).shift(3.4 * LEFT)
        for i, cell in enumerate(left):
            if i // 6 in (0, 5) or i % 6 in (0, 5):
                cell[0].set_stroke(COLOUR["masked"]).set_fill(COLOUR["masked"], 0.1)
        kernel = grid(k, COLOUR["weight"]).shift(1.1 * RIGHT)
        out = grid(y, COLOUR["output"], side=0.8).shift(4.6 * RIGHT)
        labels = VGroup(
            words("input, padded with zeros", 20, COLOUR["input"]).next_to(left, DOWN),
            words("kernel", 20, COLOUR["weight"]).next_to(kernel, DOWN),
            words("output", 20, COLOUR["output"]).next_to(out, DOWN),
        )
        self.add(title, left, kernel, labels, *[cell[0] for cell in out])
        window = Square(3 * 0.62, stroke_color=COLOUR["weight"], stroke_width=6)
        for step in range(4):
            r, c = 2 * (step // 2), 2 * (step % 2)
            centre = left[(r + 1) * 6 + c + 1].get_center()
            self.play(Create(window.move_to(centre)) if step == 0 else window.animate.move_to(centre), run_time=0.6)
            patch = padded[r : r + 3, c : c + 3]
            terms = [
                f"{int(a)}·{int(b)}".replace("-", "−") for a, b in zip(patch.flatten(), k.flatten(), strict=True) if b
            ]
            value = f"{int(y[step // 2, step % 2])}".replace("-", "−")
            line = words(" + ".join(terms) + f" = {value}", 22).to_edge(DOWN)
            self.play(FadeIn(line), FadeIn(out[step][1], target_position=window), run_time=0.7)
            self.wait(0.5)
            self.play(FadeOut(line), run_time=0.2)
        self.wait(0.6)


class Attention(Scene):
    """softmax(QKᵀ/√d)V as matrices: scores, weights whose rows sum to one, weighted values."""

    def construct(self) -> None:
        torch.manual_seed(3)
        q, k, v = torch.randn(3, 3, 2).round(decimals=1)
        scores = q @ k.T / 2**0.5
        weights = scores.softmax(-1)
        y = weights @ v
        title = words("softmax(Q Kᵀ / √d) V").to_edge(UP)
        queries = grid(q, COLOUR["input"], 0.75, 1).shift(5.2 * LEFT + 0.4 * DOWN)
        keys = grid(k.T, COLOUR["weight"], 0.75, 1).shift(2.6 * LEFT + 1.9 * UP)
        table = grid(scores, COLOUR["state"], 0.75, 2).shift(2.6 * LEFT + 0.4 * DOWN)
        values = grid(v, COLOUR["weight"], 0.75, 1).shift(1.1 * RIGHT + 0.4 * DOWN)
        out = grid(y, COLOUR["output"], 0.75, 2).shift(4.4 * RIGHT + 0.4 * DOWN)
        names = VGroup(
            words("Q", 24, COLOUR["input"]).next_to(queries, DOWN),
            words("Kᵀ", 24, COLOUR["weight"]).next_to(keys, LEFT),
            words("V", 24, COLOUR["weight"]).next_to(values, DOWN),
            words("output", 24, COLOUR["output"]).next_to(out, DOWN),
        )
        self.add(title, queries, keys, values, names, *[cell[0] for cell in out], *[cell[0] for cell in table])
        says = words("scores: each query times each key, divided by √2", 22).to_edge(DOWN)
        self.play(Write(says), run_time=0.7)
        for r in range(3):
            row = queries[2 * r : 2 * r + 2].copy()
            self.play(row.animate.set_opacity(0.5).move_to(table[3 * r]), run_time=0.4)
            self.play(*[FadeIn(table[3 * r + c][1]) for c in range(3)], FadeOut(row), run_time=0.4)
        self.wait(0.5)
        new = words("weights: softmax makes every row sum to 1", 22).to_edge(DOWN)
        soft = grid(weights, COLOUR["state"], 0.75, 2).move_to(table)
        for cell, w in zip(soft, weights.flatten(), strict=True):
            cell[0].set_fill(COLOUR["state"], float(w))
        self.play(Transform(table, soft), Transform(says, new), run_time=1.0)
        self.wait(0.5)
        self.play(
            Transform(says, words("output: each row mixes the values by its weights", 22).to_edge(DOWN)), run_time=0.5
        )
        for r in range(3):
            row = table[3 * r : 3 * r + 3].copy()
            self.play(row.animate.set_opacity(0.4).move_to(values), run_time=0.5)
            self.play(*[FadeIn(out[2 * r + c][1]) for c in range(2)], FadeOut(row), run_time=0.4)
        self.wait(0.8)


class Recurrent(Scene):
    """The cell-state highway: what is stored travels on, is kept by f, written by i·g, and shown by o."""

    def construct(self) -> None:
        forget = [1.0, 1.0, 0.95, 0.1, 1.0]
        write = [0.8, 0.0, 0.3, 0.0, -0.6]
        title = words("c_t = f_t · c_{t−1} + i_t · g_t".replace("_{t−1}", "ₜ₋₁").replace("_t", "ₜ")).to_edge(UP)
        road = Line(6 * LEFT + 0.6 * UP, 6 * RIGHT + 0.6 * UP, color=COLOUR["state"], stroke_width=10)
        self.add(title, road, words("cell state", 22, COLOUR["state"]).next_to(road, UP, buff=0.9).to_edge(LEFT))
        c = 0.0
        car = VGroup(Dot(radius=0.42, color=COLOUR["state"]), words("0.00", 18)).move_to(5.6 * LEFT + 0.6 * UP)
        self.add(car)
        for t, (f, w) in enumerate(zip(forget, write, strict=True)):
            x = -4 + 2 * t
            gate = Rectangle(width=0.5, height=0.9, stroke_color=COLOUR["masked"], stroke_width=3).move_to((x, 0.6, 0))
            keep = words(f"f = {f:.2f}", 20, COLOUR["weight"]).next_to(gate, UP, buff=0.15)
            add = Arrow((x + 0.6, -1.7, 0), (x + 0.6, 0.12, 0), color=COLOUR["input"], buff=0, stroke_width=5)
            amount = words(f"i·g = {w:+.2f}".replace("-", "−"), 20, COLOUR["input"]).next_to(add, DOWN, buff=0.1)
            self.play(Create(gate), FadeIn(keep), car.animate.move_to((x, 0.6, 0)), run_time=0.6)
            c = f * c
            kept = VGroup(Dot(radius=0.42, color=COLOUR["state"]), words(f"{c:.2f}", 18)).move_to(car)
            self.play(Transform(car, kept), run_time=0.35)
            c = c + w
            text = f"{c:.2f}".replace("-", "−")
            now = VGroup(Dot(radius=0.42, color=COLOUR["state"]), words(text, 18)).move_to((x + 0.6, 0.6, 0))
            self.play(FadeIn(add), FadeIn(amount), Transform(car, now), run_time=0.55)
        product = float(np.prod(forget[1:]))
        says = words(f"what was written first is multiplied by every later f: 1 · 0.95 · 0.1 · 1 = {product:.3f}", 22)
        self.play(Write(says.to_edge(DOWN)), run_time=1.2)
        self.wait(1.0)


class Som(Scene):
    """A 7×7 map unfolds over points of a ring: the winner moves most, its neighbours on the lattice follow."""

    def construct(self) -> None:
        generator = torch.Generator().manual_seed(1)
        angle = torch.rand(400, generator=generator) * 2 * torch.pi
        radius = 1.5 + 1.0 * torch.rand(400, generator=generator)
        data = torch.stack([radius * angle.cos() * 1.6, radius * angle.sin()], 1)
        side = 7
        place = (
            torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"), -1)
            .reshape(-1, 2)
            .float()
        )
        weight = 0.3 * torch.randn(side * side, 2, generator=generator)
        pairs = [(a, b) for a in range(side**2) for b in range(a) if (place[a] - place[b]).abs().sum() == 1]

        def drawn() -> VGroup:
            at = [(float(w[0]), float(w[1]) - 0.2, 0) for w in weight]
            lines = [Line(at[a], at[b], color=COLOUR["weight"], stroke_width=2.5) for a, b in pairs]
            return VGroup(*lines, *[Dot(p, radius=0.055, color=COLOUR["weight"]) for p in at])

        dots = VGroup(*[Dot((float(x), float(y) - 0.2, 0), radius=0.03, color=COLOUR["second"]) for x, y in data])
        title = words("w ← w + α h (x − w)").to_edge(UP)
        net, steps = drawn(), 1200
        says = words("step 0", 22).to_edge(DOWN)
        self.add(dots, title, net, says)
        shown = {1, 2, 4, 8, 16, 30, 60, 120, 200, 320, 480, 700, 950, 1200}
        for step in range(1, steps + 1):
            progress = step / steps
            rate, reach = 0.5 * 0.05**progress, 3.0 * (0.5 / 3.0) ** progress
            x = data[int(torch.randint(400, (1,), generator=generator))]
            winner = (weight - x).square().sum(1).argmin()
            h = torch.exp(-(place - place[winner]).square().sum(1) / (2 * reach**2))
            weight = weight + rate * h[:, None] * (x - weight)
            if step in shown:
                text = words(f"step {step}: rate α = {rate:.2f}, radius σ = {reach:.2f}", 22).to_edge(DOWN)
                if step <= 8:
                    spot = Dot((float(x[0]), float(x[1]) - 0.2, 0), radius=0.12, color=COLOUR["gradient"])
                    best = Dot(
                        (float(weight[winner][0]), float(weight[winner][1]) - 0.2, 0),
                        radius=0.12,
                        color=COLOUR["output"],
                    )
                    self.play(FadeIn(spot), run_time=0.25)
                    self.play(Transform(net, drawn()), Transform(says, text), FadeIn(best), run_time=0.5)
                    self.play(FadeOut(spot), FadeOut(best), run_time=0.15)
                else:
                    self.play(Transform(net, drawn()), Transform(says, text), run_time=0.55)
        self.wait(1.0)


class Layers(Scene):
    """A linear layer: every row of the weights meets the whole input and gives one output; a column is one input's reach."""

    def construct(self) -> None:
        w = torch.tensor([[1.0, -1, 2, 0], [0, 3, 1, -2], [2, 1, 0, 1]])
        x = torch.tensor([[2.0], [1], [3], [1]])
        y = w @ x
        title = words("y = W x: 3 × 4 = 12 weights").to_edge(UP)
        matrix = grid(w, COLOUR["weight"], 0.8).shift(2.2 * LEFT)
        column = grid(x, COLOUR["input"], 0.8).shift(1.2 * RIGHT)
        out = grid(y, COLOUR["output"], 0.8).shift(4.2 * RIGHT)
        names = VGroup(
            words("weights", 20, COLOUR["weight"]).next_to(matrix, DOWN),
            words("input", 20, COLOUR["input"]).next_to(column, DOWN),
            words("output", 20, COLOUR["output"]).next_to(out, DOWN),
        )
        self.add(title, matrix, column, names, *[cell[0] for cell in out])
        frame = Rectangle(width=3.2, height=0.8, stroke_color=COLOUR["output"], stroke_width=6)
        for r in range(3):
            place = VGroup(*matrix[4 * r : 4 * r + 4]).get_center()
            self.play(Create(frame.move_to(place)) if r == 0 else frame.animate.move_to(place), run_time=0.5)
            terms = " + ".join(f"{int(a)}·{int(b)}".replace("-", "−") for a, b in zip(w[r], x[:, 0], strict=True))
            line = words(f"row {r + 1}: {terms} = {int(y[r])}".replace("= -", "= −"), 22).to_edge(DOWN)
            self.play(FadeIn(line), FadeIn(out[r][1], target_position=frame), run_time=0.7)
            self.wait(0.4)
            self.play(FadeOut(line), run_time=0.2)
        self.play(FadeOut(frame), run_time=0.3)
        reach = Rectangle(width=0.8, height=2.4, stroke_color=COLOUR["input"], stroke_width=6)
        reach.move_to(VGroup(matrix[2], matrix[6], matrix[10]).get_center())
        says = words("column 3: all that the third input can change", 22).to_edge(DOWN)
        self.play(Create(reach), FadeIn(says), column[2][0].animate.set_fill(COLOUR["input"], 0.5), run_time=0.7)
        self.wait(1.2)


class Compose(Scene):
    """Three branches see one input; a gate weighs their outputs and adds them."""

    def construct(self) -> None:
        outputs = torch.tensor([[1.0, 2.0, 3.0], [0.5, 0.4, 0.3], [0.2, 0.6, 0.8]])
        gate = torch.tensor([0.6, 0.3, 0.1])
        mixed = gate[:, None] * outputs
        y = mixed.sum(0, keepdim=True)
        title = words("y = Σ g(x) · branch(x)").to_edge(UP)
        source = VGroup(Square(0.9, color=COLOUR["input"]), words("x", 26)).shift(5.6 * LEFT)
        rows = VGroup(
            *[
                grid(outputs[i : i + 1], COLOUR["weight"], 0.8, 1).shift(1.2 * LEFT + (1.5 - 1.5 * i) * UP)
                for i in range(3)
            ]
        )
        arrows = VGroup(
            *[Arrow(source.get_right(), row.get_left(), buff=0.15, color=INK, stroke_width=3) for row in rows]
        )
        marks = VGroup(
            *[words(f"× {g:.1f}", 26, COLOUR["state"]).next_to(row, RIGHT) for g, row in zip(gate, rows, strict=True)]
        )
        out = grid(y, COLOUR["output"], 0.95, 2).shift(4.2 * RIGHT)
        self.add(title, source)
        says = words("every branch sees the whole input", 22).to_edge(DOWN)
        self.play(FadeIn(says), *[Create(a) for a in arrows], run_time=0.8)
        self.play(*[FadeIn(row) for row in rows], run_time=0.7)
        self.wait(0.5)
        self.remove(says)
        says = words("the gate looks at the same input and shares out one whole", 22).to_edge(DOWN)
        self.add(says)
        self.play(*[FadeIn(mark) for mark in marks], run_time=0.7)
        self.wait(0.6)
        for i in range(3):
            weighed = grid(mixed[i : i + 1], COLOUR["weight"], 0.8, 2).move_to(rows[i])
            self.play(Transform(rows[i], weighed), marks[i].animate.set_opacity(0.65), run_time=0.5)
        self.remove(says)
        self.add(words("what is left of each is added up", 22).to_edge(DOWN))
        self.play(
            *[row.copy().animate.move_to(out).set_opacity(0) for row in rows],
            FadeIn(out),
            run_time=0.9,
        )
        self.wait(1.2)


class Normalization(Scene):
    """The same table normalized over its rows and over its columns: which numbers share a mean."""

    def construct(self) -> None:
        x = torch.tensor([[1.0, 5, 3, 7], [2, 2, 8, 4], [9, 1, 5, 5]])
        table = grid(x, COLOUR["input"], 0.95).shift(0.3 * UP)
        title = words("which numbers share a mean?").to_edge(UP)
        sides = VGroup(
            words("samples", 20).rotate(np.pi / 2).next_to(table, LEFT), words("features", 20).next_to(table, DOWN)
        )
        self.add(title, table, sides)
        self.wait(0.4)
        for name, dim, count in (("layer norm: each row by itself", 1, 3), ("batch norm: each column by itself", 0, 4)):
            mean, deviation = x.mean(dim, keepdim=True), x.std(dim, keepdim=True, unbiased=False)
            done = grid((x - mean) / deviation, COLOUR["output"], 0.95, 1).move_to(table)
            now = grid(x, COLOUR["input"], 0.95).move_to(table)
            self.remove(title)
            title = words(name).to_edge(UP)
            self.add(title)
            self.play(Transform(table, now), run_time=0.6)
            for n in range(count):
                picked = range(4 * n, 4 * n + 4) if dim else range(n, 12, 4)
                m, d = float(mean.flatten()[n]), float(deviation.flatten()[n])
                line = words(f"mean {m:.2f}, standard deviation {d:.2f}", 22).to_edge(DOWN)
                self.play(
                    *[table[i][0].animate.set_fill(COLOUR["weight"], 0.55) for i in picked], FadeIn(line), run_time=0.4
                )
                self.play(*[Transform(table[i], done[i]) for i in picked], run_time=0.5)
                self.wait(0.2)
                self.play(FadeOut(line), run_time=0.15)
            self.wait(0.5)
        self.wait(0.6)


class Activation(Scene):
    """Numbers fall through three bends: a rectifier, its smooth relative, and one that saturates."""

    def construct(self) -> None:
        x = torch.linspace(-3, 3, 25)
        bends = (("ReLU", torch.relu), ("GELU", torch.nn.functional.gelu), ("tanh", torch.tanh))
        axis = VGroup(
            Line(5 * LEFT + 1.2 * DOWN, 5 * RIGHT + 1.2 * DOWN, color=COLOUR["masked"]),
            Line(2 * DOWN, 2.6 * UP, color=COLOUR["masked"]),
        )
        spots = [np.array([1.5 * float(v), -1.2, 0.0]) for v in x]
        dots = VGroup(*[Dot(spot, radius=0.08, color=COLOUR["input"]) for spot in spots])
        title = words("25 numbers from −3 to 3").to_edge(UP)
        self.add(axis, dots, title)
        self.wait(0.4)
        for name, bend in bends:
            y = bend(x)
            at = [np.array([1.5 * float(a), float(b) - 1.2, 0.0]) for a, b in zip(x, y, strict=True)]
            curve = VGroup(
                *[Line(p, q, color=COLOUR["weight"], stroke_width=5) for p, q in zip(at[:-1], at[1:], strict=True)]
            )
            zeros = int((y.abs() < 1e-6).sum())
            text = (
                f"{name}: mean {float(y.mean()):.2f}, from {float(y.min()):.2f} to {float(y.max()):.2f}, zeros: {zeros}"
            )
            says = words(text.replace("-", "−").replace("−0.00", "0.00"), 22).to_edge(DOWN)
            self.remove(title)
            title = words(f"y = {name}(x)").to_edge(UP)
            self.add(title)
            self.play(Create(curve), run_time=0.8)
            self.play(
                *[d.animate.move_to(p).set_color(COLOUR["output"]) for d, p in zip(dots, at, strict=True)],
                FadeIn(says),
                run_time=0.9,
            )
            self.wait(0.9)
            if name != "tanh":
                back = [d.animate.move_to(p).set_color(COLOUR["input"]) for d, p in zip(dots, spots, strict=True)]
                self.play(FadeOut(curve), FadeOut(says), *back, run_time=0.6)
        self.wait(0.4)


SCENES = {
    "layers": Layers,
    "compose": Compose,
    "convolution": Convolution,
    "recurrent": Recurrent,
    "attention": Attention,
    "normalization": Normalization,
    "activation": Activation,
    "som": Som,
}
"""The scene of each chapter."""
