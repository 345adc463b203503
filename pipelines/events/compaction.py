"""Compaction: rows of the journal become rows of the lake, in one commit that says how far they go.

The commit carries the watermark, the journal's position up to which the lake has it, as an
application transaction of the Delta protocol. That makes it part of every version's state: later
commits that know nothing of it leave it as it is, checkpoints keep it, and two compactions that start
from the same watermark cannot both commit. Only what a committed watermark covers is removed from
the journal. So a process that dies at any point leaves one of two things: nothing done, or rows that
stand in both tiers below the watermark, which readers leave out and the next run removes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from feature_repo.event_table import EVENT_SCHEMA, INSTANT, ensure_table
from pipelines.console import UserError
from pipelines.events.exclusion import lake_commit
from pipelines.events.journal import Journal, JournalUnavailable, StoredRow
from pipelines.events.lake import WRITING

# Few, so that a service that compacts beside its requests never stops for long.
ROWS_A_PAGE = 2_000
# Each failed attempt means that another writer's commit succeeded meanwhile.
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """What a compaction did. `compacted_to` is the watermark in force at `lake_version`."""

    moved: int
    compacted_to: int
    lake_version: int


class JournalBehindLake(UserError):
    """The journal's positions end before its watermark: an older copy of it was put back."""


def watermark(table: DeltaTable, identity: str) -> int:
    """The position up to which the loaded version of the lake holds the journal `identity`; 0 where it has nothing."""
    return int(table.transaction_version(_application(identity)) or 0)


def compact(lake_path: Path, journal: Journal, until: int | None = None) -> CompactionReport:
    """Move what the journal holds now, or up to position `until`, into the lake in one commit, then remove it there.

    Where states follow the journal, `compact_folded` is what to call: it sees to it that they have the
    rows before they go. Appends, bulk loads, readers and other compactions may go on meanwhile. Memory is bounded by a
    page of rows. Raises JournalUnavailable, JournalBehindLake, and DeltaError or OSError where the lake
    cannot be written; nothing is lost then, and the next run goes on.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            with lake_commit(lake_path):
                return _compact_once(lake_path, journal, until)
        except CommitFailedError:
            # Another writer was faster; begin again from the watermark that holds now.
            continue
    with lake_commit(lake_path):
        return _compact_once(lake_path, journal, until)


def _compact_once(lake_path: Path, journal: Journal, wanted: int | None) -> CompactionReport:
    table = ensure_table(lake_path)
    done = watermark(table, journal.identity)
    last = journal.last_position()
    check_not_behind(last, done)
    until = last if wanted is None else min(wanted, last)
    moved = 0
    first = journal.read_rows(done, 1)
    if first and first[0][0] <= until:
        moved = _append(table, journal, done, until)
        sync_lake(lake_path, table.version())
        done = until
    journal.remove_until(done)
    return CompactionReport(moved, done, int(table.version()))


def check_not_behind(last_position: int, done: int) -> None:
    """Raise JournalBehindLake where positions that the lake has by now would be given again."""
    if last_position < done:
        raise JournalBehindLake(
            f"the journal ends at position {last_position}, but the lake has it up to {done}: an older copy was put"
            " back. Open the event store once; it moves the journal on."
        )


def _append(table: DeltaTable, journal: Journal, after: int, until: int) -> int:
    pages = _Pages(journal, after, until)
    properties = CommitProperties(
        # For people who read the table's history; programs read the transaction.
        custom_metadata={"compacted_to": str(until), "journal": journal.identity},
        app_transactions=[Transaction(_application(journal.identity), until)],
    )
    reader = pa.RecordBatchReader.from_batches(EVENT_SCHEMA, iter(pages))
    try:
        # The loaded table, not its path: the commit is checked against all that came after this version.
        write_deltalake(table, reader, mode="append", commit_properties=properties, writer_properties=WRITING)
    except DeltaError as error:
        if pages.failed:
            raise pages.failed[0] from error
        raise
    return pages.rows


@dataclass
class _Pages:
    """The journal as batches. Remembers what went wrong, which the Delta writer would only quote."""

    journal: Journal
    after: int
    until: int
    rows: int = 0
    failed: list[JournalUnavailable] = field(default_factory=list)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in journal_batches(self.journal, self.after, self.until):
                self.rows += batch.num_rows
                yield batch
        except JournalUnavailable as error:
            self.failed.append(error)
            raise


def journal_batches(journal: Journal, after: int, until: int) -> Iterator[pa.RecordBatch]:
    """The journal's rows with after < position <= until, ascending, as batches of EVENT_SCHEMA."""
    while after < until:
        rows = journal.read_rows(after, ROWS_A_PAGE)
        within = rows if not rows or rows[-1][0] <= until else [row for row in rows if row[0] <= until]
        if within:
            yield _batch(within)
        if len(within) < ROWS_A_PAGE:
            return
        after = within[-1][0]


def _batch(rows: list[StoredRow]) -> pa.RecordBatch:
    columns = [
        # An instant comes as an integer and keeps its bits.
        pa.array(values, pa.int64()).cast(INSTANT) if column.type == INSTANT else pa.array(values, column.type)
        for column, values in zip(EVENT_SCHEMA, zip(*rows, strict=True), strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=EVENT_SCHEMA)


def events_table(rows: Sequence[StoredRow]) -> pa.Table:
    """Rows of the journal as a table of EVENT_SCHEMA."""
    return pa.Table.from_batches([_batch(list(rows))] if rows else [], EVENT_SCHEMA)


def sync_lake(path: Path, version: int) -> None:
    """Wait until the log up to now, and the files that `version` added, are on the disk.

    Delta's writer leaves that to the operating system, which after a loss of power could have kept
    the removal from the journal and not the commit.
    """
    log = path / "_delta_log"
    added = [
        path / unquote(entry["add"]["path"])
        for entry in map(json.loads, (log / f"{version:020}.json").read_text().splitlines())
        if "add" in entry
    ]
    for place in (*added, *log.iterdir(), log, path):
        _sync(place)


def _sync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        # The log is cleaned up by others, and temporary files in it come and go.
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _application(identity: str) -> str:
    return f"journal-{identity}"
