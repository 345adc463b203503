"""Commands about events: sources, ingest, validate."""

from __future__ import annotations

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
