"""Places for states on a server that is killed, hangs, and is started again. Each test has a server of its own."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from feature_repo.state.storage import Progress, StatesLost, StateStorage, StateUnavailable, StoredState
from feature_repo.state.storage_postgres import PostgresStateStorage
from feature_repo.state.storage_redis import RedisStateStorage
from tests.contract.test_state_storage import SPEC, ready, state
from tests.servers import OwnPostgres, OwnRedis, OwnServer


def soon(read: Callable[[], dict[str, StoredState]]) -> dict[str, StoredState]:
    """What `read` gives once the states can be read."""
    until = time.monotonic() + 20
    while True:
        try:
            return read()
        except StateUnavailable:
            assert time.monotonic() < until
            time.sleep(0.05)


class ServerContract:
    """Subclass it with fixtures `own`, a running server, and `storage` on it."""

    def test_killed_and_started_again_it_is_used_on(self, own: OwnServer, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state("c1", 1)])
        own.kill()
        for _ in range(3):
            with pytest.raises(StateUnavailable):
                storage.get_many(SPEC, ["c1"])
        with pytest.raises(StateUnavailable):
            storage.put_many(SPEC, [state("c1", 2)])
        own.start()
        assert soon(lambda: storage.as_found().get_many(SPEC, ["c1"])) == {"c1": state("c1", 1)}

    def test_a_restart_that_nobody_saw_costs_no_call(self, own: OwnServer, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state("c1", 1)])
        own.kill()
        own.start()
        assert storage.as_found().get_many(SPEC, ["c1"]) == {"c1": state("c1", 1)}

    def test_one_that_hangs_costs_one_time_out(self, own: OwnServer, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state("c1", 1)])
        own.hang()
        try:
            began = time.monotonic()
            with pytest.raises(StateUnavailable):
                storage.get_many(SPEC, ["c1"])
            first = time.monotonic() - began
            for _ in range(100):
                with pytest.raises(StateUnavailable):
                    storage.get_many(SPEC, ["c1"])
            # The service's own time-out is 5 seconds. The others wait for nothing.
            assert first < 5
            assert time.monotonic() - began - first < 1
        finally:
            own.go_on()
        assert soon(lambda: storage.as_found().get_many(SPEC, ["c1"])) == {"c1": state("c1", 1)}


class TestRedis(ServerContract):
    @pytest.fixture
    def own(self, tmp_path: Path) -> Iterator[OwnRedis]:
        server = OwnRedis(tmp_path)
        server.start()
        yield server
        server.end()

    @pytest.fixture
    def storage(self, own: OwnRedis) -> StateStorage:
        return ready(RedisStateStorage(own.url, "test"))

    def test_started_again_it_says_so_until_its_states_were_looked_through(
        self, own: OwnRedis, storage: StateStorage
    ) -> None:
        storage.put_many(SPEC, [state("c1", 1)])
        life = storage.begin(SPEC)
        own.kill()
        own.start()
        with pytest.raises(StatesLost, match="started again"):
            storage.get_many(SPEC, [])
        # Work that was begun before the restart vouches for nothing.
        with pytest.raises(StatesLost):
            storage.note(SPEC, 9, 0, life)
        assert storage.noted(SPEC) == Progress(0)
        other = RedisStateStorage(own.url, "test")
        with pytest.raises(StatesLost):
            other.get_many(SPEC, ["c1"])
        storage.note(SPEC, 1, 0, storage.begin(SPEC))
        for each in (storage, other):
            assert each.get_many(SPEC, ["c1"]) == {"c1": state("c1", 1)}

    def test_nothing_of_the_erased_is_left_in_its_files(self, own: OwnRedis, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state(f"person-{n}", n) for n in range(50)])
        storage.erase(["person-7"])
        content = b"".join(file.read_bytes() for file in own.folder.rglob("*") if file.is_file())
        assert b"person-8 at 8" in content
        assert b"person-7" not in content


class TestPostgreSQL(ServerContract):
    @pytest.fixture(scope="class")
    def server(self) -> Iterator[OwnPostgres]:
        made = OwnPostgres()
        made.start()
        yield made
        made.end()

    @pytest.fixture
    def own(self, server: OwnPostgres) -> OwnPostgres:
        return server

    @pytest.fixture
    def storage(self, own: OwnPostgres) -> StateStorage:
        return ready(PostgresStateStorage(own.url, f"test_{uuid.uuid4().hex[:12]}"))

    def test_nothing_of_the_erased_is_left_in_the_table(self, own: OwnPostgres, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state(f"person-{n}", n) for n in range(500)])
        storage.erase(["person-7"])
        with psycopg.connect(own.url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        content = b"".join(file.read_bytes() for file in (own.folder / "data" / "base").rglob("*") if file.is_file())
        assert b"person-8 at 8" in content
        assert b"person-7 at 7" not in content
