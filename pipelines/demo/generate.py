"""Write the demo retailer: its systems' exports, and the truth beside them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from feature_repo.configuration import load_yaml
from pipelines.console import progress
from pipelines.demo.config import DemoConfig
from pipelines.demo.identities import make_identities
from pipelines.demo.online_exports import write_app, write_web
from pipelines.demo.other_exports import (
    write_calls,
    write_campaign,
    write_consents,
    write_crm,
    write_email,
    write_line,
    write_pos,
    write_surveys,
)
from pipelines.demo.register import write_register
from pipelines.demo.simulation import simulate
from pipelines.demo.traits import draw_traits
from pipelines.demo.truth import ExportCounts, write_truth

TRUTH = "truth"
# In this order an ingest meets registrations before what they explain.
_FILES = {
    "demo_crm": "crm.parquet",
    "demo_register": "register.csv",
    "demo_web": "web.jsonl.gz",
    "demo_app": "app.jsonl.gz",
    "demo_pos": "pos.csv.gz",
    "demo_email": "email.csv",
    "demo_line": "line.jsonl",
    "demo_call_centre": "call_centre.csv",
    "demo_surveys": "surveys.csv",
    "demo_campaign": "campaign.csv",
    "demo_consents": "consents.csv",
}


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """What was written: rows by file name (copies included), customers, their orders, and where it is."""

    folder: Path
    truth: Path
    rows: dict[str, int]
    customers: int
    orders: int
    first_day: str
    last_day: str

    def text(self) -> str:
        """The summary for a person."""
        files = [f"  {name:<18} {rows:>9,} rows" for name, rows in self.rows.items()]
        return "\n".join([
            f"Made-up retailer: {self.customers:,} customers, {self.orders:,} orders, "
            f"{self.first_day} to {self.last_day}",
            *files, f"  {self.folder}", f"  the truth behind it: {self.truth}",
        ])  # fmt: skip


def load_demo_config(path: Path) -> DemoConfig:
    """Read `configs/demo.yaml`.

    Raises:
        ConfigurationError: with every mistake of the file.
    """
    return load_yaml(path, DemoConfig)


def generate(config: DemoConfig, folder: Path) -> DemoSummary:
    """Write every export into `folder` and the truth into `folder/truth`, replacing what stood there.

    The same configuration gives the same bytes, at any time and on any machine with the same library
    versions. A later `end` with the same first day and acquisition gives the same events before it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / TRUTH, ignore_errors=True)
    (folder / TRUTH).mkdir()
    traits = draw_traits(config)
    world, identities = simulate(config, traits), make_identities(config, traits)
    rows: dict[str, int] = {}
    with progress("Writing exports", len(_FILES) + 1) as advance:
        rows["crm.parquet"] = write_crm(config, folder, world, identities)
        rows["register.csv"] = write_register(config, folder, folder / TRUTH, world, identities)
        rows["web.jsonl.gz"] = write_web(config, folder, world, identities)
        advance(3)
        rows["app.jsonl.gz"], late = write_app(config, folder, world, identities)
        rows["pos.csv.gz"] = write_pos(config, folder, world, identities)
        advance(2)
        rows["email.csv"] = write_email(config, folder, world, identities)
        rows["line.jsonl"] = write_line(folder, world, identities)
        rows["call_centre.csv"] = write_calls(folder, world, identities)
        rows["surveys.csv"] = write_surveys(folder, world, identities)
        rows["campaign.csv"] = write_campaign(folder, world, identities)
        rows["consents.csv"] = write_consents(config, folder, world, identities)
        advance(6)
        truth = write_truth(config, folder / TRUTH, world, identities, ExportCounts(rows, late))
        advance(1)
    first, last = config.start.isoformat(), config.end.isoformat()
    orders = int(truth["orders_of_customers"])
    return DemoSummary(folder, folder / TRUTH, rows, rows["crm.parquet"], orders, first, last)


def source_files(folder: Path) -> list[tuple[str, Path]]:
    """What to ingest, in order: name of the source mapping, and the file."""
    return [(source, folder / name) for source, name in _FILES.items()]
