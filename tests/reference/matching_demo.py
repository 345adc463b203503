"""The made-up retailer's two registers in a workspace, without the rest of its exports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipelines import ingest
from pipelines.demo import DemoConfig, generate, source_files
from pipelines.settings import Settings, Workspace, load_settings

REGISTERS = ("demo_crm", "demo_register")


def registers(place: Path, config: DemoConfig) -> tuple[Settings, Path]:
    """Settings of a workspace below `place` that holds both registers, and the file of the true pairs."""
    settings = replace(load_settings("demo"), workspace=Workspace("demo", checkout=place))
    summary = generate(config, settings.workspace.sources)
    for source, file in source_files(summary.folder):
        if source in REGISTERS:
            ingest.commit(ingest.stage(settings, source, file))
    return settings, summary.truth / "matches.parquet"
