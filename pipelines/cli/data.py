"""Commands about events: sources, ingest, validate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.output import AsJson, as_text, plain, settings_of, tell

if TYPE_CHECKING:
    from pipelines.ingest import IngestReport
    from pipelines.settings import Settings
    from pipelines.validate import ValidationReport

SourceName = Annotated[str, typer.Option("--source", "-s", help="a file of configs/sources, without .yaml")]
InputFile = Annotated[Path, typer.Argument(help="CSV, JSONL or Parquet, also gzipped")]

quarantine = typer.Typer(help="Rows and calls that could not become events.", no_args_is_help=True)
sources = typer.Typer(help="The mappings that turn files into events.", no_args_is_help=True)


def register_commands(app: typer.Typer) -> None:
    app.add_typer(sources, name="sources")
    app.add_typer(quarantine, name="quarantine")
    app.command("ingest")(ingest_command)
    app.command("validate")(validate_command)
    app.command("compact")(compact_command)


def ingest_file(settings: Settings, source: str, file: Path) -> tuple[IngestReport, ValidationReport | None]:
    """Stage the file, hold its events against the expectations, then commit them.

    Without new events there is nothing to validate, and no validation report.

    Raises:
        UserError: the file cannot be read, or a critical expectation fails: then nothing was stored.
    """
    from pipelines.ingest import commit, discard, stage

    batch = stage(settings, source, file)
    try:
        validation = _validated(settings, source, batch.events) if batch.counts.accepted else None
    except BaseException:
        discard(batch)
        raise
    return commit(batch), validation


def _validated(settings: Settings, source: str, events: Path) -> ValidationReport:
    from pipelines.console import progress

    with progress("Checking expectations"):
        from pipelines.validate import raise_if_critical, validate_batch

        validation = validate_batch(settings, events, source)
        raise_if_critical(validation)
    return validation


def ingest_command(context: typer.Context, source: SourceName, file: InputFile, json: AsJson = False) -> None:
    """Turn a file into events of the lake; running it twice changes nothing.

    Example: twin ingest --source online_retail online_retail.csv.gz
    """
    report, validation = ingest_file(settings_of(context), source, file)
    if json:
        print(as_text({"ingest": plain(report), "validation": plain(validation)}))
        return
    print(report.text())
    if validation is not None:
        print(validation.text())


def validate_command(context: typer.Context, json: AsJson = False) -> None:
    """Hold the whole lake against the expectations, and write the Data Docs.

    Example: twin validate
    """
    from pipelines.validate import raise_if_critical, validate_lake

    report = validate_lake(settings_of(context))
    tell(report, json)
    raise_if_critical(report)


@dataclass(frozen=True, slots=True)
class Compacted:
    """What left the journal; `moved` is None where another process is moving it."""

    moved: int | None
    lake_version: int | None
    removed: tuple[str, ...] = ()

    def text(self) -> str:
        """The summary for a person."""
        removed = [f"removed: the states of spec {spec}, which nobody uses any more" for spec in self.removed]
        return "\n".join([*removed, self._moved()])

    def _moved(self) -> str:
        if self.moved is None:
            return "another process is moving live events into the lake; nothing to do here"
        if self.lake_version is None:
            return "no event arrived live yet"
        return f"{self.moved:,} live events moved into the lake, now version {self.lake_version}"


def compact_command(
    context: typer.Context,
    drop_other_states: Annotated[
        bool,
        typer.Option(
            "--drop-other-states",
            help="first remove all states that nobody uses",
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """Move live events into the lake now; the service does so by itself once there are enough.

    Example: twin --workspace demo compact
    """
    tell(compact_live(settings_of(context), drop_other_states), json)


def compact_live(settings: Settings, drop_other_states: bool = False) -> Compacted:
    """Fold all live events into the states, then move them into the lake.

    States that a new champion has made obsolete are removed; with `drop_other_states` all that nobody uses.

    Raises:
        UserError: states are being built, or those of features whose content is not known would lose events.
        JournalUnavailable: the journal cannot be used now.
    """
    from contextlib import closing

    from feature_repo.configuration import Problem
    from pipelines.console import UserError
    from pipelines.events.live import open_live_states
    from pipelines.events.live_compaction import compact_folded
    from pipelines.events.live_states import StatesBusy
    from pipelines.events.opening import event_store, may_have_journal
    from pipelines.events.spec_removal import remove_obsolete, remove_unused

    workspace = settings.workspace
    if not may_have_journal(settings):
        return Compacted(0, None)
    with event_store(settings) as store, closing(open_live_states(settings, store.journal)) as states:
        try:
            remove = remove_unused if drop_other_states else remove_obsolete
            removed = tuple(remove(settings, states.storage))
            report = compact_folded(workspace, store.journal, states)
        except StatesBusy:
            busy = Problem("states", "no build that runs", "one that does", "wait for `twin state rebuild` to end")
            raise UserError("live events cannot be moved now; nothing was changed", [busy]) from None
    if report is None:
        return Compacted(None, None, removed)
    return Compacted(report.moved, report.lake_version, removed)


@sources.command("list")
def list_command(context: typer.Context, json: AsJson = False) -> None:
    """List the source mappings.

    Example: twin sources list
    """
    known = settings_of(context).sources
    if json:
        print(as_text({name: source.description for name, source in known.items()}))
        return
    for name, source in known.items():
        print(f"{name:<24} {source.description}")


@sources.command("check")
def check_command(
    context: typer.Context,
    source: SourceName,
    file: InputFile,
    rows: Annotated[int, typer.Option(min=1, max=100, help="events to show")] = 5,
    json: AsJson = False,
) -> None:
    """Show the first events a file would become; nothing is written.

    Example: twin sources check --source online_retail online_retail.csv.gz
    """
    from pipelines.ingest import check

    tell(check(settings_of(context), source, file, rows), json)


@quarantine.command("show")
def show_command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="a file of .twin/<workspace>/quarantine")],
    json: AsJson = False,
) -> None:
    """Print a quarantine file with its encrypted values opened; needs the key.

    Example: twin quarantine show .twin/demo/quarantine/demo_crm/crm-0123456789ab.csv > mended.csv
    """
    from pipelines.ingest import show

    content = show(settings_of(context), file)
    print(as_text(content.rows) if json else content.text())
