"""What every place for states has to do; one subclass a backend."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg import sql

from feature_repo.state.storage import Progress, StatesLost, StateStorage, StateUnavailable, StoredState, grave
from feature_repo.state.storage_postgres import PostgresStateStorage
from feature_repo.state.storage_redis import RedisStateStorage
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.events.journal import NewEvent
from pipelines.events.journal_sqlite import SQLiteJournal
from tests.servers import needs_postgres, needs_redis

SPEC, OTHER = "spec-one", "spec-two"
WRITERS, WRITES = 4, 25


def state(customer: str, position: int, newest: int = 0) -> StoredState:
    return StoredState(customer, position, newest, f"{customer} at {position}".encode())


def ready(storage: StateStorage) -> StateStorage:
    """With both specs noted, so that states of either can be read."""
    for spec in (SPEC, OTHER):
        storage.note(spec, 0, 0, storage.begin(spec))
    return storage


def write_events(open_storage: Callable[[], StateStorage], journal: Path, name: str) -> None:
    """What one of several processes does: append an event, then fold what the log has after the customer's state.

    A state here is the list of the positions that are in it.
    """
    storage, log = open_storage(), SQLiteJournal(journal)
    for number in range(WRITES):
        log.append([NewEvent(name, str(number), "Order Completed", 0, 0, "web")])
        while True:
            found = storage.get_many(SPEC, ["c1"]).get("c1", StoredState("c1", 0, 0, b""))
            events = log.read(found.position, 10_000)
            if not events:
                break
            data = found.data + b"".join(b"%d;" % event.position for event in events)
            if storage.put_many(SPEC, [StoredState("c1", events[-1].position, 0, data)]) == []:
                break
    log.close()


class StateStorageContract:
    """Subclass it with a fixture `storage`, and one of the same place for other processes, `open_storage`."""

    def test_nothing_is_there_at_first(self, storage: StateStorage) -> None:
        assert storage.get_many(SPEC, ["c1"]) == {}
        assert storage.newest(SPEC) is None
        assert storage.count(SPEC) == 0
        assert storage.spec_hashes() == []
        assert storage.noted("never") is None

    def test_what_was_noted_is_kept_and_its_position_never_falls(self, storage: StateStorage) -> None:
        storage.note(SPEC, 7, 3, storage.begin(SPEC), "build-1")
        assert storage.noted(SPEC) == Progress(7, 3, "build-1")
        storage.note(SPEC, 5, 4, storage.begin(SPEC))
        assert storage.noted(SPEC) == Progress(7, 4, "build-1")
        storage.note(SPEC, 2**52, 4, storage.begin(SPEC), "build-2")
        assert storage.noted(SPEC) == Progress(2**52, 4, "build-2")
        assert storage.noted(OTHER) == Progress(0)
        storage.remove_spec(SPEC)
        assert storage.noted(SPEC) is None

    def test_what_was_put_is_found(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state("c1", 3, 30), state("ลูกค้า 'x", 4, 40)])
        assert storage.get_many(SPEC, ["ลูกค้า 'x", "c1", "c2"]) == {
            "c1": state("c1", 3, 30),
            "ลูกค้า 'x": state("ลูกค้า 'x", 4, 40),
        }
        assert storage.newest(SPEC) == 40
        assert storage.count(SPEC) == 2

    def test_an_older_position_never_overwrites_a_newer_one(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state("c1", 5)])
        storage.put_many(SPEC, [state("c1", 4)])
        assert storage.get_many(SPEC, ["c1"])["c1"].position == 5

    def test_an_older_revision_never_overwrites_a_newer_one_and_is_told(self, storage: StateStorage) -> None:
        assert storage.put_many(SPEC, [replace(state("c1", 5), revision=2), state("c2", 1)]) == []
        assert storage.put_many(SPEC, [replace(state("c1", 9), revision=1), state("c2", 2)]) == ["c1"]
        assert storage.put_many(SPEC, [replace(state("c1", 3), revision=3)]) == []
        found = storage.get_many(SPEC, ["c1", "c2"])
        assert (found["c1"].position, found["c1"].revision, found["c2"].position) == (3, 3, 2)

    def test_a_grave_keeps_older_states_away_and_counts_for_nothing(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state("c1", 5, 50)])
        storage.put_many(SPEC, [grave("c1", 5, 1)])
        assert storage.put_many(SPEC, [state("c1", 6, 60)]) == ["c1"]
        assert storage.count(SPEC) == 0
        assert storage.newest(SPEC) is None
        assert storage.get_many(SPEC, ["c1"])["c1"] == grave("c1", 5, 1)
        assert storage.spec_hashes() == [SPEC]

    def test_the_newest_instant_falls_with_the_state_that_had_it(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state("c1", 1, -5), state("c2", 1, 2**62)])
        assert storage.newest(SPEC) == 2**62
        storage.put_many(SPEC, [replace(state("c2", 1, 7), revision=1)])
        assert storage.newest(SPEC) == 7
        storage.replace_many(SPEC, [state("c2", 1, -9)])
        assert storage.newest(SPEC) == -5
        storage.keep_only(SPEC, ["c2"])
        assert storage.newest(SPEC) == -9

    def test_large_positions_and_every_byte_survive(self, storage: StateStorage) -> None:
        every = bytes(range(256)) * 20
        made = StoredState("c1", 2**63 - 1, 3, every, 2**40)
        storage.put_many(SPEC, [made])
        assert storage.put_many(SPEC, [replace(made, position=2**63 - 2)]) == ["c1"]
        assert storage.get_many(SPEC, ["c1"]) == {"c1": made}

    def test_a_customer_twice_in_a_batch_is_as_if_put_one_after_the_other(self, storage: StateStorage) -> None:
        assert storage.put_many(SPEC, [state("c1", 2), state("c1", 3), state("c1", 1)]) == ["c1"]
        assert storage.get_many(SPEC, ["c1", "c1"]) == {"c1": state("c1", 3)}

    def test_an_id_that_nothing_can_store_is_nobodys(self, storage: StateStorage) -> None:
        assert storage.get_many(SPEC, ["nul\0", "", "x" * 5_000]) == {}

    def test_a_build_replaces_what_stands_there_and_removes_the_rest(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [replace(state("c1", 5), revision=2), state("c2", 1)])
        storage.put_many(OTHER, [state("c2", 1)])
        storage.replace_many(SPEC, [state("c1", 3)])
        storage.keep_only(SPEC, ["c1"])
        assert storage.get_many(SPEC, ["c1", "c2"]) == {"c1": state("c1", 3)}
        assert storage.count(OTHER) == 1

    def test_specs_stand_side_by_side(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state("c1", 1)])
        storage.put_many(OTHER, [state("c1", 2)])
        assert storage.get_many(SPEC, ["c1"])["c1"].position == 1
        assert storage.spec_hashes() == [SPEC, OTHER]
        storage.remove_spec(SPEC)
        assert storage.as_found().get_many(SPEC, ["c1"]) == {}
        assert storage.spec_hashes() == [OTHER]
        assert storage.count(OTHER) == 1

    def test_the_erased_are_gone_from_every_spec_with_their_graves(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state("gone", 1), state("other", 2)])
        storage.put_many(OTHER, [grave("gone", 3, 7), state("other", 2)])
        storage.erase(["gone", "never"])
        for spec in (SPEC, OTHER):
            assert storage.get_many(spec, ["gone", "other"]) == {"other": state("other", 2)}
        assert storage.put_many(OTHER, [state("gone", 1)]) == [], "no grave keeps a new twin away"

    def test_more_customers_than_one_query_holds(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state(f"c{i}", i) for i in range(2_345)])
        found = storage.get_many(SPEC, [f"c{i}" for i in range(3_000)])
        assert len(found) == 2_345

    def test_a_failing_batch_leaves_nothing_half_written(self, storage: StateStorage) -> None:
        def broken() -> object:
            yield state("c1", 1)
            raise RuntimeError("source went away")

        with pytest.raises(RuntimeError, match="went away"):
            storage.put_many(SPEC, broken())  # type: ignore[arg-type]
        assert storage.count(SPEC) == 0

    def test_readers_in_other_threads_see_whole_states(self, storage: StateStorage) -> None:
        torn: list[StoredState] = []

        def read() -> None:
            for _ in range(200):
                found = storage.get_many(SPEC, ["c1"]).get("c1")
                if found is not None and found.data != state("c1", found.position).data:
                    torn.append(found)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for position in range(100):
            storage.put_many(SPEC, [state("c1", position)])
        for thread in threads:
            thread.join()
        assert torn == []

    def test_processes_that_write_one_customer_lose_no_event(
        self, storage: StateStorage, open_storage: Callable[[], StateStorage], tmp_path: Path
    ) -> None:
        journal = tmp_path / "journal.db"
        log = SQLiteJournal(journal)
        fork = get_context("fork")
        writers = [fork.Process(target=write_events, args=(open_storage, journal, f"w{n}")) for n in range(WRITERS)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
        assert [writer.exitcode for writer in writers] == [0] * WRITERS
        positions = [event.position for event in log.read(0, 10_000)]
        log.close()
        assert len(positions) == WRITERS * WRITES
        found = storage.get_many(SPEC, ["c1"])["c1"]
        assert [int(position) for position in found.data.split(b";")[:-1]] == positions


class TestSQLite(StateStorageContract):
    @pytest.fixture
    def open_storage(self, tmp_path: Path) -> Callable[[], StateStorage]:
        return lambda: SQLiteStateStorage(tmp_path / "deeper" / "state.db")

    @pytest.fixture
    def storage(self, open_storage: Callable[[], StateStorage]) -> StateStorage:
        return ready(open_storage())

    def test_a_file_that_is_no_database_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "state.db").write_bytes(b"no database " * 1_000)
        with pytest.raises(StateUnavailable, match="not a database"):
            SQLiteStateStorage(tmp_path / "state.db")

    def test_nothing_of_the_erased_is_left_in_the_file(self, tmp_path: Path) -> None:
        storage = SQLiteStateStorage(tmp_path / "state.db")
        storage.put_many(SPEC, [state(f"person-{n}", n) for n in range(500)])
        storage.erase(["person-7"])
        content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert b"person-8 at 8" in content
        assert b"person-7 at 7" not in content

    def test_a_kill_between_batches_keeps_whole_batches(self, tmp_path: Path) -> None:
        path = tmp_path / "state.db"
        script = f"""
            from pathlib import Path
            from feature_repo.state.storage import StoredState
            from feature_repo.state.storage_sqlite import SQLiteStateStorage
            storage = SQLiteStateStorage(Path({str(path)!r}))
            batch = 0
            while True:
                rows = [StoredState(f"{{batch}}-{{i}}", batch, 0, b"x" * 100) for i in range(50)]
                storage.put_many("spec", rows)
                print(batch, flush=True)
                batch += 1
        """
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        )
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(20)][-1]
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        count = SQLiteStateStorage(path).count("spec")
        assert count % 50 == 0
        assert count >= 50 * (acknowledged + 1)


class TestRedis(StateStorageContract):
    @pytest.fixture
    def open_storage(self) -> Iterator[Callable[[], StateStorage]]:
        url, workspace = needs_redis(), f"test-{uuid.uuid4().hex[:12]}"
        yield lambda: RedisStateStorage(url, workspace)
        client = redis.Redis.from_url(url)
        for key in client.scan_iter(match=f"customer_twin:{{{workspace}}}:*"):
            client.delete(key)

    @pytest.fixture
    def storage(self, open_storage: Callable[[], StateStorage]) -> StateStorage:
        return ready(open_storage())

    def test_a_read_is_one_round_trip(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state(f"c{i}", i) for i in range(50)])
        client = redis.Redis.from_url(needs_redis())
        with client.monitor() as monitor:
            storage.get_many(SPEC, [f"c{i}" for i in range(50)])
            client.echo("the end")
            commands = []
            for command in monitor.listen():
                if command["command"] == "ECHO the end":
                    break
                commands.append(command["command"])
        place = vars(storage)["_prefix"]
        assert [command.split()[0] for command in commands if place in command] == ["HMGET"]

    def test_emptied_it_says_so_until_its_states_were_made_again(self, storage: StateStorage) -> None:
        storage.put_many(SPEC, [state("c1", 1)])
        life = storage.begin(SPEC)
        storage.remove_spec(SPEC)
        with pytest.raises(StatesLost):
            storage.get_many(SPEC, ["c1"])
        assert storage.as_found().get_many(SPEC, ["c1"]) == {}
        # A live event that comes first makes nothing whole, nor does work that was begun before.
        storage.put_many(SPEC, [state("c1", 2)])
        for spec_life in (life, ""):
            with pytest.raises(StatesLost):
                storage.note(SPEC, 2, 0, spec_life)
        with pytest.raises(StatesLost):
            storage.get_many(SPEC, ["c1"])
        storage.note(SPEC, 2, 0, storage.begin(SPEC))
        assert storage.get_many(SPEC, ["c1"]) == {"c1": state("c1", 2)}


class TestPostgreSQL(StateStorageContract):
    @pytest.fixture
    def open_storage(self) -> Iterator[Callable[[], StateStorage]]:
        url, schema = needs_postgres(), f"test states {uuid.uuid4().hex[:12]}"
        yield lambda: PostgresStateStorage(url, schema)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))

    @pytest.fixture
    def storage(self, open_storage: Callable[[], StateStorage]) -> StateStorage:
        return ready(open_storage())
