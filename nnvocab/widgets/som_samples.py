"""The samples that a self-organizing map is shown on in the browser: packed small, described, and checked."""

from __future__ import annotations

import base64
import math
from functools import lru_cache
from typing import Any

import numpy as np


def unpacked(record: dict[str, Any]) -> np.ndarray:
    """Read an array back as the browser reads it: (n, features) in float64."""
    raw = np.frombuffer(base64.b64decode(record["values"]), dtype=np.uint8 if record["type"] == "u8" else "<f4")
    return raw.astype(np.float64).reshape(record["n"], record["features"]) / record["scale"]


def packed(values: np.ndarray, scale: float = 1) -> dict[str, Any]:
    small = bool((values == values.round()).all() and values.min() >= 0 and values.max() <= 255)
    raw = values.astype(np.uint8 if small else "<f4")
    text = base64.b64encode(raw.tobytes()).decode()
    return {
        "values": text,
        "type": "u8" if small else "f4",
        "scale": scale,
        "n": len(values),
        "features": values.shape[1],
    }


def _described(values: np.ndarray, title: str, kind: str = "plain", *, scale: float = 1, **more: Any) -> dict[str, Any]:
    """Pack samples with all that the browser needs to draw them; wide ones with three principal axes."""
    small, width = packed(values, scale), values.shape[1]
    names = [f"x{i + 1}" for i in range(width)]
    record = {**small, "title": title, "kind": kind, "names": names, "axes": names[:3], "basis": None, "centre": None}
    if width > 3:
        real = unpacked(small)
        centre = real.mean(0)
        _, spread, basis = np.linalg.svd(real - centre, full_matrices=False)
        share = spread**2 / (spread**2).sum()
        basis = np.pad(basis[:3], ((0, max(0, 3 - len(basis))), (0, 0)))
        basis *= np.where(basis[np.arange(3), np.abs(basis).argmax(1)] < 0, -1, 1)[:, None]
        record.update(basis=basis.round(5).tolist(), centre=centre.round(5).tolist())
        record["axes"] = [f"PC {i + 1}, {100 * share[i]:.0f} %" for i in range(min(3, len(share)))]
    return {**record, "labels": None, "shade": None, **more}


def seen(values: np.ndarray, record: dict[str, Any]) -> np.ndarray:
    """Give the three coordinates in which samples or prototypes are drawn: (n, 3)."""
    if record["basis"] is not None:
        return (values - np.array(record["centre"])) @ np.array(record["basis"]).T
    return np.pad(values, ((0, 0), (0, 3 - values.shape[1])))


@lru_cache(maxsize=1)
def builtin() -> dict[str, dict[str, Any]]:
    """The data sets that every widget brings."""
    from sklearn.datasets import load_digits, make_moons

    draw = np.random.default_rng(0)
    images, digits = load_digits(return_X_y=True)
    some = draw.permutation(len(images))[:300]
    ball = draw.standard_normal((400, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    roll, height = 1.5 * np.pi * (1 + 2 * draw.random(400)), draw.random(400)
    swiss = np.stack([roll * np.cos(roll) / 14, roll * np.sin(roll) / 14, 2 * height - 1], 1)
    red = ["red", "green", "blue"]
    pixels = [f"pixel {i // 8 + 1}, {i % 8 + 1}" for i in range(64)]
    return {
        "colours": _described(
            draw.integers(0, 256, (300, 3)), "colours (3 features)", "rgb", scale=255, names=red, axes=red
        ),
        "digits": _described(
            images[some], "digits (64)", "image", scale=16, names=pixels, labels=[str(d) for d in digits[some]]
        ),
        "moons": _described(make_moons(300, noise=0.06, random_state=0)[0], "two moons (2)"),
        "square": _described(draw.random((300, 2)), "a square (2)"),
        "sphere": _described(ball, "a sphere (3)", shade=((ball[:, 2] + 1) * 127).astype(int).tolist()),
        "swiss roll": _described(
            swiss, "a Swiss roll (3)", shade=((roll / np.pi / 1.5 - 1) * 127).astype(int).tolist()
        ),
    }


def own_samples(data: Any, labels: Any, weight: np.ndarray | None, room: int) -> dict[str, Any]:
    """Check and pack the reader's own samples, thinned where there are more than the page can carry."""
    try:
        values = np.asarray(data.detach().cpu() if hasattr(data, "detach") else data, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"data is a {type(data).__name__} that holds no numbers: give a tensor or array (samples, features)"
        ) from error
    if values.ndim != 2 or len(values) < 2 or values.shape[1] < 1:
        raise ValueError(f"data has shape {values.shape}, but must be (samples, features) with two samples or more")
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).any(1).sum())
        raise ValueError(f"{bad} of {len(values)} samples hold NaN or infinity: drop or mend them first")
    if weight is not None and values.shape[1] != weight.shape[1]:
        raise ValueError(
            f"data has {values.shape[1]} features, but the map has {weight.shape[1]}: give samples as wide as the map"
        )
    if labels is not None and len(labels) != len(values):
        raise ValueError(f"there are {len(labels)} labels for {len(values)} samples: give one label a sample")
    width = values.shape[1]
    each = width * (1.34 if "u8" == packed(values)["type"] else 5.34) + 10
    most = min(int((room - 60 * width) / each), 1000)
    if width > 256 or most < 50:
        raise ValueError(
            f"data has {width} features, and fewer than 50 samples of that width fit on a page: reduce them first, "
            f"for example to 50 principal components"
        )
    keep = np.sort(np.random.default_rng(0).permutation(len(values))[:most])
    side = math.isqrt(width)
    texts = None if labels is None else [str(np.asarray(labels)[i])[:2] for i in keep]
    thinned = f"{len(keep)} of {len(values)} samples" if len(keep) < len(values) else f"{len(keep)} samples"
    kind = "image" if side >= 7 and side * side == width else "plain"
    return _described(values[keep], f"your data ({thinned}, {width} features)", kind, labels=texts)


def checked_map(som: Any) -> tuple[np.ndarray, list[int]]:
    """Read a map's prototypes and its lattice as [rows, columns]."""
    missing = [k for k in ("weight", "shape", "topology", "neighbourhood") if not hasattr(som, k)]
    if missing:
        raise TypeError(f"som is a {type(som).__name__} without {', '.join(missing)}: give an nnvocab.som.SOM")
    weight = np.asarray(som.weight.detach().cpu(), dtype=np.float64)
    shape = [int(n) for n in som.shape]
    if len(shape) > 2:
        raise ValueError(
            f"the map's lattice has {len(shape)} axes {tuple(shape)}, but one or two can be drawn: SOM((10, 10), C)"
        )
    if weight.ndim != 2 or len(weight) != math.prod(shape):
        raise ValueError(
            f"the map's weight has shape {weight.shape}, but its lattice {tuple(shape)} needs one row a unit"
        )
    if not np.isfinite(weight).all():
        raise ValueError("the map's weight holds NaN or infinity: train it again with a lower rate")
    for name, known in (
        ("topology", ("rectangular", "hexagonal")),
        ("neighbourhood", ("gaussian", "bubble", "mexican_hat")),
    ):
        if getattr(som, name) not in known:
            raise ValueError(f"the map's {name} is {getattr(som, name)!r}, but must be one of {', '.join(known)}")
    if weight.size > 14_000 or not 2 <= len(weight) <= 900:
        raise ValueError(
            f"the map has {len(weight)} units of {weight.shape[1]} features, but a page carries 2 to 900 units and at "
            f"most 14,000 numbers: make a smaller map"
        )
    return weight, [1, *shape] if len(shape) == 1 else shape
