"""One thing that a model must show before it becomes champion: shared by all who judge a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: its name in the configuration, the figure it looks at, and what was asked of it."""

    name: str
    passed: bool
    figure: float | None
    threshold: float
    meaning: str

    def text(self) -> str:
        """One line for a person."""
        figure = "not known" if self.figure is None else f"{self.figure:.4g}"
        outcome = "passed" if self.passed else "FAILED"
        return f"{outcome}  {self.name}: {self.meaning}: {figure}, threshold {self.threshold:g}"
