"""The mapping of Online Retail on the real file, against numbers counted with pandas."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from feature_repo.configuration import load_yaml
from pipelines.events import lake
from pipelines.ingest import IngestReport
from pipelines.settings import Settings
from pipelines.settings.sources import SourceConfig
from pipelines.settings.tracking_plan import TrackingPlan
from pipelines.settings.workspace import CHECKOUT
from tests.unit.ingest_parts import ingest, settings_for, stored

FILE = CHECKOUT.parent / "shared" / "data" / "online_retail" / "online_retail.csv.gz"
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="no data")

Ingested = tuple[Settings, IngestReport, dict[str, dict[str, Any]], pd.DataFrame]


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    configs = CHECKOUT / "configs"
    source = load_yaml(configs / "sources" / "online_retail.yaml", SourceConfig)
    plan = load_yaml(configs / "events.yaml", TrackingPlan)
    settings = settings_for(tmp_path_factory.mktemp("retail"), source, plan=plan)
    report = ingest(settings, FILE, "online_retail")
    events = {event["event_id"]: event for event in stored(settings)}
    return settings, report, events, pd.read_csv(FILE, dtype=str, keep_default_na=False)


def test_every_line_is_accounted_for(ingested: Ingested) -> None:
    _, report, events, rows = ingested
    assert (report.read, report.accepted, report.duplicate, report.quarantined) == (320_705, 320_705, 0, 0)
    assert len(rows) == report.read
    assert set(events) == set(rows["InvoiceNo"])
    assert report.events == {
        "Order Completed": 12_977,
        "Order Refunded": 2_554,
        "Inventory Adjusted": 925,
        "Account Adjusted": 3,
    }
    assert report.anonymous == rows.loc[rows["CustomerID"] == "", "InvoiceNo"].nunique() == 2_617
    users = {event["user_id"] for event in events.values()} - {None}
    assert len(users) == rows["CustomerID"].loc[rows["CustomerID"] != ""].nunique() == 3_360
    assert all(user.isdigit() for user in users)


def test_an_order_by_hand(ingested: Ingested) -> None:
    """Invoice 536365: 15.30 + 20.34 + 22.00 + 20.34 + 20.34 + 15.30 + 25.50 = 139.12 pounds."""
    event = ingested[2]["536365"]
    assert (event["event"], event["user_id"], event["value"], event["currency"]) == (
        "Order Completed",
        "17850",
        13_912,
        "GBP",
    )
    assert event["properties"]["units"] == 40
    assert event["properties"]["lines"] == len(event["properties"]["products"]) == 7


def test_every_amount_and_instant_as_pandas_counts_them(ingested: Ingested) -> None:
    _, _, events, rows = ingested
    amounts: dict[str, Decimal] = {}
    for number, units, price in zip(rows["InvoiceNo"], rows["Quantity"], rows["UnitPrice"], strict=True):
        amounts[number] = amounts.get(number, Decimal(0)) + int(units) * Decimal(price)
    local = pd.to_datetime(rows["InvoiceDate"]).groupby(rows["InvoiceNo"]).agg(["min", "max"])
    zone = {edge: local[edge].dt.tz_localize("Europe/London").dt.tz_convert("UTC") for edge in ("min", "max")}
    for number, event in events.items():
        assert event["event_time"] == zone["min"][number].value // 1000
        assert event["available_at"] == zone["max"][number].value // 1000
        sign = {"Order Refunded": -1, "Inventory Adjusted": None}.get(event["event"], 1)
        assert event["value"] == (None if sign is None else round(sign * amounts[number] * 100))


def test_again_changes_nothing(ingested: Ingested) -> None:
    settings, first, _, _ = ingested
    again = ingest(settings, Path(FILE), "online_retail")
    assert (again.accepted, again.duplicate, again.differing) == (0, 320_705, 0)
    assert again.lake_version == first.lake_version == lake.version(settings.workspace.lake)
    bounds = lake.data_bounds(settings.workspace.lake)
    assert (bounds.rows, bounds.version) == (16_459, first.lake_version)
