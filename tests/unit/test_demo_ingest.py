"""The demo retailer's files through the real ingest: every row accounted for, every satang there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from deltalake import DeltaTable

from pipelines import ingest
from pipelines.demo import DemoConfig, DemoSummary, generate, source_files
from pipelines.demo.simulation import Simulation, simulate
from pipelines.demo.traits import draw_traits
from pipelines.ingest import IngestReport
from pipelines.settings import Settings, Workspace, load_settings

CONFIG = DemoConfig(customers=150, months=10, seed=3)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkout")


@pytest.fixture(scope="module")
def settings(place: Path) -> Settings:
    return replace(load_settings("demo"), workspace=Workspace("demo", checkout=place))


@pytest.fixture(scope="module")
def demo(place: Path) -> DemoSummary:
    return generate(CONFIG, place / "sources")


@pytest.fixture(scope="module")
def reports(settings: Settings, demo: DemoSummary) -> dict[str, IngestReport]:
    files = source_files(demo.folder)
    return {source: ingest.commit(ingest.stage(settings, source, file)) for source, file in files}


@pytest.fixture(scope="module")
def world() -> Simulation:
    return simulate(CONFIG, draw_traits(CONFIG))


def _ask(settings: Settings, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect() as connection:
        connection.register("events", DeltaTable(str(settings.workspace.lake)).to_pyarrow_dataset())
        return connection.execute(sql).fetchall()


def test_every_row_becomes_an_event_or_is_a_copy(demo: DemoSummary, reports: dict[str, IngestReport]) -> None:
    for source, file in source_files(demo.folder):
        report = reports[source]
        assert report.read == demo.rows[file.name] == report.accepted + report.duplicate, source
        assert report.quarantined == report.differing == 0, source
        copies = source in ("demo_web", "demo_app", "demo_email")
        assert (report.duplicate > 0) == copies, source


def test_orders_keep_their_amounts(settings: Settings, reports: dict[str, IngestReport], world: Simulation) -> None:
    orders, arrived = world.tables["orders"], reports["demo_app"].events["Order Completed"]
    for channel, code in (("web", 0), ("pos", 2)):
        mine = orders["channel"] == code
        known = mine & (orders["customer"] >= 0)
        columns = "count(*), sum(value), count(user_id), sum(CAST(properties ->> '$.units' AS INTEGER))"
        sql = f"SELECT {columns} FROM events WHERE event = 'Order Completed' AND channel = '{channel}'"
        expected = (mine.sum(), orders["total"][mine].sum(), known.sum(), orders["units"][mine].sum())
        assert _ask(settings, sql) == [expected]
    assert 0 <= (orders["channel"] == 1).sum() - arrived <= 5  # on their way at the end


def test_times_of_every_source_mean_the_same_clock(
    settings: Settings, reports: dict[str, IngestReport], world: Simulation
) -> None:
    """The instants of the simulation, whatever zone and format the file wrote them in, to its precision."""
    assert reports
    for source, table, event, unit in (
        ("demo_email", "emails", "Email Delivered", 10**6),
        ("demo_line", "line", "LINE Message Delivered", 10**3),
        ("demo_pos", "orders", "Order Completed", 60 * 10**6),
        ("demo_call_centre", "calls", "%", 10**6),
        ("demo_surveys", "surveys", "%", 10**3),
        ("demo_campaign", "arms", "%", 1),
    ):
        rows = world.tables[table]
        chosen = rows["action"] == 0 if "action" in rows else np.ones(len(rows["at"]), dtype=np.bool_)
        chosen = rows["channel"] == 2 if table == "orders" else chosen
        sql = f"SELECT epoch_us(event_time) FROM events WHERE source = '{source}' AND event LIKE '{event}' ORDER BY 1"
        found = [row[0] for row in _ask(settings, sql)]
        assert found == np.sort(rows["at"][chosen] // unit * unit).tolist(), source


def test_late_events_arrive_after_they_happen(settings: Settings, reports: dict[str, IngestReport]) -> None:
    assert reports
    late_ones = "count(*) FILTER (available_at - event_time > INTERVAL 1 HOUR)"
    [(events, late)] = _ask(settings, f"SELECT count(*), {late_ones} FROM events WHERE source = 'demo_app'")
    assert 0.05 * events < late < 0.11 * events  # type: ignore[operator]
    assert _ask(settings, "SELECT count(*) FROM events WHERE available_at < event_time") == [(0,)]


def test_identifiers_that_name_a_person_stand_apart_from_properties(
    settings: Settings, reports: dict[str, IngestReport]
) -> None:
    assert reports
    kinds = "SELECT DISTINCT unnest(json_keys(identifiers)) AS kind FROM events ORDER BY kind"
    expected = {"cookie", "device_id", "email", "line_id", "loyalty_card", "phone"}
    assert {row[0] for row in _ask(settings, kinds)} == expected
    assert _ask(settings, "SELECT count(*) FROM events WHERE properties LIKE '%@example.%'") == [(0,)]


def test_some_visits_stay_anonymous_and_nothing_is_ownerless(
    settings: Settings, reports: dict[str, IngestReport]
) -> None:
    assert 0.1 < reports["demo_web"].anonymous / reports["demo_web"].accepted < 0.6
    assert _ask(settings, "SELECT count(*) FROM events WHERE user_id IS NULL AND anonymous_id IS NULL") == [(0,)]


def test_a_second_ingest_changes_nothing(
    settings: Settings, demo: DemoSummary, reports: dict[str, IngestReport]
) -> None:
    before = _ask(settings, "SELECT count(*), max(position) FROM events")
    for source, file in source_files(demo.folder)[:1] + source_files(demo.folder)[3:5]:
        again = ingest.commit(ingest.stage(settings, source, file))
        assert (again.accepted, again.duplicate) == (0, reports[source].read)
    assert _ask(settings, "SELECT count(*), max(position) FROM events") == before
