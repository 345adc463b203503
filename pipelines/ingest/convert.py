"""Turn the rows of a file into events, in a DuckDB database that lives only as long as the batch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path

import duckdb
import pyarrow as pa

from feature_repo.configuration import ConfigurationError, Problem
from pipelines.console import UserError
from pipelines.events.lake import STAGED_SCHEMA, register
from pipelines.ingest.events import facts_and_events_sql, grouped_sql, part_sql
from pipelines.ingest.layout import Layout, check_columns, look_at
from pipelines.ingest.protection import Protection
from pipelines.ingest.quoting import literal
from pipelines.ingest.report import Counts
from pipelines.ingest.rows import REASON_SEPARATOR, raw_columns, raw_insert_sql, typed_sql
from pipelines.settings.source_checks import check_against_plan
from pipelines.settings.sources import SourceConfig
from pipelines.settings.tracking_plan import TrackingPlan

MEMORY_LIMIT = "1GB"
# Texts that are gathered over the rows of an event cannot spill, so events are made from this many rows at a time.
ROWS_A_PART = 1_000_000
LAKE_COLUMNS = ", ".join(STAGED_SCHEMA.names)
ANOTHER_ROW = "another row of the same event is quarantined"
# What an event says; when it arrived is not part of it.
_CONTENT = "hash(event, event_time, user_id, anonymous_id, identifiers, channel, value, currency, properties)"


def layout_of(source: SourceConfig, plan: TrackingPlan, file: Path) -> Layout:
    """The layout of `file`, which has every column that the mapping names.

    Raises:
        ConfigurationError: the mapping and the tracking plan do not fit.
        UserError: the file cannot be read, lacks columns, or has two of one name.
    """
    problems = check_against_plan(source, plan)
    if problems:
        raise ConfigurationError(problems)
    layout = look_at(file, source.format)
    if layout.format.type != "jsonl":
        check_columns(file, layout, tuple(name for name, column in source.columns.items() if column.column is None))
    return layout


def open_database(path: Path | None) -> duckdb.DuckDBPyConnection:
    """A database with bounded memory that spills beside its own file; in memory where `path` is None."""
    connection = duckdb.connect(str(path) if path else ":memory:")
    connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute("SET enable_progress_bar = false")
    if path is not None:
        connection.execute(f"SET temp_directory = {literal(str(path.parent / 'spill'))}")
    return connection


def load(
    connection: duckdb.DuckDBPyConnection, source: SourceConfig, layout: Layout, chunks: Iterable[pa.Table]
) -> None:
    """Fill table `raw` with the rows of the file as text."""
    columns = "".join(f", {name} VARCHAR" for name in raw_columns(source, layout))
    connection.execute(f"CREATE TABLE raw (row BIGINT, fault VARCHAR, text VARCHAR{columns})")
    stream = _Stream(chunks)
    connection.register("chunk", stream.reader())
    try:
        # One statement for all chunks: DuckDB stores some while the next ones are read.
        connection.execute(raw_insert_sql(source, layout))
    except duckdb.Error:
        if stream.failed:
            raise stream.failed[0] from None
        raise
    finally:
        connection.unregister("chunk")


class _Stream:
    """Chunks of one schema as Arrow reads them. Remembers what went wrong, which DuckDB would only quote."""

    def __init__(self, chunks: Iterable[pa.Table]) -> None:
        self._chunks = iter(chunks)
        self.failed: list[BaseException] = []

    def reader(self) -> pa.RecordBatchReader:
        """Raises what reading the first chunk raises."""
        first = next(self._chunks)
        return pa.RecordBatchReader.from_batches(first.schema, self._batches(first))

    def _batches(self, first: pa.Table) -> Iterator[pa.RecordBatch]:
        try:
            for chunk in chain([first], self._chunks):
                yield from chunk.to_batches()
        except BaseException as error:
            self.failed.append(error)
            raise


def convert(
    connection: duckdb.DuckDBPyConnection,
    source: SourceConfig,
    plan: TrackingPlan,
    layout: Layout,
    protection: Protection,
) -> None:
    """From table `raw`: table `events`, and table `refused` (row, reason) of the rows that are none.

    In `events`, `protection` stands for what names a person.

    Raises:
        UserError: a sum of amounts is beyond 38 digits, or the events do not fit into memory.
    """
    facts, events = facts_and_events_sql(source, plan, protection)
    protection.register(connection)
    try:
        connection.execute(typed_sql(source, layout))
        parts = _parts(connection, source)
        for number in range(parts):
            connection.execute(part_sql(source, number, parts))
            if number == 0:
                connection.execute(grouped_sql(source))
                connection.execute(facts)
            into = "CREATE TABLE {} AS {}" if number == 0 else "INSERT INTO {} {}"
            connection.execute(into.format("events", events))
            connection.execute(into.format("refused", _REFUSED))
    except duckdb.OutOfRangeException as error:
        raise UserError(
            "amounts in the file are too large to add up exactly; nothing was written",
            [Problem("columns", "sums below 10^22", "larger ones", "check the columns that are summed")],
        ) from error
    except duckdb.OutOfMemoryException as error:
        raise UserError(
            f"the file needs more memory than {MEMORY_LIMIT}; nothing was written",
            [Problem("file", "groups of rows that fit into memory", "more", "split the file between events")],
        ) from error


def _parts(connection: duckdb.DuckDBPyConnection, source: SourceConfig) -> int:
    """In how many parts to make events; an event of one row needs no memory of its own."""
    rows = _number(connection, "SELECT count(*) FROM typed")
    return max(1, -(-rows // ROWS_A_PART)) if source.group_by else 1


_REFUSED = f"""
    SELECT grouped.row, coalesce(grouped.reasons, events.reason, {literal(ANOTHER_ROW)}) AS reason
    FROM grouped JOIN events ON grouped.g = events.g
    WHERE events.faults > 0 OR events.reason IS NOT NULL
