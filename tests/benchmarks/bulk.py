"""One bulk load in a process of its own, which tells its time and its peak memory as JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import duckdb

from pipelines.cli.data import ingest_file
from pipelines.ingest import commit, stage
from pipelines.settings import Settings, Workspace, load_settings
from tests.benchmarks.processes import tell


def main(kind: str, file: Path, folder: Path) -> None:
    """Copy or load `file` into `folder` as `kind` says."""
    settings = replace(load_settings(), workspace=Workspace("bench", folder))
    if kind == "validated":
        # Seconds of import that do not grow with the file.
        import pipelines.validate  # noqa: F401
    tell(lambda: _KINDS[kind](settings, file))


def _copy(settings: Settings, file: Path) -> object:
    target = settings.workspace.checkout / "copy.parquet"
    return duckdb.sql(f"COPY (SELECT * FROM read_csv('{file}')) TO '{target}' (FORMAT parquet)")


_KINDS: Mapping[str, Callable[[Settings, Path], object]] = {
    "copy": _copy,
    "load": lambda settings, file: commit(stage(settings, "online_retail", file)),
    "validated": lambda settings, file: ingest_file(settings, "online_retail", file),
}

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
