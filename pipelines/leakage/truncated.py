"""Rows made again from a log that was cut at their instant: whatever differs knew something of the future.

A row is the customer's, so the log is cut customer by customer: a copy of the lake holds the events of some
customers, each cut at the instant of one row of theirs. A customer with several rows in the sample is in several
copies, one after the other. Features are made from events that happened before the instant and had arrived by it.
Labels are made from events before the end of their window; those to train on only from what had arrived when the
test begins. All times: int64 microseconds UTC.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError

from feature_repo.event_table import register_customer_events
from feature_repo.membership import Membership, load
from pipelines.artefacts import ID_COLUMNS, Dataset
from pipelines.console import UserError, progress
from pipelines.leakage.results import Alarm
from pipelines.settings import Settings

_CUT_LOG = "cut_log-"

MOST_COPIES = 12
SEED = 20111209
_EVER = 2**62

_CUT = """
SELECT e.* FROM event_table e
JOIN (SELECT position, customer_id FROM customer_events) owned USING (position)
JOIN limits l USING (customer_id)
WHERE epoch_us(e.event_time) < l.before AND epoch_us(e.available_at) <= l.arrived_by
"""


@dataclass(frozen=True, slots=True)
class CutLog:
    """A lake that holds part of the events, and whose every event is."""

    lake: Path
    membership: Membership


class MadeAgain(Protocol):
    """How the dataset was made, over another log. `points` has customer_id, and as_of in microseconds UTC."""

    def features(self, log: CutLog, points: pd.DataFrame) -> pd.DataFrame:
        """All features of the dataset at each of `points`, in their order, one float64 column each."""

    def labels(self, log: CutLog, points: pd.DataFrame) -> pd.DataFrame:
        """customer_id, as_of and label of the population at the instants of `points`, in any order."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many values were compared, and how many differ, by column (`label`, `population`, or a feature)."""

    rows: int
    values: int
    differences: dict[str, int]


def truncated_log(settings: Settings, dataset: Dataset, again: MadeAgain, window: int, rows: int) -> Alarm:
    """Make `rows` rows again, and compare features and labels to the last bit.

    `window` is from a row's instant to the end of its label.

    Raises:
        UserError: the version of the lake or of the identity map that the dataset was made from is gone.
    """
    sample = sample_rows(dataset.rows, rows)
    found = _compare(settings, dataset, again, window, sample)
    differing = sum(found.differences.values())
    covered = f"{found.rows:,} of {len(dataset.rows):,} rows at {sample['as_of'].nunique():,} instants"
    detail = (
        f"{covered}: of {found.values:,} features and labels made again from the log cut there, {differing:,} differ"
    )
    if differing:
        worst = sorted(found.differences.items(), key=lambda item: -item[1])
        detail += f" ({', '.join(f'{name} {count:,}' for name, count in worst[:8] if count)})"
    return Alarm(
        "truncated_log", differing > 0, differing, 0.0,
        "values that differ when made from what was known at the time", detail,
        {"rows": found.rows, "values": found.values, "instants": int(sample["as_of"].nunique())},
    )  # fmt: skip


def sample_rows(rows: pd.DataFrame, wanted: int) -> pd.DataFrame:
    """At random and spread over snapshots, with as_of in microseconds and `copy` from 0.

    One row of every customer comes before a second one of any, so that there are few copies. What would need more
    than 12 is left out.
    """
    shuffled = rows.sample(frac=1.0, random_state=SEED)
    shuffled = shuffled.assign(copy=shuffled.groupby("customer_id").cumcount())
    # Of a copy, the first row of every snapshot, then the second of every one, until there are enough.
    turn = shuffled.groupby(["copy", "snapshot"]).cumcount()
    sample = shuffled.assign(turn=turn).sort_values(["copy", "turn"], kind="stable").drop(columns="turn").head(wanted)
    sample = sample.assign(as_of=sample["as_of"].astype("int64"))
    return sample[sample["copy"] < MOST_COPIES].reset_index(drop=True)


def _compare(settings: Settings, dataset: Dataset, again: MadeAgain, window: int, sample: pd.DataFrame) -> Comparison:
    names = [name for name in dataset.rows.columns if name not in ID_COLUMNS]
    is_test = (dataset.rows["part"] == "test").to_numpy()
    test_begins = int(dataset.rows.loc[is_test, "snapshot"].astype("int64").min())
    differences = dict.fromkeys(["label", "population", *names], 0)
    values = 0
    with progress(f"Make {len(sample):,} rows again from a log that is cut", len(sample)) as advance:
        for _, rows in sample.groupby("copy"):
            points = rows[["customer_id", "as_of"]].reset_index(drop=True)
            at = points["as_of"]
            with _cut(settings, dataset, points.assign(before=at, arrived_by=at)) as log:
                remade = again.features(log, points)
                known = again.labels(log, points)
            for name in names:
                differences[name] += _differing(remade[name].to_numpy(), rows[name].to_numpy(dtype=np.float64))
            arrived_by = np.where(rows["part"] == "test", _EVER, test_begins)
            with _cut(settings, dataset, points.assign(before=at + window, arrived_by=arrived_by)) as log:
                outcomes = again.labels(log, points)
            differences["population"] += int(_labels(known, points).isna().sum())
            differences["label"] += int((_labels(outcomes, points).to_numpy() != rows["label"].to_numpy()).sum())
            values += rows[names].size + len(rows)
            advance(len(rows))
    return Comparison(len(sample), values, differences)


def _labels(found: pd.DataFrame, points: pd.DataFrame) -> pd.Series:
    """The label of each of `points`, NaN where the customer is not in the population."""
    keys = ["customer_id", "as_of"]
    return points.merge(found[[*keys, "label"]], on=keys, how="left")["label"]


def _differing(first: np.ndarray, second: np.ndarray) -> int:
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    return int(np.count_nonzero(~same))


@contextmanager
def _cut(settings: Settings, dataset: Dataset, limits: pd.DataFrame) -> Iterator[CutLog]:
    """The events of customers, each `before` an instant, and `arrived_by` one; removed afterwards.

    It stands with the artefacts of the model: a process that is killed leaves no events where nobody looks.
    """
    place = settings.workspace.artefacts(dataset.manifest.model)
    membership = _membership(settings, dataset)
    _remove_leftovers(place)
    # The process stands in the name: another one that looks at the same time has a copy of its own.
    folder = place / f"{_CUT_LOG}{os.getpid()}"
    try:
        _write_cut(settings.workspace.lake, dataset.manifest.lake_version, membership, limits, folder)
        yield CutLog(folder, membership)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(place: Path) -> None:
    """Copies of processes that were killed."""
    for folder in place.glob(f"{_CUT_LOG}*"):
        if not Path(f"/proc/{folder.name.removeprefix(_CUT_LOG)}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _write_cut(lake: Path, version: int, membership: Membership, limits: pd.DataFrame, folder: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        try:
            register_customer_events(connection, lake, version, membership=membership)
        except (DeltaError, duckdb.IOException):
            raise _gone(f"version {version} of the lake") from None
        connection.register("limits", pa.Table.from_pandas(limits, preserve_index=False))
        write_deltalake(str(folder), connection.sql(_CUT).to_arrow_reader())


def _membership(settings: Settings, dataset: Dataset) -> Membership:
    version = dataset.manifest.identity_version
    try:
        membership = load(settings.workspace.membership, version)
    except FileNotFoundError:
        membership = None
    if membership is None:
        raise _gone(f"version {version} of the identity map")
    return membership


def _gone(what: str) -> UserError:
    return UserError(f"The dataset was made from {what}, which is not there any more: make the dataset again.")
