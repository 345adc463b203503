"""Erase events from the lake: from its files, from all older versions, and from the statistics in its log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

from pipelines.events.compaction import events_table, sync_lake
from pipelines.events.exclusion import lake_rewrite
from pipelines.events.journal import StoredRow

_POSITIONS_A_DELETE = 5_000


def erase_from_lake(path: Path, positions: Sequence[int], replaced: Sequence[StoredRow] = ()) -> None:
    """Remove the events at `positions`, and put rows in the place of those with the same position.

    All versions but the newest are gone afterwards: they would hold the events still. The log is cut down to one
    checkpoint, which keeps the journals' watermarks. Repeating it after a failure goes on. Whoever reads an older
    version meanwhile gets an error. Raises DeltaError, OSError and UserError.
    """
    if not DeltaTable.is_deltatable(str(path)):
        return
    with lake_rewrite(path):
        table = DeltaTable(str(path))
        for begin in range(0, len(positions), _POSITIONS_A_DELETE):
            listed = ", ".join(map(str, positions[begin : begin + _POSITIONS_A_DELETE]))
            table.delete(f"position IN ({listed})")
        if replaced:
            _replace(table, events_table(replaced))
        # Also files of writers that died before their commit.
        table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
        _cut_log(path)


def _replace(table: DeltaTable, rows: pa.Table) -> None:
    merge = table.merge(rows, "t.position = s.position", source_alias="s", target_alias="t")
    merge.when_matched_update_all().execute()


def _cut_log(path: Path) -> None:
    """Make a checkpoint of the newest version, and remove the commits that it stands for."""
    table = DeltaTable(str(path))
    table.create_checkpoint()
    newest = int(table.version())
    sync_lake(path, newest)
    for entry in (path / "_delta_log").iterdir():
        if entry.is_file() and entry.name != "_last_checkpoint" and not entry.name.startswith(f"{newest:020}."):
            entry.unlink()
