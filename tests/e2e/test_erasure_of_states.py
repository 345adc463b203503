"""Erasure where the states of customers stand on a server."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import redis
from psycopg import sql

from pipelines.events.opening import open_states
from pipelines.privacy.erase import erase
from tests.e2e.state_place import HISTORY, StatePlace, state_place
from tests.servers import needs_postgres, needs_redis


@pytest.fixture(params=["redis", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    return needs_redis() if request.param == "redis" else needs_postgres()


@pytest.fixture
def place(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StatePlace]:
    backend = "redis" if url.startswith("redis") else "postgresql"
    with state_place(backend, url, tmp_path_factory.mktemp("place")) as made:
        try:
            yield made
        finally:
            if backend == "redis":
                open_states(made.settings).remove_spec(made.settings.features.hash)
            else:
                with psycopg.connect(url, autocommit=True) as connection:
                    schema = sql.Identifier(f"customer_twin_{made.settings.workspace.name}")
                    connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))


def everything(place: StatePlace, url: str) -> bytes:
    """All that the server has of the workspace."""
    name = place.settings.workspace.name
    if url.startswith("redis"):
        client = redis.Redis.from_url(url)
        keys = sorted(client.scan_iter(match=f"customer_twin:{{{name}}}:*"))
        return b"".join(part for key in keys for part in (key, client.dump(key) or b""))
    with psycopg.connect(url) as connection:
        table = sql.Identifier(f"customer_twin_{name}", "customer_state")
        rows = connection.execute(sql.SQL("SELECT customer_id FROM {}").format(table)).fetchall()
    return "".join(row[0] for row in rows).encode()


def test_nothing_of_the_customer_is_left_there_and_everybody_else_is_as_before(place: StatePlace, url: str) -> None:
    storage, spec = open_states(place.settings), place.settings.features.hash
    before = storage.get_many(spec, HISTORY)
    assert HISTORY[1].encode() in everything(place, url)
    report = erase(place.settings, HISTORY[1], reason="case 1", actor="test")
    assert report.found == []
    assert HISTORY[1].encode() not in everything(place, url)
    after = storage.get_many(spec, HISTORY)
    assert after == {who: state for who, state in before.items() if who != HISTORY[1]}
    assert storage.count(spec) == len(HISTORY) - 1


def test_what_is_still_there_is_found(place: StatePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_states(place.settings)
    monkeypatch.setattr(type(storage), "erase", lambda self, customer_ids: None)
    report = erase(place.settings, HISTORY[1], reason="case 1", actor="test")
    assert [trace["file"] for trace in report.found] == ["states of customers"]
    monkeypatch.undo()
    assert erase(place.settings, HISTORY[1], reason="case 1", actor="test").found == []
