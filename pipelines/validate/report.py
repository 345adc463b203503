"""What a validation found, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.settings.expectations import Severity

Scope = Literal["batch", "lake"]


class ValidationFailure(UserError):
    """A critical expectation does not hold: the pipeline must not go on."""


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """One row that broke an expectation.

    `row` is the number of the event's first row in the file it came from (in the batch, where no file
    is known), from 1, or its `position` in the lake. A missing source or event id is empty.
    """

    row: int
    source: str
    event_id: str

    def __str__(self) -> str:
        return f"{self.row} (event {self.source}/{self.event_id})"


@dataclass(frozen=True, slots=True)
class ExpectationResult:
    """One expectation and whether it holds.

    Attributes:
        checked_count: rows it looked at; None for an expectation about the table as a whole.
        unexpected_count: rows that break it; None for an expectation about the table as a whole.
        observed: what a table-wide expectation found, as text.
        examples: a handful of the rows that break it.
    """

    name: str
    expectation: str
    severity: Severity
    success: bool
    checked_count: int | None
    unexpected_count: int | None
    observed: str | None
    examples: tuple[ExampleRow, ...]
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """All expectations of one batch, or of the lake. `docs` is the page of this run in the Data Docs."""

    scope: Scope
    name: str
    rows: int
    seconds: float
    results: tuple[ExpectationResult, ...]
    docs: Path

    @property
    def passed(self) -> bool:
        """Whether every critical expectation holds."""
        return not self.failed("critical")

    def failed(self, severity: Severity) -> tuple[ExpectationResult, ...]:
        """Expectations of this severity that do not hold."""
        return tuple(result for result in self.results if not result.success and result.severity == severity)

    def summary_lines(self) -> list[str]:
        """A few lines for people: the count, each expectation that does not hold, and where the docs are."""
        critical, warnings = self.failed("critical"), self.failed("warning")
        lines = [
            f"{_title(self)}: {len(self.results)} expectations over {self.rows:,} events in {self.seconds:.1f} s, "
            f"{len(critical)} critical and {len(warnings)} warnings do not hold"
        ]
        for result in (*critical, *warnings):
            lines.append(f"  {result.severity} {result.name}: {finding(result, self.scope)}")
            lines.append(f"    {result.meaning} {result.remedy}")
        return [*lines, f"Data Docs: {self.docs}"]

    def text(self) -> str:
        """The summary for a person."""
        return "\n".join(self.summary_lines())

    def to_json(self) -> dict[str, Any]:
        """Plain values only, with `passed`."""
        return {**asdict(self), "docs": str(self.docs), "passed": self.passed}


def finding(result: ExpectationResult, scope: Scope) -> str:
    """How many rows break the expectation, and the first of them; or what the table showed."""
    if result.unexpected_count is None:
        return f"found {result.observed}"
    count = f"{result.unexpected_count:,} of {result.checked_count:,} events"
    if not result.examples:
        return count
    place = "rows" if scope == "batch" else "positions"
    more = ", …" if result.unexpected_count > len(result.examples) else ""
    return f"{count}: {place} {', '.join(map(str, result.examples))}{more}"


def raise_if_critical(report: ValidationReport) -> None:
    """Stop the pipeline where a critical expectation does not hold.

    Raises:
        ValidationFailure: names each of them, how many rows break it, the first of those rows (numbers
            and event ids, no personal data), and the remedy.
    """
    failed = report.failed("critical")
    if not failed:
        return
    problems = [
        Problem(result.name, result.meaning.rstrip("."), finding(result, report.scope), result.remedy)
        for result in failed
    ]
    count = f"{len(failed)} critical expectation{'s do' if len(failed) > 1 else ' does'} not hold"
    raise ValidationFailure(f"{_title(report)}: {count}; see {report.docs}", problems)


def _title(report: ValidationReport) -> str:
    return f"batch {report.name}" if report.scope == "batch" else "lake"
