"""Rules that people write: parsed by Python's grammar, checked against known names, evaluated without `eval`."""

from pipelines.expressions.expression import Expression, Kind, Value

__all__ = ["Expression", "Kind", "Value"]
