"""Every real file through its mapping, and what became of its rows: `python -m tests.sources_table`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from pipelines.events.lake import register
from pipelines.ingest import IngestReport
from pipelines.settings import Settings, Workspace, load_settings
from tests.real_data import DATA, ingest

FILES = {
    "online_retail": "online_retail/online_retail.csv.gz",
    "bpi2012": "bpi2012/loan_applications.csv.gz",
    "grocery_baskets": "completejourney/transactions.csv.gz",
    "grocery_mailings": "completejourney/campaigns.csv.gz",
    "grocery_redemptions": "completejourney/coupon_redemptions.csv.gz",
    "olist_leads": "olist_funnel/mql.csv",
    "olist_deals": "olist_funnel/closed_deals.csv",
    "airbnb_sessions": "airbnb_sessions/sessions.psv.gz",
    "open_bandit_random": "open_bandit/random/men/men.csv.gz",
    "open_bandit_bts": "open_bandit/bts/men/men.csv.gz",
}

HEADER = (
    "| source | file | read | accepted | duplicate | quarantined | events | customers | visitors |\n"
    "|---|---|---:|---:|---:|---:|---|---:|---:|"
)


@dataclass(frozen=True, slots=True)
class People:
    """How many the events of a lake belong to: distinct user ids, and distinct anonymous ids."""

    customers: int
    visitors: int


def settings_in(folder: Path) -> Settings:
    """The real configuration, with a workspace under `folder`."""
    return replace(load_settings("real"), workspace=Workspace("real", checkout=folder))


def people(settings: Settings) -> People:
    """Of the lake of the workspace."""
    with duckdb.connect() as connection:
        register(connection, settings.workspace.lake, "lake")
        sql = "SELECT count(DISTINCT user_id), count(DISTINCT anonymous_id) FROM lake"
        ((customers, visitors),) = connection.execute(sql).fetchall()
    return People(customers, visitors)


def table_line(report: IngestReport, found: People) -> str:
    """One line of the table."""
    events = ", ".join(f"{name} {number:,}" for name, number in report.events.items())
    rows = f"{report.read:,} | {report.accepted:,} | {report.duplicate:,} | {report.quarantined:,}"
    file = FILES[report.source]
    return f"| `{report.source}` | `{file}` | {rows} | {events} | {found.customers:,} | {found.visitors:,} |"


def table() -> Iterator[str]:
    """The table line by line; each file in a workspace of its own. Files that are missing are left out."""
    yield HEADER
    for source, file in FILES.items():
        if (DATA / file).is_file():
            with tempfile.TemporaryDirectory() as folder:
                settings = settings_in(Path(folder))
                report = ingest(settings, source, DATA / file)
                yield table_line(report, people(settings))


if __name__ == "__main__":
    for line in table():
        print(line)
