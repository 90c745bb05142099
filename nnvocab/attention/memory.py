"""How much memory a computation holds at its worst moment, counted from the tensors that it makes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Watch(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.alive: set[int] = set()
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        result = func(*args, **(kwargs or {}))
        for t in tree_leaves(result):
            if isinstance(t, Tensor):
                self._note(t, given)
        return result

    def _note(self, t: Tensor, given: set[int]) -> None:
        storage = t.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.alive or key in given:
            return
        self.alive.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        if key in self.alive:
            self.alive.discard(key)
            self.now -= size


def peak_bytes(call: Callable[[], Any]) -> int:
    """Count the bytes of the tensors that ``call`` makes and that live at the same time, at the worst moment.

    Args:
        call: a computation without arguments; what it is given from outside is not counted.

    Notice:
        The number depends on shapes and dtypes alone, so it is the same on every machine. What a fused kernel
        sets aside inside itself is not seen.

    >>> import torch
    >>> x = torch.zeros(1000)
    >>> peak_bytes(lambda: (x + 1) * 2)
    8000
    """
    watch = _Watch()
    with watch:
        result = call()
    del result
    return watch.peak
