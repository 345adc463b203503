"""What a label rule gives on the lake, before any dataset is made: counts a snapshot, who is left out, and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd

from feature_repo.event_table import register_customer_events
from feature_repo.windows import DAY
from pipelines import label_words
from pipelines.dataset.build import lake_version
from pipelines.dataset.consent import barred_from_training
from pipelines.dataset.labels import LabelledRows, is_positive, log_range
from pipelines.dataset.rows import PARTS, TEST, TRAIN, rows_of
from pipelines.dataset.snapshots import SnapshotPlan, day, plan_snapshots
from pipelines.identity.current import current_membership
from pipelines.settings import Settings
from pipelines.settings.labels import ConversionLabel, microseconds
from pipelines.settings.models import CompanionConfig, ModelConfig

DRIFT = 1.5
FEW_POSITIVES = 50
SPARSE = "sparse"
_BAR = 30

# Why an opening makes no row, where rows are right after openings.
_OPENINGS = """
SELECT count(*) FILTER (WHERE opportunity IS NULL),
       count(*) FILTER (WHERE known < $begin),
       count(*) FILTER (WHERE known >= $end),
       count(*) FILTER (WHERE known >= $begin AND known < $end AND event_time < known - $look_back)
FROM (FROM label_events SELECT *, greatest(event_time, available_at) + 1 AS known WHERE list_contains($events, event))
"""


@dataclass(frozen=True, slots=True)
class SnapshotCount:
    """One snapshot: its UTC day, rows, customers, and how many labels are positive.

    `mean` is that of an amount in minor units, `median_days` that of the time to the events that came.
    """

    day: str
    part: str
    rows: int
    customers: int
    positives: int
    rate: float
    mean: float | None = None
    median_days: float | None = None


@dataclass(frozen=True, slots=True)
class LabelOverview:
    """The rule in words, and what it gives.

    Snapshots between train and test are `dropped`, and counted in hindsight; those with too few customers to train on
    are `sparse`.
    """

    model: str
    kind: str
    description: str
    rule: tuple[str, ...]
    snapshots: tuple[SnapshotCount, ...]
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]
    lake_version: int

    def text(self) -> str:
        """The overview for a person."""
        most = max((s.rate for s in self.snapshots), default=0.0)
        return "\n".join(
            [
                f"Labels of {self.model} ({self.kind}): {self.description}",
                *(f"  {line}" for line in self.rule),
                "",
                *(self._line(snapshot, most) for snapshot in self.snapshots),
                "",
                *(f"  Left out: {reason}" for reason in self.left_out),
                *(f"  Warning: {warning}" for warning in self.warnings),
            ]
        )

    def _line(self, one: SnapshotCount, most: float) -> str:
        what = {"churn": "churned", "conversion": "converted", "value": "above 0", "next_event": "with an event"}
        rows = f" {one.rows:>8,} rows" if any(s.rows != s.customers for s in self.snapshots) else ""
        told = f"  {one.day}  {one.part:<7} {one.customers:>8,} customers{rows} {one.positives:>8,} {what[self.kind]}"
        if one.mean is not None:
            told += f", mean {one.mean:>12,.0f}"
        if one.median_days is not None:
            told += f", median {one.median_days:>5.1f} days"
        bar = "█" * round(_BAR * one.rate / most) if most else ""
        return f"{told}  {one.rate:>6.1%} {bar}".rstrip()


def label_overview(settings: Settings, config: ModelConfig | CompanionConfig) -> LabelOverview:
    """Count the labels of a model over the newest version of the lake.

    Raises:
        UserError: no events, or a history that is too short.
    """
    version = lake_version(settings.workspace.lake)
    with duckdb.connect() as connection:
        membership = current_membership(settings)
        register_customer_events(connection, settings.workspace.lake, version, membership=membership)
        plan = plan_snapshots(config, log_range(connection, config.label))
        parts = {part: rows_of(connection, config, plan, part) for part in PARTS}
        unopened = _openings(connection, config, plan)
        barred = set(barred_from_training(connection, settings))
    rows = pd.concat([made.rows for made in parts.values()], ignore_index=True)
    kept = rows[~rows["customer_id"].isin(barred)]
    snapshots = tuple(_counts(kept, config))
    barred_here = rows.loc[rows["customer_id"].isin(barred), "customer_id"].nunique()
    sparse = [snapshot.day for snapshot in snapshots if snapshot.part == SPARSE]
    left_out = (*_left_out(parts, config, sparse, barred_here, settings.consent.uses.training), *unopened)
    warnings = tuple(_warnings(snapshots, plan, config))
    rule = _rule(config)
    return LabelOverview(
        config.name, config.label.kind, config.description, rule, snapshots, left_out, warnings, version
    )


def _rule(config: ModelConfig | CompanionConfig) -> tuple[str, ...]:
    label = config.label
    each = (
        f"Each {label_words.duration(config.snapshots.every)} of such instants are one snapshot."
        if config.snapshots.at == "opening"
        else f"Snapshots are {label_words.duration(config.snapshots.every)} apart."
    )
    lines = (
        f"Who: {label_words.population(label, config.snapshots.at)} {each}",
        f"Outcome: {label_words.outcome(label)}",
        f"Known: {label_words.waits(label)} after the as-of instant; newer ones are not used.",
        label_words.excluded(label),
    )
    return tuple(line for line in lines if line)


def _counts(rows: pd.DataFrame, config: ModelConfig | CompanionConfig) -> Iterator[SnapshotCount]:
    label, least = config.label, config.snapshots.at_least_customers
    for _, own in rows.groupby(["snapshot", "part"]):
        labels, positive = own["label"], is_positive(own["label"], label)
        came, part, customers = labels[positive], str(own["part"].iloc[0]), int(own["customer_id"].nunique())
        yield SnapshotCount(
            day(int(own["snapshot"].iloc[0])),
            SPARSE if part == TRAIN and customers < least else part,
            len(own),
            customers,
            int(positive.sum()),
            float(positive.mean()),
            float(labels.mean()) if label.kind == "value" else None,
            float(came.median()) / DAY if label.kind == "next_event" and len(came) else None,
        )


def _left_out(
    parts: dict[str, LabelledRows],
    config: ModelConfig | CompanionConfig,
    sparse: Sequence[str],
    barred: int,
    purpose: str,
) -> Iterator[str]:
    closed = sum(made.left_out.closed for made in parts.values())
    excluded = sum(made.left_out.excluded for made in parts.values())
    dropped = len(parts["dropped"].rows)
    if dropped:
        yield f"{dropped:,} rows whose labels reach past the first test instant"
    if sparse:
        least = config.snapshots.at_least_customers
        yield f"snapshots to train on with fewer than {least} customers: {', '.join(sparse)}"
    if closed:
        yield f"{closed:,} times a customer whose opportunities had all been closed, or had reached their goal"
    if excluded and config.label.exclude:
        yield f"{excluded:,} times a customer with {' or '.join(config.label.exclude.events)} before"
    if barred:
        yield f"{barred:,} customers, as neither they nor all sources of their events allow {purpose}"


def _openings(
    connection: duckdb.DuckDBPyConnection, config: ModelConfig | CompanionConfig, plan: SnapshotPlan
) -> Iterator[str]:
    label = config.label
    if not isinstance(label, ConversionLabel):
        return iter(())
    values = {
        "begin": plan.begin,
        "end": plan.end,
        "look_back": microseconds(label.open_for),
        "events": list(label.opened_by),
    }
    without, early, late, stale = connection.execute(_OPENINGS, values).fetchall()[0]
    reasons = [(without, f"openings without {label.match}")]
    if config.snapshots.at == "opening":
        reasons += [
            (early, f"openings before {day(plan.begin)}, where the outcomes or the snapshots begin"),
            (late, f"openings from {day(plan.end)} on, whose labels are not known yet or whose day is not over"),
            (stale, f"openings that were known only when they were older than {label.open_for}"),
        ]
    return iter([f"{count:,} {reason}" for count, reason in reasons if count])


def _warnings(
    snapshots: tuple[SnapshotCount, ...], plan: SnapshotPlan, config: ModelConfig | CompanionConfig
) -> Iterator[str]:
    least = config.snapshots.at_least_customers
    used = [s for s in snapshots if s.part in (TRAIN, TEST)]
    few = [s.day for s in used if s.part == TEST and s.customers < least]
    if few:
        yield f"a test snapshot with fewer than {least} customers (snapshots.at_least_customers): {', '.join(few)}"
    for part, planned in ((TRAIN, plan.train), (TEST, plan.test)):
        own = [s for s in used if s.part == part]
        rows, positives = sum(s.rows for s in own), sum(s.positives for s in own)
        if not rows:
            yield f"too few customers in all {len(planned)} snapshots of {part}: no dataset can be made"
        elif config.label.kind in ("churn", "conversion") and positives in (0, rows):
            yield f"all {rows:,} labels of {part} are {int(positives > 0)}: there is nothing to tell apart"
        elif min(positives, rows - positives) < FEW_POSITIVES and config.label.kind != "value":
            yield f"only {min(positives, rows - positives):,} of {rows:,} labels of {part} are of the rarer kind"
        if part == TEST and 0 < rows < config.gates.minimum_test_rows:
            yield f"{rows:,} test rows, where gates.minimum_test_rows asks for {config.gates.minimum_test_rows:,}"
    yield from _drift([s for s in used if s.customers >= least])


def _drift(snapshots: list[SnapshotCount]) -> Iterator[str]:
    """Rates that differ by more than a factor, and by more than chance: three standard errors of their difference."""
    if len(snapshots) < 2:
        return
    low, high = min(snapshots, key=lambda s: s.rate), max(snapshots, key=lambda s: s.rate)
    error = np.sqrt(sum(s.rate * (1 - s.rate) / s.rows for s in (low, high)))
    if high.rate > DRIFT * low.rate and high.rate - low.rate > 3 * error:
        yield f"the rate drifts by more than {DRIFT}: {low.rate:.1%} ({low.day}) to {high.rate:.1%} ({high.day})"
