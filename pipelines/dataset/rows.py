"""From a plan of snapshots to rows with labels: customer_id, as_of, snapshot, label, part."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.dataset.assignments import read_assignments
from pipelines.dataset.labels import FOR_EVER, LabelledRows, labelled
from pipelines.dataset.population import LeftOut, Openings, When
from pipelines.dataset.snapshots import LogRange, SnapshotPlan, day, plan_assignments, plan_snapshots
from pipelines.dataset.spans import Spans
from pipelines.settings.labels import microseconds
from pipelines.settings.models import ActionModelConfig, LearningConfig

TRAIN, DROPPED, TEST = PARTS = ("train", "dropped", "test")
# The share of customers that are the test where they are divided.
TEST_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Populated:
    """Rows of snapshots with enough customers, and the starts of those with too few."""

    rows: pd.DataFrame
    sparse: tuple[int, ...]


def plan_of(
    connection: duckdb.DuckDBPyConnection, config: LearningConfig, log: LogRange, barred: Collection[str]
) -> SnapshotPlan:
    """The snapshots of a model; those of actions follow the assignments of customers who are not `barred`.

    Raises:
        UserError: the log is too short, or has too few assignments.
    """
    if not isinstance(config, ActionModelConfig):
        return plan_snapshots(config, log)
    read_assignments(connection, config.label)
    sql = "SELECT customer_id, as_of FROM assignments WHERE mistake IS NULL"
    assigned = connection.execute(sql).df().astype({"as_of": "int64"})
    return plan_assignments(config, log, assigned[~assigned["customer_id"].isin(barred)])


def is_test_customer(customer_id: str) -> bool:
    """Whether a customer is of the test where customers are divided: the same in every run and on every machine."""
    digest = hashlib.blake2b(customer_id.encode(), digest_size=8, person=b"test").digest()
    return int.from_bytes(digest, "big") < TEST_SHARE * 2**64


def rows_of(
    connection: duckdb.DuckDBPyConnection, config: LearningConfig, plan: SnapshotPlan, part: str
) -> LabelledRows:
    """The rows of one part from the view `customer_events`: `train`, `test`, or `dropped`, which lies between them.

    Returns:
        columns customer_id, as_of, snapshot (int64 microseconds UTC), label (int64) and part, ordered by
        instant and customer, and those of actions. Labels of `train` are those that were known where the test begins.
    """
    known_by = plan.test[0] if part == TRAIN and not plan.by_customer else FOR_EVER
    made = labelled(connection, config.label, _when(config, plan, part), known_by)
    rows = made.rows
    rows.insert(2, "snapshot", _snapshot(config, plan, rows["as_of"].to_numpy(dtype=np.int64)))
    if plan.by_customer and part != DROPPED:
        is_test = rows["customer_id"].map(is_test_customer).astype(bool)
        rows = rows[is_test if part == TEST else ~is_test].reset_index(drop=True)
        # Both parts are taken from the same rows: what is none of them is told once.
        made = LabelledRows(rows, made.left_out if part == TRAIN else LeftOut(0, 0))
    return LabelledRows(rows.assign(part=part), made.left_out)


def populated(rows: pd.DataFrame, plan: SnapshotPlan, config: LearningConfig) -> Populated:
    """Leave out train snapshots with too few customers, and what is of no snapshot.

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
    kept = [key in found and key not in sparse for key in zip(rows["part"], rows["snapshot"], strict=True)]
    return Populated(rows[kept].reset_index(drop=True), tuple(sorted({*plan.sparse, *(at for _, at in sparse)})))


def _planned(plan: SnapshotPlan) -> list[tuple[str, tuple[int, ...]]]:
    return [(TRAIN, plan.train), (TEST, plan.test)]


def _when(config: LearningConfig, plan: SnapshotPlan, part: str) -> When:
    if config.snapshots.at == "calendar":
        return {TRAIN: plan.train, DROPPED: plan.dropped, TEST: plan.test}[part]
    spans = Spans(plan.end, microseconds(config.snapshots.every))
    if plan.by_customer:
        return Openings(plan.end if part == DROPPED else plan.begin, plan.end, spans)
    return {
        TRAIN: Openings(plan.begin, plan.learns_until + 1, spans),
        DROPPED: Openings(plan.learns_until + 1, plan.test[0], spans),
        TEST: Openings(plan.test[0], plan.end, spans),
    }[part]


def _snapshot(config: LearningConfig, plan: SnapshotPlan, as_of: np.ndarray) -> np.ndarray:
    """The snapshot of each row, shape (rows,): the instant itself, or the start of its span."""
    if config.snapshots.at == "calendar":
        return as_of
    return Spans(plan.end, microseconds(config.snapshots.every)).start_of(as_of)
