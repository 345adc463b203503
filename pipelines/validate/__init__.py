"""Great Expectations over each batch and over the whole lake, with Data Docs that open offline."""

from pipelines.validate.compile import check_expectations
from pipelines.validate.report import (
    ExampleRow,
    ExpectationResult,
    ValidationFailure,
    ValidationReport,
    raise_if_critical,
)
from pipelines.validate.steps import validate_batch, validate_lake

__all__ = [
    "ExampleRow",
    "ExpectationResult",
    "ValidationFailure",
    "ValidationReport",
    "check_expectations",
    "raise_if_critical",
    "validate_batch",
    "validate_lake",
]
