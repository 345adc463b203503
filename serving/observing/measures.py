"""What is counted, and the calls by which the rest of the service has it counted.

No label holds an id or a text of a caller's: routes are those of the API, models and actions those that are configured.
"""

from __future__ import annotations

import gc
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

from serving.observing.tally import Counter, Gauge, Histogram, Measure

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

REQUESTS = Histogram(
    "twin_request_seconds",
    "Seconds from a request's head to its last byte, by route and class of status (left: the client went away).",
    _SECONDS,
    ("route", "status"),
)
REJECTED = Counter("twin_requests_rejected_total", "Requests that were refused, by reason.", ("reason",))
CONNECTIONS_CLOSED = Counter("twin_connections_closed_total", "Connections that were cut off, by reason.", ("reason",))
EVENTS = Counter("twin_events_total", "Items of live calls, by what became of them.", ("outcome",))
# These five are counted at each prediction, under one lock.
_predicting = threading.Lock()
PREDICTIONS = Counter("twin_predictions_total", "Predictions that were answered.", ("model", "version"), _predicting)
OUTSIDE = Counter(
    "twin_predictions_out_of_population_total",
    "Predictions for customers unlike those of the training.",
    ("model",),
    _predicting,
)
PROBABILITY = Histogram(
    "twin_prediction_probability", "Probabilities that were answered.", _SHARES, ("model",), _predicting
)
FEATURES = Counter("twin_features_read_total", "Feature values that predictions read.", ("model",), _predicting)
EMPTY = Counter("twin_features_empty_total", "Those of them that were empty.", ("model",), _predicting)
DECISIONS = Counter("twin_decisions_total", "Decisions that were answered.", ("action", "basis", "outcome"))
COMPACTIONS = Histogram("twin_compaction_seconds", "Seconds that moving the journal into the lake took.", _LONG_SECONDS)
COMPACTED = Counter("twin_compacted_events_total", "Live events that were moved into the lake.")
PAUSES = Histogram("twin_gc_pause_seconds", "Pauses of Python's collector.", _SECONDS, ("generation",))

ALL: list[Measure] = [
    REQUESTS, REJECTED, CONNECTIONS_CLOSED, EVENTS, PREDICTIONS, OUTSIDE, PROBABILITY, FEATURES, EMPTY, DECISIONS,
    COMPACTIONS, COMPACTED, PAUSES,
]  # fmt: skip

# Error code or status: reason. What is in neither is no refusal, or one of few that the class of status tells of.
_REASONS: dict[str | int, str] = {
    "unauthorized": "auth",
    "forbidden": "auth",
    "consent_denied": "consent",
    "overloaded": "overload",
    400: "body",
    413: "body",
    415: "body",
    422: "body",
    429: "overload",
    431: "body",
    503: "unavailable",
    504: "timeout",
}


class Champion(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def version(self) -> str: ...


class Read(Protocol):
    @property
    def values(self) -> Sequence[object]: ...


class Prediction(Protocol):
    @property
    def probability(self) -> float | None: ...
    @property
    def in_population(self) -> bool | None: ...
    @property
    def read(self) -> Read | None: ...


class Ingested(Protocol):
    @property
    def accepted(self) -> int: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def rejected(self) -> Sequence[object]: ...
    @property
    def unplanned(self) -> Sequence[int]: ...
    @property
    def clamped(self) -> Sequence[int]: ...


class Decision(Protocol):
    @property
    def action(self) -> str: ...
    @property
    def basis(self) -> str: ...
    @property
    def holdout(self) -> bool: ...
    @property
    def explored(self) -> bool: ...


def gauge(made: Gauge) -> None:
    """Have a gauge of this process read at each scrape; one of the same name takes the place of the former."""
    ALL[:] = [known for known in ALL if known.name != made.name]
    ALL.append(made)


def refused(code: str, status: int) -> None:
    """A request was answered with this error."""
    reason = _REASONS.get(code) or _REASONS.get(status)
    if reason is not None:
        REJECTED.add(reason)


def predicted(champion: Champion, predictions: Sequence[Prediction]) -> None:
    """Predictions that are answered; those of unknown customers do not count."""
    model = champion.model
    with _predicting:
        count = PREDICTIONS.cell(model, champion.version)
        spread, outside = PROBABILITY.cell(model), OUTSIDE.cell(model)
        features, empty = FEATURES.cell(model), EMPTY.cell(model)
        for prediction in predictions:
            probability, read = prediction.probability, prediction.read
            if probability is None or read is None:
                continue
            count[0] += 1
            spread[bisect_left(_SHARES, probability)] += 1
            spread[-1] += probability
            outside[0] += prediction.in_population is False
            features[0] += len(read.values)
            empty[0] += read.values.count(None)


def taken_in(done: Ingested) -> None:
    """What became of the items of a live call."""
    counts = (
        ("accepted", done.accepted),
        ("duplicate", done.duplicates),
        ("rejected", len(done.rejected)),
        ("unplanned", len(done.unplanned)),
        ("clamped", len(done.clamped)),
    )
    for outcome, count in counts:
        if count:
            EVENTS.add(outcome, by=count)


def decided(decision: Decision, repeated: bool) -> None:
    """A decision that is answered; `repeated` where it had been made before."""
    outcome = "holdout" if decision.holdout else "explored" if decision.explored else "chosen"
    DECISIONS.add(decision.action, decision.basis, "repeated" if repeated else outcome)


class _Pauses:
    """Measures the collector's pauses; those of its youngest generation are too short to matter."""

    began = 0.0

    def __call__(self, phase: str, told: dict[str, int]) -> None:
        if told["generation"] == 0:
            return
        if phase == "start":
            self.began = time.perf_counter()
        else:
            PAUSES.observe(time.perf_counter() - self.began, str(told["generation"]))


def watch_pauses() -> None:
    """Measure the collector's pauses from now on."""
    if not any(isinstance(known, _Pauses) for known in gc.callbacks):
        gc.callbacks.append(_Pauses())
