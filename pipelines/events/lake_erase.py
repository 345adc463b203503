"""Erase events from the lake: from its files, from all older versions, and from the statistics in its log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as compute
from deltalake import DeltaTable, write_deltalake

from feature_repo.event_table import EVENT_SCHEMA
from pipelines.events.compaction import events_table, sync_lake
from pipelines.events.exclusion import lake_rewrite
from pipelines.events.journal import StoredRow

_ROWS_A_BATCH = 100_000


def erase_from_lake(path: Path, positions: Sequence[int], replaced: Sequence[StoredRow] = ()) -> None:
    """Remove the events at `positions`, and put rows in the place of those with the same position.

    The lake is written anew, in one commit, in time linear in its size. All versions but the newest are gone
    afterwards: they would hold the events still. The log is cut down to one checkpoint, which keeps the journals'
    watermarks. Repeating it after a failure goes on. Whoever reads an older version meanwhile gets an error.
    Raises DeltaError, OSError and UserError.
    """
    if not DeltaTable.is_deltatable(str(path)):
        return
    with lake_rewrite(path):
        table = DeltaTable(str(path))
        _rewrite(table, positions, replaced)
        # Also files of writers that died before their commit.
        table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
        _cut_log(path)


def _rewrite(table: DeltaTable, positions: Sequence[int], replaced: Sequence[StoredRow]) -> None:
    # The table's own `delete` writes text in another Arrow type, on which filters of readers then fail.
    lake = table.to_pyarrow_dataset()
    gone = pa.array([*positions, *(row[0] for row in replaced)], pa.int64())
    theirs = compute.field("position").isin(gone)
    here = set(lake.to_table(columns=["position"], filter=theirs)["position"].to_pylist())
    if here:
        rows = events_table([row for row in replaced if row[0] in here])
        reader = pa.RecordBatchReader.from_batches(EVENT_SCHEMA, _batches(lake, ~theirs, rows))
        write_deltalake(table, reader, mode="overwrite")


def _batches(lake: pa.dataset.Dataset, kept: compute.Expression, rows: pa.Table) -> Iterator[pa.RecordBatch]:
    for batch in lake.to_batches(filter=kept, batch_size=_ROWS_A_BATCH):
        yield batch.cast(EVENT_SCHEMA)
    yield from rows.to_batches()


def _cut_log(path: Path) -> None:
    """Make a checkpoint of the newest version, and remove the commits that it stands for."""
    table = DeltaTable(str(path))
    table.create_checkpoint()
    newest = int(table.version())
    sync_lake(path, newest)
    for entry in (path / "_delta_log").iterdir():
        if entry.is_file() and entry.name != "_last_checkpoint" and not entry.name.startswith(f"{newest:020}."):
            entry.unlink()
