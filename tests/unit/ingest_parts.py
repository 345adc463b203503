"""A small tracking plan and ways to ingest handmade files, for the tests of ingest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import yaml

from feature_repo.configuration import load_yaml, parse
from pipelines.events.lake import register
from pipelines.ingest import IngestReport, commit, stage
from pipelines.settings import CHECKOUT, Settings, Workspace
from pipelines.settings.consent import ConsentConfig
from pipelines.settings.identity import IdentityConfig
from pipelines.settings.profile import Profile
from pipelines.settings.sources import SourceConfig
from pipelines.settings.tracking_plan import TrackingPlan

PLAN = parse(
    yaml.safe_load("""
channels: [web, app, pos]
currencies: {THB: 2, JPY: 0, KWD: 3}
events:
  Order Completed:
    description: An order.
    channels: [web, pos]
    value: total
    properties:
      order_id: {type: string, required: true}
      total: {type: money, required: true}
      units: {type: integer, minimum: 1, maximum: 1000}
      size: {type: string, allowed: [small, large]}
      share: {type: number}
      gift: {type: boolean}
      due: {type: timestamp}
      lines: {type: integer}
      products: {type: list}
      address: {type: object}
  Page Viewed:
    description: A page.
    properties: {path: {type: string}}
"""),
    TrackingPlan,
)

# Rows with the same `number` are one order.
ORDERS = """
source: shop
description: Orders, a line each.
format: {type: csv}
timezone: Asia/Bangkok
currency: THB
columns:
  number: {type: id, required: true}
  at: {type: timestamp, required: true}
  who: {type: id}
  units: {type: integer, required: true}
  price: {type: decimal, required: true}
group_by: [number]
event_id: "{number}"
time: {column: at}
user_id: who
anonymous_id: "order-{number}"
channel: web
events:
  - event: Order Completed
    properties:
      order_id: {column: number}
      total: {sum: [units, price], as: money}
      units: {sum: [units]}
      lines: {count: rows}
"""

HEADER = "number,at,who,units,price"


def mapping(text: str, **changes: Any) -> SourceConfig:
    """A mapping from YAML text, with top-level keys replaced."""
    return parse({**yaml.safe_load(text), **changes}, SourceConfig)


def settings_for(tmp_path: Path, *sources: SourceConfig, plan: TrackingPlan = PLAN) -> Settings:
    """Settings of a workspace under `tmp_path`; features and expectations play no part in ingest."""
    return Settings(
        config_dir=tmp_path,
        profile=Profile(description="test", clock="data_end"),
        tracking_plan=plan,
        spec_file=None,
        features=None,
        expectations=None,  # type: ignore[arg-type]
        sources={source.source: source for source in sources},
        models={},
        companions={},
        action_models={},
        catalogue=None,
        identity=load_yaml(CHECKOUT / "configs" / "identity.yaml", IdentityConfig),
        consent=load_yaml(CHECKOUT / "configs" / "consent.yaml", ConsentConfig),
        workspace=Workspace("test", checkout=tmp_path),
    )


def shop(tmp_path: Path, **changes: Any) -> Settings:
    """Settings with the mapping ORDERS."""
    return settings_for(tmp_path, mapping(ORDERS, **changes))


def written(tmp_path: Path, *lines: str, name: str = "orders.csv", header: str = HEADER) -> Path:
    """A CSV file of these rows."""
    file = tmp_path / name
    file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return file


def ingest(settings: Settings, file: Path, source: str = "shop") -> IngestReport:
    """Stage and commit."""
    return commit(stage(settings, source, file))


def stored(settings: Settings) -> list[dict[str, Any]]:
    """All events of the lake in order of position, JSON read."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        register(connection, settings.workspace.lake, "lake")
        rows = (
            connection.sql(
                "SELECT * REPLACE (epoch_us(event_time) AS event_time, epoch_us(available_at) AS available_at)"
                " FROM lake ORDER BY position"
            )
            .to_arrow_table()
            .to_pylist()
        )
    return [
        {**row, "properties": json.loads(row["properties"]), "identifiers": json.loads(row["identifiers"])}
        for row in rows
    ]


def renamed(settings: Settings, source: SourceConfig) -> Settings:
    """The same workspace with another mapping."""
    return replace(settings, sources={source.source: source})
