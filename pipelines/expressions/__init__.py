"""Rules that people write: parsed by Python's grammar, checked against known names, evaluated without `eval`."""

from pipelines.expressions.expression import Expression, Kind, Value, compile_expression
from pipelines.expressions.parse import ExpressionError, Mistake

__all__ = ["Expression", "ExpressionError", "Kind", "Mistake", "Value", "compile_expression"]
