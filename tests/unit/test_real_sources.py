"""The mapping of every real file on the whole file, each event against an oracle that reads it with `csv`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipelines.events import lake
from pipelines.ingest import IngestReport, commit, stage
from pipelines.settings import CHECKOUT, Settings
from pipelines.validate import ValidationReport, validate_batch
from tests.real_data import DATA, ingest
from tests.reference.real_sources import ORACLES, micros, rows_of, told
from tests.sources_table import FILES, people, settings_in, table_line
from tests.unit.ingest_parts import stored

pytestmark = pytest.mark.slow

ROWS = {
    "bpi2012": 170_785,
    "grocery_baskets": 100_000,
    "grocery_mailings": 6_589,
    "grocery_redemptions": 2_102,
    "olist_leads": 8_000,
    "olist_deals": 842,
    "airbnb_sessions": 7_756,
    "open_bandit_random": 10_000,
    "open_bandit_bts": 10_000,
}
# Nobody logged in, or visitors are not told apart: these events are nobody's features.
ANONYMOUS = {"airbnb_sessions", "open_bandit_random", "open_bandit_bts"}


@dataclass(frozen=True)
class Loaded:
    """One real file in a workspace of its own."""

    settings: Settings
    report: IngestReport
    validation: ValidationReport
    events: dict[str, dict[str, Any]]


def _file(source: str) -> Path:
    return DATA / FILES[source]


each = pytest.mark.parametrize(
    "source",
    [pytest.param(name, marks=pytest.mark.skipif(not _file(name).is_file(), reason="no data")) for name in ORACLES],
)


def needs(source: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not _file(source).is_file(), reason="no data")


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def loaded(source: str) -> Loaded:
        settings = settings_in(tmp_path_factory.mktemp(source))
        batch = stage(settings, source, _file(source))
        validation = validate_batch(settings, batch.events, source)
        report = commit(batch)
        return Loaded(settings, report, validation, {event["event_id"]: event for event in stored(settings)})

    return loaded


def _at(text: str) -> int:
    return micros(datetime.fromisoformat(text).astimezone(UTC))


@each
def test_every_row_is_accounted_for(load: Any, source: str) -> None:
    report = load(source).report
    assert (report.read, report.accepted, report.duplicate, report.quarantined) == (ROWS[source], ROWS[source], 0, 0)


@each
def test_every_event_is_what_its_rows_say(load: Any, source: str) -> None:
    expected = ORACLES[source](_file(source))
    loaded = load(source)
    assert loaded.report.events == Counter(event["event"] for event in expected.values())
    assert {key: told(event) for key, event in loaded.events.items()} == expected


@each
def test_great_expectations_find_nothing_but_visitors_without_a_name(load: Any, source: str) -> None:
    failed = {result.name for result in load(source).validation.results if not result.success}
    assert failed == ({"mostly_known_customers"} if source in ANONYMOUS else set())


@each
def test_the_readme_tells_the_same_numbers(load: Any, source: str) -> None:
    loaded = load(source)
    told_there = (CHECKOUT / "configs" / "sources" / "README.md").read_text(encoding="utf-8").splitlines()
    assert table_line(loaded.report, people(loaded.settings)) in told_there


@each
def test_again_changes_nothing(load: Any, source: str) -> None:
    loaded = load(source)
    again = ingest(loaded.settings, source, _file(source))
    assert (again.accepted, again.duplicate, again.differing) == (0, ROWS[source], 0)
    bounds = lake.data_bounds(loaded.settings.workspace.lake)
    assert (bounds.rows, bounds.version) == (len(loaded.events), loaded.report.lake_version)


@needs("bpi2012")
def test_an_application_by_hand(load: Any) -> None:
    """Application 173688: 20,000 euros on a web page, offered, called about, sent back, approved and paid out."""
    events = load("bpi2012").events
    mine = [event for event in events.values() if event["user_id"] == "173688"]
    assert len(mine) == 26
    first = mine[0]
    assert (first["event"], first["value"], first["currency"]) == ("Loan Application Submitted", 2_000_000, "EUR")
    assert first["event_time"] == _at("2011-09-30T22:38:44.546+00:00")
    calls = [event for event in mine if event["channel"] == "call_centre"]
    assert Counter(event["event"] for event in calls) == {
        "Work Item Scheduled": 1,
        "Work Item Started": 3,
        "Work Item Completed": 3,
    }
    # Recorded in one instant: the order of the file is kept.
    at_once = [event["event"] for event in mine if event["event_time"] == _at("2011-10-13T10:37:29.226+02:00")]
    assert at_once == [
        "Loan Application Progressed",
        "Loan Application Approved",
        "Loan Offer Accepted",
        "Loan Activated",
    ]


@needs("grocery_baskets")
def test_a_line_of_almost_nothing_is_worth_nothing(load: Any) -> None:
    """4.440892e-16 dollars, what a float leaves of a price and its discount."""
    basket = load("grocery_baskets").events["32478901200"]
    line = next(item for item in basket["properties"]["products"] if item["product_id"] == "13945244")
    assert (line["total"], line["quantity"]) == (0, 0)
    assert (basket["user_id"], basket["event_time"]) == ("2491", _at("2017-03-27T17:15:00+00:00"))


@needs("grocery_baskets")
def test_basket_times_are_utc_of_shops_in_new_yorks_zone() -> None:
    """Read so, no day belongs to two of the file's weeks; read as local times, 51 do."""
    weeks: dict[Any, set[str]] = {}
    as_written: dict[Any, set[str]] = {}
    for row in rows_of(_file("grocery_baskets")):
        at = datetime.fromisoformat(row["transaction_timestamp"])
        there = at.replace(tzinfo=UTC).astimezone(ZoneInfo("America/New_York"))
        weeks.setdefault(there.date(), set()).add(row["week"])
        as_written.setdefault(at.date(), set()).add(row["week"])
    assert all(len(numbers) == 1 for numbers in weeks.values())
    assert sum(len(numbers) > 1 for numbers in as_written.values()) == 51


