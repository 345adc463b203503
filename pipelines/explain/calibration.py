"""Whether the probabilities may be used as they are, and for whom they are furthest off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.explain.wording import number

# Up to here the error is what a reader may take for chance; the gate of the configuration allows more.
_LIKE_CHANCE = 1.5


@dataclass(frozen=True, slots=True)
class CalibrationError:
    """Mean distance of probabilities from rates (ECE), beside what exact probabilities would show. `day` in UTC.

    `day` is None where the rows are not those of one snapshot.
    """

    error: float
    floor: float
    day: str | None

    @property
    def over_noise(self) -> float:
        """How many times what chance alone gives."""
        if self.floor > 0:
            return self.error / self.floor
        return 0.0 if self.error == 0 else float("inf")


def newest_error(evaluation: Mapping[str, Any], model: str) -> CalibrationError:
    """On the newest test snapshot, whose rows are independent; on all test rows where snapshots were not judged."""
    times = evaluation.get("per_snapshot") or []
    if times:
        newest = max(times, key=lambda item: item["snapshot"])
        scores = next(item for item in newest["models"] if item["name"] == model)
        return CalibrationError(scores["calibration_error"], scores["noise_floor"], newest["day"])
    scores = next(item for item in evaluation["models"] if item["name"] == model)
    return CalibrationError(scores["calibration_error"], scores["calibration_noise_floor"], None)


def usability(found: CalibrationError, limit: float) -> str:
    """Whether the probabilities may be used as they are; `limit` is the gate's, in times of chance."""
    where = f"on the test snapshot of {found.day}" if found.day else "on the test"
    said = (
        f"{where} they are off by {number(found.error)} on average, {number(found.over_noise, 1)} times what exact "
        "probabilities would show by chance"
    )
    if found.over_noise <= _LIKE_CHANCE:
        return f"Its probabilities may be used as they are: {said}."
    if found.over_noise <= limit:
        return (
            f"Use its probabilities to rank, and with care as they are: {said}, though within the {limit:g} times "
            "that its gate allows."
        )
    return f"Do not use its probabilities as they are, only to rank: {said}, more than the {limit:g} of its gate."


def worst_calibrated(evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    """The judged band whose calibration error is the most times its noise floor; None where no band was judged."""
    bands = [item for item in evaluation.get("slices") or [] if item["judged"] and item["calibration_noise_floor"] > 0]
    if not bands:
        return None
    worst = max(bands, key=_over_noise)
    return {**worst, "over_noise": _over_noise(worst)}


def _over_noise(band: Mapping[str, Any]) -> float:
    return float(band["calibration_error"] / band["calibration_noise_floor"])