"""


def settle(
    connection: duckdb.DuckDBPyConnection, source: SourceConfig, lake: Path, erased: Collection[str] = ()
) -> None:
    """Table `outcomes`: g, rows, outcome, differs. Of equal event ids the lake's goes first, then the one
    that arrived first, whatever the order of the file; the others are duplicates, and differ where they
    say something else. Of `erased` event ids the event was stored once, and is gone for ever."""
    register(connection, lake, "lake")
    connection.register("erased", pa.table({"event_id": pa.array(sorted(erased), pa.string())}))
    connection.execute(f"""
        CREATE OR REPLACE TABLE outcomes AS
        WITH candidates AS (
            SELECT g, rows, event_id, (available_at, g) AS turn, {_CONTENT} AS content
            FROM events WHERE faults = 0 AND reason IS NULL
        ), firsts AS (
            SELECT event_id, arg_min(g, turn) AS first_g, arg_min(content, turn) AS first_content
            FROM candidates GROUP BY event_id
        ), stored AS (
            SELECT event_id, {_CONTENT} AS stored_content FROM lake
            WHERE source = {literal(source.source)} AND event_id IN (SELECT event_id FROM firsts)
            UNION ALL SELECT event_id, first_content FROM erased JOIN firsts USING (event_id)
        )
        SELECT g, rows,
               CASE WHEN stored_content IS NULL AND g = first_g THEN 'accepted' ELSE 'duplicate' END AS outcome,
               content <> coalesce(stored_content, first_content) AS differs
        FROM candidates JOIN firsts USING (event_id) LEFT JOIN stored USING (event_id)
        UNION ALL
        SELECT g, rows, 'quarantined', false FROM events WHERE faults > 0 OR reason IS NOT NULL
    """)
    connection.unregister("lake")
    connection.unregister("erased")


def event_ids(connection: duckdb.DuckDBPyConnection, source: SourceConfig, lake: Path) -> list[str]:
    """Ids of the events that could be stored and are not in the lake."""
    register(connection, lake, "lake")
    found = connection.execute(
        "SELECT DISTINCT event_id FROM events WHERE faults = 0 AND reason IS NULL AND event_id NOT IN"
        f" (SELECT event_id FROM lake WHERE source = {literal(source.source)})"
    ).fetchall()
    connection.unregister("lake")
    return [event_id for (event_id,) in found]


def count(connection: duckdb.DuckDBPyConnection) -> Counts:
    """The numbers of the batch.

    Raises:
        ReconciliationError: they do not add up.
    """
    rows = dict(connection.execute("SELECT outcome, sum(rows)::BIGINT FROM outcomes GROUP BY 1").fetchall())
    accepted = "FROM events JOIN outcomes USING (g) WHERE outcome = 'accepted'"
    events = connection.execute(f"SELECT event, count(*) {accepted} GROUP BY 1 ORDER BY 2 DESC, 1").fetchall()
    reasons = connection.execute(
        f"SELECT unnest(string_split(reason, {literal(REASON_SEPARATOR)})), count(*)"
        " FROM refused GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    return Counts(
        read=_number(connection, "SELECT count(*) FROM raw"),
        accepted=rows.get("accepted", 0),
        duplicate=rows.get("duplicate", 0),
        quarantined=_same(rows.get("quarantined", 0), _number(connection, "SELECT count(*) FROM refused")),
        events=dict(events),
        anonymous=_number(connection, f"SELECT count(*) {accepted} AND user_id IS NULL"),
        differing=_number(connection, "SELECT count(*) FROM outcomes WHERE differs"),
        reasons=dict(reasons),
    )


def write_events(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """The accepted events as Parquet, in the order of the file: STAGED_SCHEMA, and the event's first `row` in it."""
    connection.execute(
        f"COPY (SELECT {LAKE_COLUMNS}, g AS row FROM events JOIN outcomes USING (g)"
        " WHERE outcome = 'accepted' ORDER BY g)"
        f" TO {literal(str(file))} (FORMAT parquet)"
    )


def _number(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    ((number,),) = connection.execute(sql).fetchall()
    return int(number)


def _same(events: int, rows: int) -> int:
    """Quarantined rows counted over events; -1, which reconciles with nothing, where rows say otherwise."""
    return events if events == rows else -1
