"""The service on the profile `server`, states in Redis: live events in PostgreSQL, which goes away and comes back."""

from __future__ import annotations

import shutil
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

import httpx
import psycopg
import pytest
from psycopg import sql

from feature_repo.state.backends import URL_VARIABLES
from feature_repo.state.build import build_states
from feature_repo.state.storage import StateStorage
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.cli.data import compact_live
from pipelines.cli.features import build_state
from pipelines.console import UserError
from pipelines.events.journal_postgres import URL_VARIABLE
from pipelines.events.opening import event_store, open_journal, open_states
from pipelines.identity.current import current_membership
from pipelines.settings import CHECKOUT, Settings, Workspace, load_settings
from serving.__main__ import main
from tests.contract.test_journal import Gateway
from tests.e2e.test_service import Server
from tests.servers import needs_postgres, needs_redis
from tests.unit.serving_parts import ingest_key, make_shop

pytestmark = pytest.mark.slow
CUSTOMERS = tuple(f"C{number}" for number in range(5))


@dataclass
class Place:
    """A workspace whose journal is in PostgreSQL, a server in it, and the gateway between the two."""

    settings: Settings
    key: str
    server: Server
    gateway: Gateway

    def order(self, message_id: str, customer: str) -> httpx.Response:
        properties = {"order_id": message_id, "total": 99.5}
        body = {"messageId": message_id, "userId": customer, "event": "Order Completed", "properties": properties}
        url = f"{self.server.url()}/v1/track"
        return httpx.post(url, json=body, auth=(self.key, ""), timeout=60, trust_env=False)

    def predict(self, customer: str) -> httpx.Response:
        body = {"customer_id": customer}
        return httpx.post(
            f"{self.server.url()}/v1/predict", json=body, auth=(self.key, ""), timeout=60, trust_env=False
        )

    def message_ids(self) -> list[str]:
        with event_store(self.settings) as store:
            return sorted(store.read()["event_id"].to_pylist())

    def states(self, storage: StateStorage) -> dict[str, bytes]:
        found = storage.get_many(self.settings.features.hash, CUSTOMERS)
        return {who: state.data for who, state in found.items() if state.data}

    def assert_states_are_right(self) -> None:
        workspace = self.settings.workspace
        file = workspace.root / "rebuilt.db"
        file.unlink(missing_ok=True)
        with event_store(self.settings) as store:
            now = store.snapshot()
        members, storage = current_membership(self.settings), SQLiteStateStorage(file)
        build_states(self.settings.features, workspace.lake, storage, now.version, tail=now.tail, membership=members)
        assert self.states(open_states(self.settings)) == self.states(SQLiteStateStorage(file)) != {}


@pytest.fixture(scope="module")
def server_url() -> str:
    return needs_postgres()


@pytest.fixture(scope="module")
def place(server_url: str) -> Iterator[Place]:
    with psycopg.connect(server_url) as connection:
        host, port = connection.info.host, connection.info.port
    if host.startswith("/"):
        pytest.skip("the server is reached by a socket file, which cannot be stood before")
    gateway = Gateway(host, port)
    shop = make_shop(CHECKOUT)
    workspace = Workspace(f"test-pg-{uuid.uuid4().hex[:12]}")
    shop.settings = replace(shop.settings, workspace=workspace)
    shop.publish(version="1")
    key = ingest_key(workspace, scopes=("ingest", "predict"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWIN_PROFILE", "server")
        patch.setenv(URL_VARIABLES["redis"], needs_redis())
        patch.setenv(URL_VARIABLE, psycopg.conninfo.make_conninfo(server_url, host="127.0.0.1", port=gateway.port))
        settings = replace(load_settings(workspace.name), workspace=workspace)
        made = Place(settings, key, Server(workspace.name, "--port", "0"), gateway)
        try:
            yield made
        finally:
            made.server.kill()
            open_states(settings).remove_spec(settings.features.hash)
            gateway.close()
            shutil.rmtree(workspace.root)
            with psycopg.connect(server_url, autocommit=True) as connection:
                schema = sql.Identifier(f"customer_twin_{workspace.name}")
                connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))


def test_events_over_http_stand_in_postgresql_and_are_predicted_from(place: Place, server_url: str) -> None:
    for number, customer in enumerate(CUSTOMERS[:4]):
        assert place.order(f"m{number}", customer).json()["accepted"] == 1
    assert place.order("m0", "C0").json()["duplicates"] == 1
    assert place.predict("C0").status_code == 200
    assert place.predict("C4").status_code == 404
    with psycopg.connect(server_url) as connection:
        table = sql.Identifier(f"customer_twin_{place.settings.workspace.name}", "journal_events")
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
    assert row == (4,)
    assert not place.settings.workspace.journal.exists()
    place.assert_states_are_right()


def test_compaction_and_a_build_of_the_states(place: Place) -> None:
    assert compact_live(place.settings).moved == 4
    place.assert_states_are_right()
    assert place.order("m4", "C1").status_code == 200
    assert place.order("m1", "C1").json()["duplicates"] == 1
    place.assert_states_are_right()
    assert build_state(place.settings).moved == 1
    assert place.predict("C1").status_code == 200
    place.assert_states_are_right()
    assert place.message_ids() == [f"m{number}" for number in range(5)]


def test_while_postgresql_is_away_callers_are_told_to_come_again(place: Place) -> None:
    assert place.order("g0", "C2").status_code == 200
    place.gateway.shut()
    for _ in range(2):
        refused = place.order("g1", "C2")
        assert refused.status_code == 503, refused.text
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["error"]["code"] == "journal_unavailable"
    # What needs no journal goes on.
    assert place.predict("C2").status_code == 200
    place.gateway.open()
    assert place.order("g1", "C2").status_code == 200
    assert place.order("g0", "C2").json()["duplicates"] == 1
    assert place.message_ids() == ["g0", "g1", *(f"m{number}" for number in range(5))]
    place.assert_states_are_right()


def test_a_service_that_starts_without_postgresql_takes_events_once_it_is_back(place: Place) -> None:
    place.server.kill()
    place.gateway.shut()
    place.server = Server(place.settings.workspace.name, "--port", "0")
    assert place.order("h0", "C4").status_code == 503
    place.gateway.open()
    assert place.order("h0", "C4").status_code == 200
    assert place.predict("C4").status_code == 200
    place.assert_states_are_right()


def test_without_an_address_the_service_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TWIN_PROFILE", "server")
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    assert main(["--port", "0"]) == 1
    assert URL_VARIABLE in capsys.readouterr().err


def test_without_the_driver_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWIN_PROFILE", "server")
    monkeypatch.setitem(sys.modules, "pipelines.events.journal_postgres", None)
    with pytest.raises(UserError, match=r"customer-twin\[server\]"):
        open_journal(load_settings())
