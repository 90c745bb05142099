"""What the exercises share: a number that is asked for one axis may be given for each."""

from __future__ import annotations

from typing import Any


def same_on_every_axis(answer: Any) -> Any:
    """14 from (14, 14): equal numbers, one an axis, say the same as one; anything else is left as it is."""
    if hasattr(answer, "tolist"):
        answer = answer.tolist()
    if isinstance(answer, (tuple, list)) and len(answer) > 0 and all(value == answer[0] for value in answer):
        return answer[0]
    return answer
