"""Live events that moved from the journal into the lake before anybody looked at what they set off."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from pipelines.events.journal import StoredEvent


def until_in_lake(lake: Path, journal: str) -> int:
    """The position up to which events of the journal with this identity may be in the lake alone; 0 for none."""
    if not (lake / "_delta_log").exists():
        return 0
    # Engines that take long to import: for whom there is a lake.
    from deltalake import DeltaTable

    from pipelines.events.compaction import watermark

    return watermark(DeltaTable(str(lake)), journal)


def moved(lake: Path, after: int, until: int, files: Collection[str], limit: int) -> Sequence[StoredEvent]:
    """The first `limit` events of the lake with positions in (after, until], ascending, but for sources of `files`."""
    import duckdb

    from pipelines.events import lake as table
    from pipelines.events.journal import decode

    query = f"""SELECT {table.STORED_ROW} FROM lake
      WHERE position > $after AND position <= $until AND NOT list_contains($files, source)
      ORDER BY position LIMIT $limit"""
    values = {"after": after, "until": until, "files": list(files), "limit": limit}
    with duckdb.connect() as connection:
        table.register(connection, lake, "lake")
        return [decode(row) for row in connection.execute(query, values).fetchall()]
