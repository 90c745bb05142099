"""nbval runs cells as a reader does: with a history, without which IPython forgets what a trailing semicolon means."""

from __future__ import annotations

from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell


def _with_history(self: RunningKernel, cell_input: str, allow_stdin: bool | None = None) -> str:
    return self.kc.execute(
        cell_input,
        allow_stdin=False if allow_stdin is None else allow_stdin,
        store_history=True,
        stop_on_error=False,
    )


RunningKernel.execute_cell_input = _with_history

# Five seconds from the end of a cell to its last output are too few on a busy machine.
IPyNbCell.output_timeout = 60
