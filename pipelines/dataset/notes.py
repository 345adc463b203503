"""What is not in a dataset, and why: for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipelines.dataset.labels import LabelledRows
from pipelines.dataset.rows import DROPPED, TEST, TEST_SHARE, TRAIN, Populated
from pipelines.dataset.snapshots import SnapshotPlan, day
from pipelines.settings import Settings
from pipelines.settings.models import ActionModelConfig, LearningConfig


def notes_of(
    settings: Settings,
    config: LearningConfig,
    plan: SnapshotPlan,
    parts: Mapping[str, LabelledRows],
    barred: int,
    found: Populated,
) -> list[str]:
    """What is not in the dataset, and why; and what its split and its actions cannot show."""
    notes = []
    reason = f"their labels reach past the first test instant {day(plan.test[0])}"
    between = parts[DROPPED].rows
    if config.snapshots.at == "opening" and len(between):
        first, last = day(between["as_of"].iloc[0]), day(between["as_of"].iloc[-1])
        notes.append(f"{len(between):,} rows from {first} to {last} are left out: {reason}")
    elif config.snapshots.at == "calendar" and plan.dropped:
        first, last = day(plan.dropped[0]), day(plan.dropped[-1])
        between_them = f"{len(plan.dropped)} snapshots from {first} to {last} are" if first != last else f"{first} is"
        notes.append(f"{between_them} left out: {reason}")
    if found.sparse:
        least = config.snapshots.at_least_customers
        left = ", ".join(day(at) for at in found.sparse)
        notes.append(f"snapshots with fewer than {least} customers are left out: {left}")
    excluded = parts[TRAIN].left_out.excluded + parts[TEST].left_out.excluded
    if excluded and config.label.exclude:
        events = " or ".join(config.label.exclude.events)
        notes.append(f"{excluded:,} rows are left out by label.exclude: {events}")
    notes += _of_actions(config, parts, plan)
    if barred:
        purpose = settings.consent.uses.training
        notes.append(f"{barred:,} customers are left out: neither they nor all sources of their events allow {purpose}")
    return notes


def mistaken_assignments(parts: Mapping[str, LabelledRows]) -> Iterator[str]:
    """`12 assignments without a propensity`, of all parts together."""
    counts: dict[str, int] = {}
    for made in parts.values():
        for reason, count in made.left_out.assignments.items():
            counts[reason] = counts.get(reason, 0) + count
    yield from (f"{count:,} assignments {reason}" for reason, count in sorted(counts.items()))


def _of_actions(config: LearningConfig, parts: Mapping[str, LabelledRows], plan: SnapshotPlan) -> Iterator[str]:
    if not isinstance(config, ActionModelConfig):
        return
    yield from (f"left out are {told}" for told in mistaken_assignments(parts))
    if plan.by_customer:
        yield (
            f"train and test are the same days of other customers ({TEST_SHARE:.0%} of them are the test), since no "
            f"outcome is known before the newest assignments: how the effects last over time is not tested"
        )
    if not config.label.randomised:
        yield (
            "actions were not all drawn with known chances: what is learned of them is associational, until somebody "
            "draws"
        )
