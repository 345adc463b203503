"""Served predictions against what happened: are they calibrated, and do they tell customers apart?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pipelines.predictions.firsts import Logged, customer_numbers, firsts, logged_of, model_of
from pipelines.predictions.happened import Happened, what_happened
from pipelines.predictions.query import iso
from pipelines.scoring.bootstrap import Interval, resample, resample_sums, resamples_for
from pipelines.scoring.metrics import Array, bin_matrix, equal_mass_bins
from pipelines.settings import Settings


@dataclass(frozen=True, slots=True)
class Decile:
    """Predictions of about equal probability, and how often it came true."""

    rows: int
    mean_probability: float
    rate: Interval


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the matured predictions are; 95 % intervals over resamples of customers. Log-loss in nats."""

    base_rate: Interval
    mean_probability: Interval
    log_loss: Interval
    brier: Interval
    auc: Interval
    deciles: tuple[Decile, ...]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """`logged` predictions of a model; `rows` are the first of each customer and UTC day, `matured` those with a label.

    The others are `waiting` for the end of their horizon, or `left_out`, counted by reason. `versions` count rows.
    `quality` is None where nothing matured: the first label is known once events reach `first_known`.
    """

    model: str
    logged: int
    rows: int
    matured: int
    waiting: int
    left_out: dict[str, int]
    versions: dict[str, int]
    known_until: str
    first_known: str | None
    quality: Quality | None

    def text(self) -> str:
        """The result for a person."""
        versions = ", ".join(f"version {version}: {count:,}" for version, count in self.versions.items())
        lines = [
            f"{self.model}: {self.logged:,} logged predictions, {self.rows:,} of them the first of a customer and day"
            f" ({versions})",
            f"  {self.matured:,} matured, {self.waiting:,} wait for the end of their horizon; outcomes are known until"
            f" {self.known_until}",
            *(f"  left out: {count:,} {why}" for why, count in self.left_out.items()),
        ]
        if self.quality is not None:
            return "\n".join([*lines, *_quality_lines(self.quality)])
        if self.waiting and self.first_known is not None:
            return "\n".join([*lines, f"Nothing has matured yet: the first will when events reach {self.first_known}."])
        return "\n".join([*lines, "Nothing can be compared."])


def outcomes_of(settings: Settings, model: str) -> Outcomes:
    """The first prediction of each customer and UTC day, joined with the model's label at its as-of instant.

    Raises:
        UserError: there is no such model, nothing was logged, or no event that the label knows.
    """
    config = model_of(settings, model)
    logged = logged_of(settings, model)
    rows = firsts(logged)
    happened = what_happened(settings, config.label, [(one.customer_id, one.as_of) for one in rows])
    return Outcomes(
        model=model,
        logged=len(logged),
        rows=len(rows),
        matured=len(happened.labels),
        waiting=happened.waiting,
        left_out=happened.left_out,
        versions=dict(sorted(Counter(one.version for one in rows).items())),
        known_until=iso(happened.known_until),
        first_known=None if happened.first_known is None else iso(happened.first_known),
        quality=_quality(rows, happened) if happened.labels else None,
    )


def _quality(rows: list[Logged], happened: Happened) -> Quality:
    known = [(rows[at], label) for at, label in happened.labels.items()]
    labels = np.array([label for _, label in known], dtype=np.float64)
    probabilities = np.array([one.probability for one, _ in known])
    customers = customer_numbers(one for one, _ in known)
    resamples = resamples_for(len(known))
    drawn = resample(labels, {"served": probabilities}, customers, resamples)["served"]
    members = bin_matrix(equal_mass_bins(probabilities))
    sums = resample_sums(_columns(labels, probabilities, members), customers, resamples)
    bins = members.shape[1]
    deciles = tuple(
        Decile(
            int(members[:, at].sum()),
            float(probabilities @ members[:, at] / members[:, at].sum()),
            sums.ratio(3 + bins + at, 3 + at),
        )
        for at in range(bins)
    )
    return Quality(
        base_rate=sums.ratio(1, 0),
        mean_probability=sums.ratio(2, 0),
        log_loss=drawn.interval("log_loss"),
        brier=drawn.interval("brier"),
        auc=drawn.interval("auc"),
        deciles=deciles,
    )


def _columns(labels: Array, probabilities: Array, members: Array) -> Array:
    """Rows, positives, probabilities; then rows a bin, and positives a bin."""
    return np.column_stack([np.ones(len(labels)), labels, probabilities, members, members * labels[:, None]])


def _quality_lines(quality: Quality) -> list[str]:
    return [
        f"  happened {told(quality.base_rate)}, predicted {told(quality.mean_probability)}",
        f"  log-loss {told(quality.log_loss)}, Brier {told(quality.brier)}, AUC {told(quality.auc)}",
        "  predicted  happened                    rows",
        *(f"  {one.mean_probability:9.4f}  {told(one.rate):<26}  {one.rows:,}" for one in quality.deciles),
    ]


def told(interval: Interval) -> str:
    """An estimate with its interval, for a person."""
    if interval.estimate is None:
        return "undefined"
    return f"{interval.estimate:.4f} ({interval.low:.4f} to {interval.high:.4f})"
