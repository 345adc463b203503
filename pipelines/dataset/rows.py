"""From a plan of snapshots to rows with labels: customer_id, as_of, snapshot, label, part."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.dataset.labels import FOR_EVER, LabelledRows, labelled
from pipelines.dataset.population import Openings, When
from pipelines.dataset.snapshots import SnapshotPlan, day
from pipelines.settings.labels import microseconds
from pipelines.settings.models import LearningConfig

TRAIN, DROPPED, TEST = PARTS = ("train", "dropped", "test")


@dataclass(frozen=True, slots=True)
class Populated:
    """Rows of snapshots with enough customers, and the starts of those with too few."""

    rows: pd.DataFrame
    sparse: tuple[int, ...]


def rows_of(
    connection: duckdb.DuckDBPyConnection, config: LearningConfig, plan: SnapshotPlan, part: str
) -> LabelledRows:
    """The rows of one part from the view `customer_events`: `train`, `test`, or `dropped`, which lies between them.

    Returns:
        columns customer_id, as_of, snapshot (int64 microseconds UTC), label (int64) and part, ordered by
        instant and customer. Labels of `train` are those that were known where the test begins.
    """
    known_by = plan.test[0] if part == TRAIN else FOR_EVER
    made = labelled(connection, config.label, _when(config, plan, part), known_by)
    rows = made.rows
    rows.insert(2, "snapshot", _snapshot(config, plan, rows["as_of"].to_numpy(dtype=np.int64)))
    return LabelledRows(rows.assign(part=part), made.left_out)


def populated(rows: pd.DataFrame, plan: SnapshotPlan, config: LearningConfig) -> Populated:
    """Leave out train snapshots with too few customers.

    Raises:
        UserError: a test snapshot has too few, or every train snapshot.
    """
    least = config.snapshots.at_least_customers
    counts = rows.groupby(["part", "snapshot"])["customer_id"].nunique()
    found = {(p, at): int(counts.get((p, at), 0)) for p, all_of in _planned(plan) for at in all_of}
    sparse = {key: count for key, count in found.items() if count < least}
    if all((TRAIN, at) in sparse for at in plan.train) or any((TEST, at) in sparse for at in plan.test):
        got = ", ".join(f"{day(at)}: {count}" for (_, at), count in sorted(sparse.items(), key=lambda item: item[0][1]))
        window = {"conversion": "open_for"}.get(config.label.kind, "activity_window")
        way = "snapshots.every" if config.snapshots.at == "opening" else f"label.{window}"
        problem = Problem(
            "snapshots.at_least_customers",
            f"{least} customers a snapshot",
            got,
            f"lower it, lengthen {way}, or ingest more customers",
            f"configs/models/{config.name}.yaml",
        )
        raise UserError(f"Too few customers to learn {config.name} from.", [problem])
    kept = [key not in sparse for key in zip(rows["part"], rows["snapshot"], strict=True)]
    return Populated(rows[kept].reset_index(drop=True), tuple(at for _, at in sparse))


def _planned(plan: SnapshotPlan) -> list[tuple[str, tuple[int, ...]]]:
    return [(TRAIN, plan.train), (TEST, plan.test)]


def _when(config: LearningConfig, plan: SnapshotPlan, part: str) -> When:
    if config.snapshots.at == "calendar":
        return {TRAIN: plan.train, DROPPED: plan.dropped, TEST: plan.test}[part]
    return {
        TRAIN: Openings(plan.begin, plan.learns_until + 1),
        DROPPED: Openings(plan.learns_until + 1, plan.test[0]),
        TEST: Openings(plan.test[0], plan.end),
    }[part]


def _snapshot(config: LearningConfig, plan: SnapshotPlan, as_of: np.ndarray) -> np.ndarray:
    """The snapshot of each row, shape (rows,): the instant itself, or the start of its span."""
    if config.snapshots.at == "calendar":
        return as_of
    every = microseconds(config.snapshots.every)
    return plan.end + (as_of - plan.end) // every * every
