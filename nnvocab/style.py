"""One look: the palette that plots, widgets and animations share, and the matplotlib style made of it.

Colours are Okabe and Ito's, which people with any kind of colour vision can tell apart. One meaning a colour.
"""

from __future__ import annotations

from importlib import resources

PALETTE = {
    "input": "#0072B2",  # blue
    "weight": "#E69F00",  # orange
    "output": "#009E73",  # green
    "gradient": "#D55E00",  # vermilion
    "masked": "#8A8A8A",  # grey: what is masked or frozen
    "state": "#CC79A7",  # purple: what is remembered
    "second": "#56B4E9",  # sky blue
    "third": "#F0E442",  # yellow: never for text or thin lines
}
"""What each colour means, in plots, widgets and animations alike."""

SIGNED = "RdBu_r"
"""The diverging colour map for signed values; use it with limits symmetric about zero."""

MAGNITUDE = "cividis"
"""The sequential colour map for magnitudes."""


def use() -> None:
    """Draw matplotlib figures in the book's look: ``nnvocab.style.use()`` in a notebook's first cell."""
    from matplotlib import style

    style.use(str(resources.files("nnvocab") / "nnvocab.mplstyle"))
