"""Spans of equal length that rows right after openings, or at assignments, are gathered by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Instants = TypeVar("Instants", int, np.ndarray)


@dataclass(frozen=True, slots=True)
class Spans:
    """`every` microseconds long; one of them ends at `anchor` (int64 microseconds UTC)."""

    anchor: int
    every: int

    def start_of(self, instants: Instants) -> Instants:
        """The start of the span that holds each instant, int64 microseconds UTC."""
        return self.anchor + (instants - self.anchor) // self.every * self.every


ALL_TIME = Spans(0, 2**62)