@needs("grocery_redemptions")
def test_a_redemption_is_known_when_its_day_is_over(load: Any) -> None:
    event = load("grocery_redemptions").events["1029/51380041013/26/2017-01-01"]
    assert (event["event_time"], event["available_at"]) == (
        _at("2017-01-01T00:00:00-05:00"),
        _at("2017-01-02T00:00:00-05:00"),
    )


@needs("grocery_mailings")
def test_a_mailing_is_dated_by_its_campaign(load: Any) -> None:
    event = load("grocery_mailings").events["1/105"]
    assert event["event_time"] == _at("2017-03-03T00:00:00-05:00")
    assert event["properties"] == {"campaign_id": "1", "campaign_type": "B", "ends_at": "2017-04-09T04:00:00.000000Z"}


@needs("olist_leads")
def test_a_day_without_midnight_begins_at_one(load: Any) -> None:
    """Brazil's summer time began on 2017-10-15 at 0:00, which became 1:00."""
    rows = [row for row in rows_of(_file("olist_leads"), ";") if row["first_contact_date"] == "2017.10.15"]
    events = load("olist_leads").events
    assert rows
    assert {events[row["mql_id"]]["event_time"] for row in rows} == {_at("2017-10-15T01:00:00-02:00")}


@needs("olist_deals")
def test_a_deal_by_hand(load: Any) -> None:
    event = load("olist_deals").events["5420aad7fec3549a85876ba1c529bd84"]
    assert (event["event_time"], event["value"]) == (_at("2018-02-26T19:58:00+00:00"), None)
    assert event["identifiers"] == {"seller_id": "2c43fb513632d29b3b58df74816f1b06"}


@needs("open_bandit_bts")
def test_an_impression_by_hand(load: Any) -> None:
    event = load("open_bandit_bts").events["men/0"]
    assert event["event_time"] == _at("2019-11-24T00:01:03.979311+00:00")
    properties = event["properties"]
    assert (properties["variation_id"], properties["position"], properties["propensity"]) == ("2", 2, 0.045525)


@needs("grocery_mailings")
@needs("grocery_redemptions")
def test_sources_of_one_workspace_share_their_customers(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    for source in ("grocery_mailings", "grocery_redemptions"):
        ingest(settings, source, _file(source))
    assert people(settings).customers == 1_559  # every household that redeemed a coupon had got a mailing
