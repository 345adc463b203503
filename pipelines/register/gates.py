"""What a model must show before it may become champion, read off `evaluation.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.settings.models import GateConfig

CANDIDATE = "lightgbm_tuned"


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


def check_gates(
    gates: GateConfig, evaluation: Mapping[str, Any], must_compare: bool = False, has_champion: bool = False
) -> tuple[Gate, ...]:
    """All gates, passed or not. `must_compare`: there is a champion on the same features to be compared with.

    A champion of another version of the features (`has_champion` alone) cannot be compared: the dataset lacks what
    it reads. It stands in nobody's way, for a changed spec must be able to become current.
    """
    return (
        _test_rows(gates, evaluation),
        _base_rate(gates, evaluation),
        _auc(gates, evaluation),
        _calibration(gates, evaluation),
        _champion(gates, evaluation, must_compare, has_champion),
    )


def _test_rows(gates: GateConfig, evaluation: Mapping[str, Any]) -> Gate:
    rows = evaluation["test_rows"]
    meaning = "rows the test has, at least"
    return Gate("minimum_test_rows", rows >= gates.minimum_test_rows, rows, gates.minimum_test_rows, meaning)


def _base_rate(gates: GateConfig, evaluation: Mapping[str, Any]) -> Gate:
    """The interval of the gain must lie above the threshold, not only its middle."""
    found = _difference(evaluation, "base_rate")
    gain = None if found is None else -found["high"]
    passed = gain is not None and gain > gates.beats_base_rate_by
    meaning = "log-loss gained on the base rate (nats), lower bound, more than"
    return Gate("beats_base_rate_by", passed, gain, gates.beats_base_rate_by, meaning)


def _auc(gates: GateConfig, evaluation: Mapping[str, Any]) -> Gate:
    auc = _candidate(evaluation)["auc"]["estimate"]
    return Gate("minimum_auc", auc >= gates.minimum_auc, auc, gates.minimum_auc, "AUC on the test, at least")


def _calibration(gates: GateConfig, evaluation: Mapping[str, Any]) -> Gate:
    figures = _candidate(evaluation)
    error, floor = figures["calibration_error"], figures["calibration_noise_floor"]
    ratio = error / floor if floor > 0 else (0.0 if error == 0 else math.inf)
    limit = gates.calibration_error_over_noise
    meaning = "calibration error over what noise alone gives, at most"
    return Gate("calibration_error_over_noise", ratio <= limit, ratio, limit, meaning)


def _champion(gates: GateConfig, evaluation: Mapping[str, Any], must_compare: bool, has_champion: bool) -> Gate:
    found = _difference(evaluation, "champion")
    worst = None if found is None else found["high"]
    limit = gates.maximum_loss_against_champion
    passed = not must_compare if worst is None else worst <= limit
    meaning = "log-loss lost to the champion (nats), upper bound, at most"
    if worst is None:
        alone = "there is no champion to compare with"
        foreign = "the champion is of another version of the features, and is not compared"
        meaning = "the champion was not compared on this test" if must_compare else foreign if has_champion else alone
    return Gate("maximum_loss_against_champion", passed, worst, limit, meaning)


def _candidate(evaluation: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(model for model in evaluation["models"] if model["name"] == CANDIDATE)


def _difference(evaluation: Mapping[str, Any], against: str) -> Mapping[str, Any] | None:
    """Log-loss of the candidate minus that of `against`: negative is better."""
    wanted = (CANDIDATE, against, "log_loss")
    rows = (row for row in evaluation["differences"] if (row["model"], row["against"], row["metric"]) == wanted)
    return next(rows, None)
