"""What a label of actions gives on the lake, before any dataset is made: who got what, when, and by which chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

import duckdb
import numpy as np
import pandas as pd

from feature_repo.event_table import register_customer_events
from pipelines import label_words
from pipelines.dataset.action_counts import ActionCount, count_actions
from pipelines.dataset.build import lake_version
from pipelines.dataset.consent import barred_from_training
from pipelines.dataset.labels import LabelledRows, log_range
from pipelines.dataset.notes import mistaken_assignments
from pipelines.dataset.rows import DROPPED, PARTS, TEST, TRAIN, plan_of, rows_of
from pipelines.dataset.snapshots import SnapshotPlan, day
from pipelines.identity.current import current_membership
from pipelines.settings import Settings
from pipelines.settings.models import ActionModelConfig

# Standard errors between what the logged chances say and what was drawn, beyond which the chances are not believed.
OFF_BY = 4.0


@dataclass(frozen=True, slots=True)
class ActionOverview:
    """The rule in words, and rows by span, part and action; spans between train and test are `dropped`."""

    model: str
    kind: str
    description: str
    randomised: bool
    rule: tuple[str, ...]
    actions: tuple[ActionCount, ...]
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]
    lake_version: int

    def text(self) -> str:
        """The overview for a person."""
        lines = [f"Labels of {self.model} ({self.kind}): {self.description}", *(f"  {line}" for line in self.rule)]
        for (begins, part), counts in groupby(self.actions, lambda one: (one.day, one.part)):
            lines += ["", f"  {begins}  {part}", *(f"    {one.text()}" for one in counts)]
        lines += ["", *(f"  Left out: {reason}" for reason in self.left_out)]
        return "\n".join([*lines, *(f"  Warning: {warning}" for warning in self.warnings)])


def action_overview(settings: Settings, config: ActionModelConfig) -> ActionOverview:
    """Count the assignments of a model of actions over the newest version of the lake.

    Raises:
        UserError: no events, or too few assignments whose outcomes are known.
    """
    version = lake_version(settings.workspace.lake)
    with duckdb.connect() as connection:
        membership = current_membership(settings)
        register_customer_events(connection, settings.workspace.lake, version, membership=membership)
        barred = set(barred_from_training(connection, settings))
        plan = plan_of(connection, config, log_range(connection, config.label), barred)
        parts = {part: rows_of(connection, config, plan, part) for part in PARTS}
        unused = _unused(connection, plan)
    rows = pd.concat([made.rows for made in parts.values() if len(made.rows)], ignore_index=True)
    kept = rows[~rows["customer_id"].isin(barred) & ~rows["snapshot"].isin(plan.sparse)]
    barred_here = rows.loc[rows["customer_id"].isin(barred), "customer_id"].nunique()
    left_out = (*_left_out(settings, config, plan, parts, barred_here), *unused)
    return ActionOverview(
        config.name,
        config.label.kind,
        config.description,
        config.label.randomised,
        _rule(config),
        tuple(count_actions(kept, ["snapshot", "part"])),
        left_out,
        tuple(_warnings(kept, plan, config)),
        version,
    )


def off_by(rows: pd.DataFrame, action: str) -> float:
    """Standard errors by which the weights 1 / propensity of an action miss the number of rows it was eligible in.

    Each row that it was eligible in gives 1 / p with chance p and else 0: a mean of 1, a variance of 1 / p - 1, which
    is estimated by (1 - p) / p^2 over the rows that got it. 0 where its chance is 1.
    """
    eligible = [names is None or action in names for names in rows["eligible"]]
    chances = rows.loc[(rows["action"] == action).to_numpy() & np.array(eligible), "propensity"].to_numpy()
    variance = float(((1 - chances) / chances**2).sum())
    return float((1 / chances).sum() - sum(eligible)) / np.sqrt(variance) if variance > 0 else 0.0


def _rule(config: ActionModelConfig) -> tuple[str, ...]:
    label = config.label
    lines = (
        f"Who: {label_words.population(label)} Each {label_words.duration(config.snapshots.every)} are one span.",
        f"Outcome: {label_words.outcome(label)}",
        f"Drawn: {label_words.drawn(label)}",
        f"Known: {label_words.waits(label)} after the as-of instant; newer ones are not used.",
        label_words.excluded(label),
    )
    return tuple(line for line in lines if line)


def _unused(connection: duckdb.DuckDBPyConnection, plan: SnapshotPlan) -> Iterator[str]:
    """Assignments outside of the spans that are used."""
    sql = """SELECT count(*) FILTER (WHERE as_of < $begin), count(*) FILTER (WHERE as_of >= $end)
             FROM assignments WHERE mistake IS NULL"""
    early, late = connection.execute(sql, {"begin": plan.begin, "end": plan.end}).fetchall()[0]
    reasons = [
        (early, f"assignments before {day(plan.begin)}, where the outcomes or the spans begin"),
        (late, f"assignments from {day(plan.end)} on, whose outcomes are not known yet or whose day is not over"),
    ]
    return iter([f"{count:,} {reason}" for count, reason in reasons if count])


def _left_out(
    settings: Settings,
    config: ActionModelConfig,
    plan: SnapshotPlan,
    parts: Mapping[str, LabelledRows],
    barred: int,
) -> Iterator[str]:
    if len(parts[DROPPED].rows):
        yield f"{len(parts[DROPPED].rows):,} rows whose outcomes reach past the first test instant"
    if plan.sparse:
        least = config.snapshots.at_least_customers
        yield f"spans with fewer than {least} customers: {', '.join(day(at) for at in plan.sparse)}"
    yield from mistaken_assignments(parts)
    excluded = sum(made.left_out.excluded for made in parts.values())
    if excluded and config.label.exclude:
        yield f"{excluded:,} times a customer with {' or '.join(config.label.exclude.events)} before"
    if barred:
        purpose = settings.consent.uses.training
        yield f"{barred:,} customers, as neither they nor all sources of their events allow {purpose}"


def _warnings(rows: pd.DataFrame, plan: SnapshotPlan, config: ActionModelConfig) -> Iterator[str]:
    if plan.by_customer:
        yield "train and test are the same days of other customers: no outcome is known before the newest assignments"
    actions = sorted(rows["action"].unique())
    if config.label.control not in actions:
        yield f"nobody got {config.label.control}: there is nothing to compare an action with"
    for part in (TRAIN, TEST):
        own = rows[rows["part"] == part]
        missing = [action for action in actions if action not in set(own["action"])]
        if missing:
            yield f"no row of {part} got {', '.join(missing)}"
        if part == TEST and len(own) < config.gates.minimum_test_rows:
            yield f"{len(own):,} test rows, where gates.minimum_test_rows asks for {config.gates.minimum_test_rows:,}"
    yield from _implausible(rows[rows["propensity"].notna()])


def _implausible(drawn: pd.DataFrame) -> Iterator[str]:
    """Actions that were not drawn with the chances that are logged, by span."""
    # Where it is not said who could get what, the actions of such rows are those that all of them could get.
    for _, own in drawn.groupby([drawn["snapshot"], drawn["eligible"].isna()]):
        begins = day(int(own["snapshot"].iloc[0]))
        for action in sorted(own["action"].unique()):
            errors = off_by(own, action)
            if abs(errors) > OFF_BY:
                more = "more" if errors > 0 else "less"
                yield (
                    f"{action} was assigned {more} often in the span of {begins} than its propensities say, by "
                    f"{abs(errors):.1f} standard errors: they are wrong, or some who could get it had no chance to"
                )
