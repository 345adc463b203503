"""What of a decision came out otherwise when it was made again."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """One value of one decision that comes out otherwise. `where` is `record` or `log`."""

    decision_id: str
    where: str
    field: str
    recorded: Any
    again: Any

    def text(self) -> str:
        return f"{self.decision_id}  {self.where}, {self.field}: recorded {self.recorded!r}, again {self.again!r}"


def same(left: Any, right: Any) -> bool:
    """Equal in type and to the last bit, all the way down: 1 is not 1.0, and 0.0 is not -0.0."""
    if isinstance(left, float) and isinstance(right, float):
        return struct.pack("<d", left) == struct.pack("<d", right)
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and bool(left == right)
