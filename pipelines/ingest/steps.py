"""The steps of an ingest: stage a file, then commit or discard the batch. Only `commit` changes the lake."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as parquet

from feature_repo.configuration import Problem
from pipelines.console import UserError, progress
from pipelines.events import lake
from pipelines.events.opening import event_store
from pipelines.identity.tables import erasures, expect_events
from pipelines.ingest import convert
from pipelines.ingest.layout import Layout
from pipelines.ingest.lock import IngestLock
from pipelines.ingest.protection import explaining, sealing
from pipelines.ingest.quarantine import name_of, write_quarantine
from pipelines.ingest.read import read
from pipelines.ingest.report import Counts, IngestReport
from pipelines.ingest.sealed_rows import SealedRows
from pipelines.privacy import sealer_of
from pipelines.settings import Settings
from pipelines.settings.personal_columns import personal_columns
from pipelines.settings.sources import SourceConfig
from pipelines.settings.workspace import Workspace


@dataclass(frozen=True, slots=True)
class StagedBatch:
    """A file on its way into the lake. It holds the workspace's ingest lock until commit or discard.

    `events` is a Parquet file of the events to store: the lake's columns but position.
    `quarantined` is the file of refused rows, or None. `lake_version` is the version it was compared with.
    """

    settings: Settings
    source: SourceConfig
    file: Path
    directory: Path
    events: Path
    quarantined: Path | None
    quarantine_name: str
    counts: Counts
    lake_version: int | None
    seconds: float
    lock: IngestLock

    @property
    def workspace(self) -> Workspace:
        return self.settings.workspace

    @property
    def database(self) -> Path:
        return self.directory / "work.duckdb"


def stage(settings: Settings, source: str, file: Path) -> StagedBatch:
    """Convert `file` by the mapping `source`, and check it against the tracking plan and the lake.

    Nothing in the lake changes. What a dead process left in staging is cleared first. What names a person stands
    there in the clear while this runs, and leaves it as tokens only.

    Raises:
        ConfigurationError: no such mapping, or it does not fit the tracking plan.
        UserError: the file cannot be read, it names persons and there is no key to seal them with, or another ingest
            of the workspace is running.
        ReconciliationError: rows were lost (a fault of the program).
    """
    began = time.monotonic()
    mapping, plan, workspace = settings.source(source), settings.tracking_plan, settings.workspace
    layout = convert.layout_of(mapping, plan, file)
    rows = _sealed_rows(settings, mapping, layout)
    lock = IngestLock.acquire(workspace.root)
    try:
        shutil.rmtree(workspace.staging, ignore_errors=True)
        directory = workspace.staging / mapping.source
        directory.mkdir(parents=True)
        batch = StagedBatch(
            settings,
            mapping,
            file,
            directory,
            directory / "events.parquet",
            None,
            "",
            Counts(0, 0, 0, 0, {}, 0, 0, {}),
            lake.version(workspace.lake),
            0.0,
            lock,
        )
        with convert.open_database(batch.database) as connection, explaining(rows.protection):
            with progress(f"Reading {file.name}", float(file.stat().st_size)) as advance:
                convert.load(connection, mapping, layout, read(file, layout, advance, rows.opened_whole))
                rows.open_columns(connection)
            with progress("Making events"):
                convert.convert(connection, mapping, plan, layout, rows.protection)
                convert.settle(connection, mapping, workspace.lake, _erased(connection, mapping, settings))
                counts = convert.count(connection)
                convert.write_events(connection, batch.events)
                refused = _write_refused(connection, counts, rows, batch)
        name = name_of(file, refused, layout) if refused else ""
        return replace(
            batch, quarantined=refused, quarantine_name=name, counts=counts, seconds=time.monotonic() - began
        )
    except BaseException:
        shutil.rmtree(workspace.staging, ignore_errors=True)
        lock.release()
        raise


def commit(batch: StagedBatch) -> IngestReport:
    """Store the batch: one append to the lake, then the quarantine file moves to its place.

    Repeating it after a failure stores nothing twice: what the lake holds by then is a duplicate.

    Raises:
        UserError: the batch was committed or discarded before.
    """
    began = time.monotonic()
    if not batch.lock.held:
        raise UserError(
            "this batch is finished",
            [Problem("batch", "one that is staged", "one that was committed or discarded", "stage the file again")],
        )
    workspace = batch.workspace
    counts, version = batch.counts, lake.version(workspace.lake)
    if version != batch.lake_version:
        counts = _settle_again(batch)
    if counts.accepted:
        note = {"twin_source": batch.source.source, "twin_file": batch.file.name}
        count = parquet.read_metadata(batch.events).num_rows
        with event_store(batch.settings) as store:
            first = store.journal.reserve(count)
        expect_events(workspace.identity, first, count)
        version = lake.append(workspace.lake, _batches(batch.events), note, first)
    kept = _keep_quarantine(batch)
    discard(batch)
    return IngestReport(
        source=batch.source.source,
        file=str(batch.file),
        **asdict(counts),
        lake_version=version,
        quarantine=str(kept) if kept else None,
        seconds=batch.seconds + time.monotonic() - began,
    )


def discard(batch: StagedBatch) -> None:
    """Drop the batch; the lake stays as it was."""
    if batch.lock.held:
        shutil.rmtree(batch.directory, ignore_errors=True)
        batch.lock.release()


def _sealed_rows(settings: Settings, mapping: SourceConfig, layout: Layout) -> SealedRows:
    sealer = cache(partial(sealer_of, settings.workspace))
    personal = personal_columns(mapping, settings.tracking_plan, settings.identity)
    if personal:
        # Without a key nothing of such a file may be written, not even to staging.
        sealer()
    return SealedRows(mapping, layout, personal, sealing(settings.identity, sealer), sealer)


def _write_refused(
    connection: duckdb.DuckDBPyConnection, counts: Counts, rows: SealedRows, batch: StagedBatch
) -> Path | None:
    if not counts.quarantined:
        return None
    file = batch.directory / "quarantined"
    write_quarantine(connection, rows, file)
    return file


def _settle_again(batch: StagedBatch) -> Counts:
    """The lake changed since the batch was staged: find out anew which of its events are stored."""
    with convert.open_database(batch.database) as connection:
        erased = _erased(connection, batch.source, batch.settings)
        convert.settle(connection, batch.source, batch.workspace.lake, erased)
        convert.write_events(connection, batch.events)
        return convert.count(connection)


def _erased(connection: duckdb.DuckDBPyConnection, source: SourceConfig, settings: Settings) -> set[str]:
    """Ids of events in the file that were erased: the journal keeps their keys. Asked only where anybody ever was."""
    workspace = settings.workspace
    if not workspace.identity.exists() or erasures(workspace.identity) == 0:
        return set()
    keys = [(source.source, event_id) for event_id in convert.event_ids(connection, source, workspace.lake)]
    with event_store(settings) as store:
        return {event_id for _, event_id in store.journal.contains(keys)}


def _batches(file: Path) -> Iterator[pa.RecordBatch]:
    with parquet.ParquetFile(file) as source:
        yield from source.iter_batches(batch_size=100_000)


def _keep_quarantine(batch: StagedBatch) -> Path | None:
    if batch.quarantined is None:
        return None
    kept = batch.workspace.quarantine / batch.source.source / batch.quarantine_name
    kept.parent.mkdir(parents=True, exist_ok=True)
    if batch.quarantined.exists():
        batch.quarantined.replace(kept)
    return kept
