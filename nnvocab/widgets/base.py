"""What every widget of the book has in common: an anywidget whose front end is one self-contained module.

The text of a widget's module is the shared palette, then ``common.js``, then the widget's own file: no bundler, no
imports, nothing from elsewhere. It computes from the state it is given, so it works on a page without a kernel.
"""

from __future__ import annotations

import base64
import inspect
import io
import json
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar

import anywidget

from nnvocab.style import MAGNITUDE, PALETTE, SIGNED

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _stops(name: str, count: int = 17) -> list[str]:
    import matplotlib as mpl
    from matplotlib.colors import to_hex

    return [to_hex(mpl.colormaps[name](i / (count - 1))) for i in range(count)]


def _file_text(name: str) -> str:
    return (resources.files("nnvocab.widgets") / f"{name}.js").read_text(encoding="utf-8")


def common_text() -> str:
    """What stands before every widget's own text: the palette and ``common.js``."""
    values = {"PALETTE": PALETTE, "SIGNED": _stops(SIGNED), "MAGNITUDE": _stops(MAGNITUDE)}
    palette = "".join(f"const {key} = {json.dumps(value)};\n" for key, value in values.items())
    return palette + _file_text("common")


def module_text(name: str) -> str:
    """The front-end module of a widget: palette, ``common.js``, and ``name.js``."""
    return common_text() + _file_text(name)


class Widget(anywidget.AnyWidget):
    """Base of the book's widgets: a subclass names its module's file and says how it looks when nothing runs."""

    file: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "file" in vars(cls):
            cls._esm = module_text(cls.file)
        super().__init_subclass__(**kwargs)

    def still(self) -> Figure:
        """Draw the widget's present state with matplotlib, for readers whose page runs no JavaScript."""
        raise TypeError(f"{type(self).__name__} must say how it looks when nothing runs: define still()")

    def __repr__(self) -> str:
        """The same text at every run, so that notebooks can be compared."""
        # anywidget gives each instance a class of its own, without a docstring: getdoc() asks the class above it
        return f"{type(self).__name__}: {(inspect.getdoc(type(self)) or '').partition(chr(10))[0]}"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        data, meta = bundle if isinstance(bundle, tuple) else (bundle, {})
        if data:
            import matplotlib as mpl
            from matplotlib import pyplot as plt

            from nnvocab import style

            with plt.rc_context():
                style.use()
                figure = self.still()
                png = io.BytesIO()
                figure.savefig(png, format="png")
                plt.close(figure)
                live = mpl.is_interactive()  # the first figure of a notebook switches this on for all that follow
            mpl.interactive(live)
            data = {**data, "text/plain": repr(self), "image/png": base64.b64encode(png.getvalue()).decode()}
        return data, meta
