"""Show what a mapping makes of the first rows of a file, without writing anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.ingest import convert
from pipelines.ingest.layout import Layout
from pipelines.ingest.protection import masking
from pipelines.ingest.read import read
from pipelines.settings import Settings

LOOKED_AT = 10_000


@dataclass(frozen=True, slots=True)
class Preview:
    """The first events of a file. `read` and `quarantined` count rows, of the first LOOKED_AT."""

    source: str
    file: str
    read: int
    quarantined: int
    reasons: dict[str, int]
    events: tuple[dict[str, Any], ...]

    def lines(self) -> list[str]:
        """The preview for a person, one line an entry."""
        told = [f"{self.source}: {self.file}, the first {self.read:,} rows, {self.quarantined:,} to be quarantined"]
        told += [f"  {reason}: {count:,}" for reason, count in self.reasons.items()]
        return [*told, *(json.dumps(event, ensure_ascii=False) for event in self.events)]

    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.lines())


def check(settings: Settings, source: str, file: Path, rows: int = 5) -> Preview:
    """The first `rows` canonical events that `file` gives by the mapping `source`, personal values masked.

    Only the first LOOKED_AT rows are read, so an event whose rows go on beyond them is shown in part.

    Raises:
        ConfigurationError: no such mapping, or it does not fit the tracking plan.
        UserError: the file cannot be read.
    """
    mapping, plan = settings.source(source), settings.tracking_plan
    layout = convert.layout_of(mapping, plan, file)
    with convert.open_database(None) as connection:
        convert.load(connection, mapping, layout, _first(file, layout))
        convert.convert(connection, mapping, plan, layout, masking(settings.identity))
        connection.execute(
            "CREATE TABLE outcomes AS SELECT g, rows, CASE WHEN faults > 0 OR reason IS NOT NULL"
            " THEN 'quarantined' ELSE 'accepted' END AS outcome, false AS differs FROM events"
        )
        counts = convert.count(connection)
        found = (
            connection.sql(
                f"SELECT {convert.LAKE_COLUMNS} FROM"
                f" (SELECT * REPLACE ({_instant('event_time')}, {_instant('available_at')}) FROM events)"
                " JOIN outcomes USING (g) WHERE outcome = 'accepted' ORDER BY g LIMIT ?",
                params=[rows],
            )
            .to_arrow_table()
            .to_pylist()
        )
    events = tuple(
        {**event, **{key: json.loads(event[key]) for key in ("properties", "identifiers")}} for event in found
    )
    return Preview(mapping.source, str(file), counts.read, counts.quarantined, counts.reasons, events)


def _instant(column: str) -> str:
    """SQL of an instant as text; UTC, RFC 3339."""
    return f"strftime(timezone('UTC', {column}), '%Y-%m-%dT%H:%M:%S.%fZ') AS {column}"


def _first(file: Path, layout: Layout) -> Iterator[pa.Table]:
    left = LOOKED_AT
    for chunk in read(file, layout, lambda amount: None):
        yield chunk.slice(0, left)
        left -= chunk.num_rows
        if left <= 0:
            return
