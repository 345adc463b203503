"""What a model must show before it may become champion, read off `evaluation.json` and `leakage.json`.

What a gate needs and does not find is not known, and what is not known is not passed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.gate import Gate
from pipelines.register.candidate import TUNED, differences, of_candidate
from pipelines.settings.models import GateConfig

__all__ = ["Evidence", "Gate", "check_gates"]

Against = Literal["none", "comparable", "foreign"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one candidate.

    `leakage` is None where nobody looked for it. `champion`: there is none; one on the same features, which must be
    compared with; or one of another version of the features (`foreign`), whose features the dataset lacks. The last
    stands in nobody's way, for a changed spec must be able to become current.
    """

    evaluation: Mapping[str, Any]
    candidate: str = TUNED
    leakage: Mapping[str, Any] | None = None
    has_slices: bool = False
    champion: Against = "none"

    @property
    def scores(self) -> Mapping[str, Any]:
        """Values of the candidate on the test."""
        return next(model for model in self.evaluation["models"] if model["name"] == self.candidate)

    @property
    def own(self) -> Mapping[str, Any]:
        """What the evaluation says of the candidate alone."""
        return of_candidate(self.evaluation, self.candidate)


def check_gates(gates: GateConfig, evidence: Evidence) -> tuple[Gate, ...]:
    """All gates that are asked for, passed or not."""
    return (
        _test_rows(gates, evidence),
        _base_rate(gates, evidence),
        _auc(gates, evidence),
        _calibration(gates, evidence),
        *_slices(gates, evidence),
        *_leakage(gates, evidence),
        *_champion(gates, evidence),
    )


def _at_most(name: str, figure: float | None, limit: float, meaning: str) -> Gate:
    return Gate(name, figure is not None and figure <= limit, figure, limit, meaning)


def _test_rows(gates: GateConfig, evidence: Evidence) -> Gate:
    rows, least = evidence.evaluation["test_rows"], gates.minimum_test_rows
    return Gate("minimum_test_rows", rows >= least, rows, least, "rows the test has, at least")


def _base_rate(gates: GateConfig, evidence: Evidence) -> Gate:
    """The interval of the gain must lie above the threshold, not only its middle."""
    rows = differences(evidence.evaluation, evidence.candidate)
    found = next((row for row in rows if (row["against"], row["metric"]) == ("base_rate", "log_loss")), None)
    gain = None if found is None or found["high"] is None else -found["high"]
    passed = gain is not None and gain > gates.beats_base_rate_by
    meaning = "log-loss gained on the base rate (nats), lower bound, more than"
    return Gate("beats_base_rate_by", passed, gain, gates.beats_base_rate_by, meaning)


def _auc(gates: GateConfig, evidence: Evidence) -> Gate:
    auc = evidence.scores["auc"]["estimate"]
    passed = auc is not None and auc >= gates.minimum_auc
    return Gate("minimum_auc", passed, auc, gates.minimum_auc, "AUC on the test, at least")


def _calibration(gates: GateConfig, evidence: Evidence) -> Gate:
    """On the newest test snapshot alone: the noise floor takes rows as independent, those of one customer are not."""
    newest = max(evidence.evaluation["per_snapshot"], key=lambda item: item["snapshot"])
    scores = next(model for model in newest["models"] if model["name"] == evidence.candidate)
    error, floor = scores["calibration_error"], scores["noise_floor"]
    ratio = error / floor if floor > 0 else (0.0 if error == 0 else math.inf)
    meaning = "calibration error on the newest test snapshot over what noise alone gives, at most"
    return _at_most("calibration_error_over_noise", ratio, gates.calibration_error_over_noise, meaning)


def _slices(gates: GateConfig, evidence: Evidence) -> Iterator[Gate]:
    """The worst slice must not be worse, beyond chance, than its own base rate."""
    if not evidence.has_slices:
        return
    name, limit = "worst_slice_loss_over_base_rate", gates.worst_slice_loss_over_base_rate
    if "worst_slice" not in evidence.own:
        yield Gate(name, False, None, limit, "the evaluation says nothing of slices; evaluate again")
        return
    worst = evidence.own["worst_slice"]
    if worst is None:
        yield Gate(name, True, None, limit, "no slice of the test has enough rows to be judged")
        return
    meaning = f"log-loss of {_slice(worst)} over that of its base rate (nats), lower bound, at most"
    yield _at_most(name, worst["log_loss_over_base_rate"]["low"], limit, meaning)


def _leakage(gates: GateConfig, evidence: Evidence) -> Iterator[Gate]:
    """An alarm that does not block warns the reader of a report, and holds nobody back."""
    if not gates.leakage:
        return
    found = evidence.leakage
    if found is None:
        yield Gate("leakage", False, None, 0, "leakage was not looked for; run twin leakage")
        return
    of = ("dataset_hash", "model_hash") if evidence.candidate == TUNED else ("dataset_hash",)
    if any(name in found and found[name] != evidence.evaluation.get(name) for name in of):
        yield Gate("leakage", False, None, 0, "leakage was looked for in another dataset or model; run twin leakage")
        return
    blocking = [alarm for alarm in found["alarms"] if alarm.get("blocks", True)]
    unknown = [a["name"] for a in blocking if a["figure"] is None and a["threshold"] is not None]
    if unknown:
        yield Gate("leakage", False, None, 0, f"no figure could be taken of {', '.join(unknown)}")
        return
    raised = [alarm for alarm in blocking if alarm["raised"]]
    which = "".join(f" ({alarm['name']}: {alarm['meaning']})" for alarm in raised)
    yield _at_most("leakage", len(raised), 0, f"leakage alarms{which}, at most")


def _champion(gates: GateConfig, evidence: Evidence) -> Iterator[Gate]:
    """Not worse than the champion by more than is allowed: on the whole, in the worst slice, calibrated, in money."""
    name, limit = "maximum_loss_against_champion", gates.maximum_loss_against_champion
    if evidence.champion == "none":
        yield Gate(name, True, None, limit, "there is no champion to compare with")
        return
    if evidence.champion == "foreign":
        yield Gate(name, True, None, limit, "the champion is of another version of the features, and is not compared")
        return
    found = evidence.own.get("champion_comparison")
    if found is None:
        yield Gate(name, False, None, limit, "the champion was not compared on this test")
        return
    meaning = "log-loss lost to the champion (nats), upper bound, at most"
    yield _at_most(name, found["log_loss"]["high"], limit, meaning)
    if found.get("worst_slice") is not None:
        worst = found["worst_slice"]
        words = f"log-loss lost to the champion in {_slice(worst)} (nats), upper bound, at most"
        in_slices = "maximum_loss_against_champion_in_slices"
        yield _at_most(in_slices, worst["log_loss"]["high"], gates.maximum_loss_against_champion_in_slices, words)
    words = "calibration error above the champion's, upper bound, at most"
    lost, most = found["calibration_error"]["high"], gates.maximum_calibration_lost_to_champion
    yield _at_most("maximum_calibration_lost_to_champion", lost, most, words)
    yield from _profit(gates, found.get("profit"))


def _profit(gates: GateConfig, found: Mapping[str, Any] | None) -> Iterator[Gate]:
    limit = gates.maximum_profit_lost_to_champion
    if limit is None:
        return
    meaning = "profit a row lost to the champion, upper bound, at most"
    lost = None if found is None else found["high"]
    yield _at_most("maximum_profit_lost_to_champion", lost, limit, meaning)


def _slice(worst: Mapping[str, Any]) -> str:
    return f"the worst slice ({worst['slice']}: {worst['band']}, {worst['rows']:,} rows)"
