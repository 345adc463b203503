"""The event store as readers see it: lake and journal together, each event once.

Why a snapshot has each event exactly once, whatever compaction does meanwhile. Let W be the watermark of
the lake version that the snapshot pins. The snapshot takes from the lake all rows of that version, and
from the journal the rows with W < position <= P.

1. Positions become visible in their order, so when P = last_position() is read, all rows up to P are
   visible or were removed.
2. The journal is read first, the lake is pinned after. A row that is missing from the journal's pages was
   removed before it would have been read, and rows are removed only once a lake version has them below its
   watermark. Versions and watermarks only grow, so W covers that row: it is in the pinned version.
   (The other way round, a compaction between the two reads would leave rows in neither.)
3. A row up to W that was read from the journal as well is left out, so it counts once. A row above W is in
   no commit of the pinned version: compaction's commits hold the rows up to their watermark only.

So the journal's part of a snapshot is all rows with position <= max(P, W), without a gap, and pages need no
common transaction. A snapshot keeps its part of the journal in memory, and an older Delta version stays
readable until it is vacuumed: what a snapshot reads never changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from feature_repo.event_table import EVENT_SCHEMA, ensure_table
from pipelines.events import lake
from pipelines.events.compaction import check_not_behind, journal_batches, watermark
from pipelines.events.journal import Journal


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All events that were stored at one moment.

    `version` is the lake's; `position` the last one of the journal that counts; `tail` the journal's
    rows which that version lacks (EVENT_SCHEMA, ascending by position). A bulk load takes positions
    before its commit, so what was visible is told by version and position together.
    """

    lake_path: Path
    version: int
    position: int
    tail: pa.Table

    def register(self, connection: duckdb.DuckDBPyConnection, name: str) -> None:
        """Make the events readable in `connection` as the view `name` (columns of EVENT_SCHEMA)."""
        lake.register(connection, self.lake_path, f"{name}_lake", self.version)
        connection.register(f"{name}_journal", self.tail)
        parts = f"SELECT * FROM {name}_lake UNION ALL SELECT * FROM {name}_journal"
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {parts}")

    def table(self) -> pa.Table:
        """All events in memory (EVENT_SCHEMA), in no fixed order."""
        stored = DeltaTable(str(self.lake_path), version=self.version).to_pyarrow_table()
        return pa.concat_tables([stored.cast(EVENT_SCHEMA), self.tail])


@dataclass(frozen=True, slots=True)
class EventStore:
    """Lake and journal of one workspace. Thread-safe."""

    lake_path: Path
    journal: Journal

    @classmethod
    def open(cls, lake_path: Path, journal: Journal) -> EventStore:
        """The store; the lake is made if there is none. Raises JournalUnavailable.

        The journal's positions are moved past all that stand in the lake, so that a journal that is
        new beside an old lake, or was put back from an older copy, gives none again.
        """
        stored = max(watermark(ensure_table(lake_path), journal.identity), lake.last_position(lake_path))
        missing = stored - journal.last_position()
        if missing > 0:
            journal.reserve(missing)
        return cls(lake_path, journal)

    def snapshot(self) -> Snapshot:
        """What is stored now. Raises JournalUnavailable.

        Every append that returned before the call is in it, and so is every commit of the lake.
        """
        table = DeltaTable(str(self.lake_path))
        # Only a shortcut: nothing below this can be missing from any later version.
        after = watermark(table, self.journal.identity)
        last = self.journal.last_position()
        pages = pa.Table.from_batches(journal_batches(self.journal, after, last), EVENT_SCHEMA)
        table.update_incremental()
        done = watermark(table, self.journal.identity)
        # A compaction since then moves `done` past `last`, never past what the journal gave.
        check_not_behind(max(last, self.journal.last_position()) if done > last else last, done)
        tail = pages.filter(pc.greater(pages["position"], done))
        return Snapshot(self.lake_path, int(table.version()), max(last, done), tail)

    def read(self) -> pa.Table:
        """All events stored now, in memory (EVENT_SCHEMA), in no fixed order."""
        return self.snapshot().table()
