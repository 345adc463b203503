"""What a companion must show before it may become champion, read off its evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.gate import Gate
from pipelines.settings.models import CompanionGates


def check_gates(gates: CompanionGates, evaluation: Mapping[str, Any]) -> tuple[Gate, ...]:
    """All gates, passed or not."""
    rows = evaluation["test_rows"]
    enough = Gate(
        "minimum_test_rows", rows >= gates.minimum_test_rows, rows, gates.minimum_test_rows,
        "rows the test has, at least",
    )  # fmt: skip
    off = abs(evaluation["coverage"] - evaluation["level"])
    covered = Gate(
        "coverage_off_by", off <= gates.coverage_off_by, off, gates.coverage_off_by,
        f"share of outcomes in the {evaluation['level']:.0%} interval off its level, at most",
    )  # fmt: skip
    return (enough, *([_beats(evaluation)] if gates.beats_simplest else []), covered)


def _beats(evaluation: Mapping[str, Any]) -> Gate:
    """The interval of the gain must lie above 0, not only its middle."""
    wanted = (evaluation["simplest"], evaluation["judged_by"])
    found = next((gain for gain in evaluation["gains"] if (gain["against"], gain["metric"]) == wanted), None)
    gain = None if found is None else found["low"]
    meaning = f"{evaluation['judged_by']} gained on {evaluation['simplest']}, lower bound, more than"
    return Gate("beats_simplest", gain is not None and gain > 0.0, gain, 0.0, meaning)
