"""What a companion must show before it may become champion, read off its evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.gate import Gate
from pipelines.settings.models import CompanionGates
from pipelines.tracking import CHAMPION


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
    beats = (_beats(evaluation),) if gates.beats_simplest else ()
    return (enough, *beats, covered, *_holds_against_champion(gates.maximum_loss_against_champion, evaluation))


def _beats(evaluation: Mapping[str, Any]) -> Gate:
    """The interval of the gain must lie above 0, not only its middle."""
    gain = _gain(evaluation, evaluation["simplest"])
    meaning = f"{evaluation['judged_by']} gained on {evaluation['simplest']}, lower bound, more than"
    return Gate("beats_simplest", gain is not None and gain > 0.0, gain, 0.0, meaning)


def _holds_against_champion(most: float, evaluation: Mapping[str, Any]) -> tuple[Gate, ...]:
    """Nothing where no champion was compared. What may be lost is a share of the champion's own score."""
    rival = next((model for model in evaluation["models"] if model["name"] == CHAMPION), None)
    if rival is None:
        return ()
    score, gain = rival["figures"][evaluation["judged_by"]]["estimate"], _gain(evaluation, CHAMPION)
    meaning = f"share of the champion's {evaluation['judged_by']} lost to it, upper bound, at most"
    if score is None or gain is None:
        return (Gate("maximum_loss_against_champion", False, None, most, meaning),)
    lost = (0.0 - gain) / (score if score > 0 else 1.0)
    return (Gate("maximum_loss_against_champion", lost <= most, lost, most, meaning),)


def _gain(evaluation: Mapping[str, Any], against: str) -> float | None:
    """The lower bound of what was gained in the metric that is judged by; None where it is not defined."""
    wanted = (against, evaluation["judged_by"])
    found = next((gain for gain in evaluation["gains"] if (gain["against"], gain["metric"]) == wanted), None)
    return None if found is None else found["low"]
