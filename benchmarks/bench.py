"""Time every entry that has a peer beside it: forward, and forward with backward, two threads, the median of many.

``make bench`` runs all and writes ``benchmarks/results.json``, which a page of the book shows. A chapter files its
cases in ``benchmarks/<chapter>.py`` as a function ``cases() -> list[Case]``.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from nnvocab import CHAPTERS

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
SHORTEST = 2.0  # milliseconds that one measurement should last


@dataclass(frozen=True)
class Case:
    """One comparison: ``ours()`` beside ``peer()``, which do the same work on the same data.

    Args:
        name: what is compared, sizes included.
        entry: the entry's name in the vocabulary.
        peer_name: what it is compared with, with its version.
        ours, peer: calls without arguments; what they return is summed and differentiated if ``backward``.
        backward: time the backward pass too, with respect to every parameter and input that asks for a gradient; the
            gradients of the call before are dropped first, as an optimizer's ``zero_grad`` does.
        runs: timed calls of each, in turns.
        goal: the ratio ours ÷ peer that must not be exceeded.
    """

    name: str
    entry: str
    peer_name: str
    ours: Callable[[], Any]
    peer: Callable[[], Any]
    backward: bool = True
    runs: int = 20
    goal: float = 1.05


@dataclass(frozen=True)
class Row:
    """What was measured."""

    chapter: str
    name: str
    entry: str
    peer: str
    mode: str
    ours_ms: float
    peer_ms: float
    ratio: float
    goal: float
    runs: int
    ours_peak_mib: float
    peer_peak_mib: float


def _loss(result: Any) -> torch.Tensor:
    while isinstance(result, tuple | list):
        result = result[0]
    return result.sum()


def _leaves(result: Any) -> list[torch.Tensor]:
    """Every parameter and input that the result has a gradient for."""
    todo, seen, found = [_loss(result).grad_fn], set(), []
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        todo += [following for following, _ in node.next_functions]
    return found


def _pairs(case: Case, backward: bool) -> tuple[float, float, float]:
    """Median milliseconds of ours and of the peer, called in turns so that a drifting machine is fair to both.

    What is too short for the clock is called several times in a row.
    """
    leaves = {id(call): _leaves(call()) if backward else [] for call in (case.ours, case.peer)}

    def once(call: Callable[[], Any], times: int = 1) -> float:
        start = perf_counter()
        for _ in range(times):
            for leaf in leaves[id(call)]:
                leaf.grad = None
            if backward:
                _loss(call()).backward()
            else:
                with torch.no_grad():
                    call()
        return (perf_counter() - start) * 1e3 / times

    shortest = min(once(call) for _ in range(3) for call in (case.ours, case.peer))
    in_a_row = max(1, round(SHORTEST / shortest))
    ours, peer = [], []
    for turn in range(case.runs):
        for call, times in ((case.ours, ours), (case.peer, peer))[:: 1 if turn % 2 else -1]:
            times.append(once(call, in_a_row))
    ratio = statistics.median(a / b for a, b in zip(ours, peer, strict=True))
    return statistics.median(ours), statistics.median(peer), ratio


def peak(chapter: str, name: str, side: str) -> float:
    """MiB that one call needs at its peak beyond what a fresh process held before it; Linux tells it, others do not."""
    if not Path("/proc/self/clear_refs").exists():
        return float("nan")
    code = (
        "import ctypes, re, sys, torch; sys.path.insert(0, sys.argv[1]); torch.set_num_threads(2)\n"
        "from importlib import import_module\n"
        "from pathlib import Path\n"
        "def kib(what): return int(re.search(what + r':\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "case = next(c for c in import_module(sys.argv[2]).cases() if c.name == sys.argv[3])\n"
        "torch.randn(99, 99) @ torch.randn(99, 99)\n"  # the libraries' own buffers
        "ctypes.CDLL(None).malloc_trim(0)\n"  # memory that was freed is given back, so that its use counts again
        "Path('/proc/self/clear_refs').write_text('5')\n"  # the peak begins anew, from what is held now
        "before = kib('VmRSS')\n"
        "result = getattr(case, sys.argv[4])()\n"
        "print((kib('VmHWM') - before) / 1024)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(HERE), chapter, name, side], capture_output=True, text=True, check=True
    )
    return float(out.stdout.strip().splitlines()[-1])


def measure(chapters: tuple[str, ...], only: str = "") -> list[Row]:
    """Run the cases of the chapters whose name contains ``only``."""
    sys.path.insert(0, str(HERE))
    rows = []
    for chapter in chapters:
        for case in import_module(chapter).cases():
            if only.lower() not in case.name.lower():
                continue
            memory = [peak(chapter, case.name, side) for side in ("ours", "peer")]
            for mode in ("forward", "forward + backward")[: 2 if case.backward else 1]:
                ours, peer, ratio = _pairs(case, mode != "forward")
                rows.append(
                    Row(
                        chapter,
                        case.name,
                        case.entry,
                        case.peer_name,
                        mode,
                        round(ours, 3),
                        round(peer, 3),
                        round(ratio, 3),
                        case.goal,
                        case.runs,
                        *[round(m, 1) for m in memory],
                    )
                )
                print(
                    f"{chapter:<12} {case.name:<56} {mode:<19} {ours:9.2f} ms {peer:9.2f} ms  x{ratio:.3f} (goal {case.goal})",
                    flush=True,
                )
    return rows


def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def keep_memory() -> None:
    """Let the allocator keep what was freed, as CUDA's does, for ours and the peer alike.

    glibc gives the top of its heap back to the system, and taken again each page costs time; whether a gradient of
    20 MB pays for it depends on what else lay in memory, and not on the code that is timed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # no glibc
        return
    mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
    mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD, the highest there is


def main() -> int:
    """Measure and store; with names of chapters, only these, and the rest stays as it was stored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", choices=[[], *CHAPTERS])
    parser.add_argument("--only", default="", help="only cases whose name contains this; nothing is stored")
    given = parser.parse_args()
    keep_memory()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    chosen = tuple(given.chapters) or CHAPTERS
    rows = [asdict(r) for r in measure(chosen, given.only)]
    if given.only:
        return 0
    kept = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    rows = [r for r in kept if r["chapter"] not in chosen] + rows
    rows.sort(key=lambda r: CHAPTERS.index(r["chapter"]))
    about = {
        "date": date.today().isoformat(),
        "processor": processor(),
        "threads": 2,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    RESULTS.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
