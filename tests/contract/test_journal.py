"""What every journal has to do; one subclass a backend."""

from __future__ import annotations

import multiprocessing
import resource
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from feature_repo.event_table import EVENT_SCHEMA
from pipelines.console import UserError
from pipelines.events.journal import (
    COLUMNS,
    Appended,
    Journal,
    JournalUnavailable,
    NewEvent,
    StoredEvent,
    UnstorableEvent,
    decode,
)
from pipelines.events.journal_postgres import URL_VARIABLE, PostgresJournal
from pipelines.events.journal_sqlite import SQLiteJournal
from tests.reference.naive_journal import NaiveJournal
from tests.servers import needs_postgres

NOON = 1_767_268_800_000_000
# What a process needs to open the same journal as another: picklable.
Opening = Callable[[], Journal]


def event(number: int, source: str = "shop", user: str | None = "C1", **fields: Any) -> NewEvent:
    made = NewEvent(source, f"e{number}", "order completed", NOON + number, NOON + number, "web", user_id=user)
    return replace(made, **fields)


FULL = event(
    1,
    anonymous_id="ก'; DROP TABLE journal_events; --",
    identifiers={"email": "a@example.com", "line_id": "U\u0000x"},
    value=-(2**63),
    currency="THB",
    properties={"note": "สวัสดี 🙂", "deep": [{"n": None}, 2**60, 1.0], "": {}},
)


NUMBERS = st.integers(0, 12)
KEYS = st.lists(st.tuples(st.sampled_from(["shop", "app"]), NUMBERS.map("e{}".format)), max_size=6, unique=True)
BATCH = st.lists(
    st.builds(event, NUMBERS, source=st.sampled_from(["shop", "app"]), user=st.sampled_from(["C1", "C2", None])),
    max_size=8,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), BATCH),
        st.tuples(st.just("reserve"), st.integers(0, 5)),
        st.tuples(st.just("remember"), KEYS),
        st.tuples(st.just("remove_until"), st.integers(0, 30)),
        st.tuples(st.just("read"), st.tuples(st.integers(0, 20), st.integers(0, 9))),
    ),
    max_size=25,
)


def take(journal: Any, step: tuple[str, Any]) -> Any:
    name, argument = step
    if name == "remember":
        return journal.remember(argument, journal.reserve(len(argument)))
    return getattr(journal, name)(argument)


def write_own_and_shared(opening: Opening, name: str, ready: Any) -> None:
    """Run in a process of its own: batches of events nobody else has, and one event everyone has."""
    ready.wait(60)
    with closing(opening()) as journal:
        for batch in range(100):
            journal.append([event(batch * 3 + index, name) for index in range(3)] + [event(batch, "shared")])


class JournalContract:
    """Subclass it with fixtures `opening` and `no_room`."""

    @pytest.fixture
    def journal(self, opening: Opening) -> Iterator[Journal]:
        with closing(opening()) as journal:
            yield journal

    def test_nothing_is_there_at_first(self, journal: Journal) -> None:
        assert journal.read(0, 10) == []
        assert journal.read_identifiers({("user_id", "C1"): 0}) == []
        assert journal.last_position() == 0
        assert journal.contains([("shop", "e1")]) == set()
        assert journal.append([]) == []
        assert journal.contains([]) == set()

    def test_an_event_comes_back_as_it_was(self, journal: Journal) -> None:
        assert journal.append([FULL]) == [Appended(1, False)]
        assert journal.read(0, 10) == [StoredEvent(1, FULL)] == journal.read_identifiers({("user_id", "C1"): 0})
        assert [decode(row) for row in journal.read_rows(0, 10)] == [StoredEvent(1, FULL)]

    def test_positions_ascend_and_a_duplicate_keeps_its_own(self, journal: Journal) -> None:
        assert journal.append([event(1), event(2), event(1)]) == [(1, False), (2, False), (1, True)]
        assert journal.append([event(3), event(2, properties={"other": 1})]) == [(3, False), (2, True)]
        assert [each.event for each in journal.read(0, 10)] == [event(1), event(2), event(3)]

    def test_source_and_id_together_are_the_key(self, journal: Journal) -> None:
        pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", "")]
        answers = journal.append([event(0, source, event_id=number) for source, number in pairs])
        assert answers == [(position, False) for position in (1, 2, 3, 4)]
        assert journal.contains([*pairs, ("abc", "abc")]) == set(pairs)

    def test_a_duplicate_is_known_after_its_row_went(self, journal: Journal) -> None:
        journal.append([event(1), event(2), event(3)])
        journal.remove_until(2)
        assert [each.position for each in journal.read(0, 10)] == [3]
        assert journal.append([event(1), event(4)]) == [(1, True), (4, False)]
        journal.remove_until(99)
        journal.remove_until(99)
        assert journal.read(0, 10) == []
        assert journal.last_position() == 4

    def test_reserved_positions_are_never_given_again(self, journal: Journal) -> None:
        assert journal.reserve(5) == 1
        assert journal.append([event(1)]) == [(6, False)]
        assert (journal.reserve(1), journal.reserve(0), journal.last_position()) == (7, 8, 7)
        with pytest.raises(ValueError, match="negative"):
            journal.reserve(-1)

    def test_a_bulk_load_makes_its_keys_known(self, journal: Journal) -> None:
        journal.append([event(1)])
        keys = [("shop", f"e{number}") for number in range(25_000)]
        first = journal.reserve(len(keys))
        for _ in range(2):
            journal.remember(keys, first)
        assert len(journal.contains([*keys, ("shop", "other")])) == 25_000
        assert journal.append([event(1), event(7)]) == [(1, True), (first + 7, True)]

    def test_what_is_erased_is_gone_for_ever_and_its_key_stays(
        self, journal: Journal, on_disk: Callable[[], bytes]
    ) -> None:
        marked = [event(n, user=f"person-{n % 2}", properties={"note": f"note-{n}" * 50}) for n in range(8)]
        journal.append(marked)
        journal.remove_until(2)
        stored = journal.read(0, 100)
        theirs = [each for each in stored if each.event.user_id == "person-1"]
        loaded = StoredEvent(999, event(77, user="person-1"))
        other = next(each for each in stored if each.event.user_id == "person-0")
        altered = StoredEvent(other.position, replace(other.event, properties={"note": "new"}, anonymous_id="kept"))
        elsewhere = StoredEvent(500, event(78))
        assert b"note-7" in on_disk()
        for _ in range(2):
            journal.erase([*theirs, loaded], [altered, elsewhere])
        left = [altered if each.position == other.position else each for each in stored if each not in theirs]
        assert journal.read(0, 1000) == left
        assert journal.read_identifiers({("user_id", "person-1"): 0}) == []
        assert journal.read_identifiers({("anonymous_id", "kept"): 0}) == [altered]
        content = on_disk()
        assert b"person-1" not in content
        assert not any(f"note-{n}n".encode() in content for n in (0, 1, 3, 5, 7)), "also what compaction had removed"
        assert f"note-{other.event.event_id[1:]}n".encode() not in content
        assert b"person-0" in content
        answers = journal.append([*marked, loaded.event])
        assert all(answer.duplicate for answer in answers)
        assert journal.append([event(78)]) == [(9, False)]

    def test_rows_are_found_by_each_of_their_identifiers(self, journal: Journal) -> None:
        journal.append([event(number, user=f"C{number % 3}" if number % 3 else None) for number in range(9)])
        journal.append([event(9, user="C2", anonymous_id="C1", identifiers={"email": "x", "odd": 7})])

        def found(*identifiers: tuple[str, str], after: int = 0) -> list[int]:
            return [each.position for each in journal.read_identifiers(dict.fromkeys(identifiers, after))]

        assert found(("user_id", "C1"), after=2) == [5, 8]
        assert found(("user_id", "C1"), ("anonymous_id", "C1")) == [2, 5, 8, 10]
        assert found(("email", "x")) == found(("user_id", "C2"), ("email", "x"), after=9) == [10]
        assert found(("email", "y")) == found(("email", "C1")) == found() == []
        each = journal.read_identifiers({("user_id", "C1"): 4, ("user_id", "C2"): 7, ("email", "x"): 10})
        assert [stored.position for stored in each] == [5, 8, 9, 10]
        journal.remove_until(5)
        assert found(("user_id", "C1")) == [8]
        many = [("user_id", f"C{number}") for number in range(3_000)]
        assert found(*many) == [6, 8, 9, 10]

    @pytest.mark.parametrize("name", ["source", "event_id", "event", "user_id", "anonymous_id", "channel", "currency"])
    @pytest.mark.parametrize("value", ["a\0b", "\ud800", 7])
    def test_text_that_cannot_be_kept_is_refused(self, journal: Journal, name: str, value: object) -> None:
        with pytest.raises(UnstorableEvent, match=f"event 1 of the batch: {name}"):
            journal.append([event(1), replace(event(2), **{name: value})])
        assert journal.last_position() == 0

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("event_time", 2**63),
            ("available_at", 1.5),
            ("value", True),
            ("properties", {"a": object()}),
            ("properties", {"a": "\udfff"}),
            ("identifiers", ["a"]),
        ],
    )
    def test_values_that_cannot_be_kept_are_refused(self, journal: Journal, name: str, value: object) -> None:
        with pytest.raises(UnstorableEvent, match=name):
            journal.append([replace(event(2), **{name: value})])
        assert journal.append([event(2)]) == [(1, False)]

    def test_what_was_appended_is_there_after_reopening(self, opening: Opening) -> None:
        with closing(opening()) as journal:
            identity = journal.identity
            journal.append([event(1), event(2)])
            journal.remove_until(1)
            assert journal.reserve(3) == 3
        with closing(opening()) as journal:
            assert journal.identity == identity
            assert journal.append([event(1), event(2), event(3)]) == [(1, True), (2, True), (6, False)]

    def test_a_closed_journal_says_so(self, opening: Opening) -> None:
        journal = opening()
        waiting = [journal.submit([event(number)]) for number in range(50)]
        journal.close()
        journal.close()
        assert [each.result(0)[0].position for each in waiting] == list(range(1, 51))
        for call in (lambda: journal.append([event(1)]), lambda: journal.read(0, 1), lambda: journal.reserve(1)):
            with pytest.raises(JournalUnavailable, match="closed"):
                call()

    def test_an_append_cancelled_in_time_stores_nothing(self, journal: Journal) -> None:
        waiting = [journal.submit([event(number)]) for number in range(300)]
        cancelled = [number for number, each in enumerate(waiting) if each.cancel()]
        # What is submitted last is stored last.
        waiting.append(journal.submit([event(300)]))
        waiting[-1].result(30)
        stored = {each.result()[0].position for number, each in enumerate(waiting) if number not in cancelled}
        assert {each.position for each in journal.read(0, 1000)} == stored
        assert len(stored) == 301 - len(cancelled)

    # Each example has a journal of its own; one example runs against every backend.
    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(steps=STEPS)
    def test_any_walk_ends_as_the_naive_journal_does(self, fresh: Callable[[], Opening], steps: list[Any]) -> None:
        naive = NaiveJournal()
        with closing(fresh()()) as journal:
            for step in steps:
                if step[0] == "read":
                    after, limit = step[1]
                    expected = [each for each in naive.stored if each.position > after]
                    assert journal.read(after, limit) == expected[:limit]
                    owned = [each for each in expected if each.event.user_id == "C1"]
                    assert journal.read_identifiers({("user_id", "C1"): after}) == owned
                else:
                    assert take(journal, step) == take(naive, step)
                assert journal.last_position() == naive.last
            asked = [(source, f"e{number}") for source in ("shop", "app") for number in range(13)]
            assert journal.contains(asked) == set(asked) & naive.known.keys()

    def test_eight_threads_lose_and_double_nothing(self, journal: Journal) -> None:
        watching = threading.Event()
        gaps: list[int] = []

        def watch() -> None:
            seen = 0
            while not watching.is_set():
                after = seen
                for each in journal.read(after, 10_000):
                    # Positions are given without a gap here, so a gap is a row that became visible late.
                    gaps.extend([each.position] if each.position != seen + 1 else [])
                    seen = each.position

        def write(name: int) -> list[list[Appended]]:
            batches = ([event(b * 4 + i, f"own{name}") for i in range(4)] + [event(b, "shared")] for b in range(40))
            return [journal.append(batch) for batch in batches]

        watcher = threading.Thread(target=watch)
        watcher.start()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(write, range(8)))
        watching.set()
        watcher.join()
        assert gaps == []
        new = [answer.position for batches in answers for batch in batches for answer in batch if not answer.duplicate]
        assert sorted(new) == list(range(1, 8 * 160 + 40 + 1))
        assert all(positions == sorted(positions) for positions in ([b[0].position for b in one] for one in answers))
        stored = journal.read(0, 10_000)
        assert [each.position for each in stored] == sorted(new)
        assert len({(each.event.source, each.event.event_id) for each in stored}) == len(new)

    def test_two_processes_share_one_journal(self, opening: Opening) -> None:
        spawn = multiprocessing.get_context("spawn")
        # Neither finds the tables made: they make them at the same time.
        ready = spawn.Barrier(2)
        workers = [spawn.Process(target=write_own_and_shared, args=(opening, f"own{n}", ready)) for n in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [0, 0]
        with closing(opening()) as journal:
            stored = journal.read(0, 1000)
        assert [each.position for each in stored] == list(range(1, 2 * 300 + 100 + 1))
        assert len({(each.event.source, each.event.event_id) for each in stored}) == len(stored)

    def test_while_it_cannot_write_it_says_so_and_then_goes_on(
        self, opening: Opening, no_room: Callable[[], Any]
    ) -> None:
        big = {"text": "x" * 1000}
        with closing(opening()) as journal:
            journal.append([event(number) for number in range(10)])
            with no_room():
                for first in (100, 5_000):
                    batch = [event(number, properties=big) for number in range(first, first + 2_000)]
                    with pytest.raises(JournalUnavailable):
                        journal.append(batch)
            assert journal.last_position() == 10
            assert len(journal.read(0, 10_000)) == 10
            assert journal.append([event(5), event(100)]) == [(6, True), (11, False)]


def test_the_columns_are_those_of_the_event_table() -> None:
    assert list(COLUMNS) == EVENT_SCHEMA.names


class OpenSQLite:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> Journal:
        return SQLiteJournal(self.path)


class TestSQLite(JournalContract):
    @pytest.fixture
    def fresh(self, tmp_path: Path) -> Callable[[], Opening]:
        return lambda: OpenSQLite(tmp_path / uuid.uuid4().hex / "journal.db")

    @pytest.fixture
    def opening(self, tmp_path: Path) -> Opening:
        return OpenSQLite(tmp_path / "events" / "journal.db")

    @pytest.fixture
    def no_room(self) -> Callable[[], Any]:
        @contextmanager
        def files_at_most() -> Iterator[None]:
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        return files_at_most

    @pytest.fixture
    def on_disk(self, tmp_path: Path) -> Callable[[], bytes]:
        return lambda: b"".join(file.read_bytes() for file in sorted((tmp_path / "events").iterdir()))

    def test_each_commit_waits_for_the_disk(self, tmp_path: Path) -> None:
        journal = SQLiteJournal(tmp_path / "journal.db")
        with closing(journal), journal._pool.taken() as connection:
            assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def test_a_full_database_is_told_in_words(self, tmp_path: Path) -> None:
        journal = SQLiteJournal(tmp_path / "journal.db")
        with closing(journal):
            with journal._pool.taken() as connection:
                pages = connection.execute("PRAGMA page_count").fetchone()[0]
                connection.execute(f"PRAGMA max_page_count = {pages + 5}")
            with pytest.raises(JournalUnavailable, match="the disk is full; make room"):
                journal.append([event(number, properties={"text": "x" * 1000}) for number in range(100)])
            assert journal.read(0, 10) == []
            assert journal.append([event(1)]) == [(1, False)]

    def test_a_writer_that_holds_the_file_too_long(self, tmp_path: Path) -> None:
        with (
            closing(SQLiteJournal(tmp_path / "journal.db")) as other,
            closing(SQLiteJournal(tmp_path / "journal.db", wait_seconds=0.1)) as journal,
        ):
            with other._transaction(), pytest.raises(JournalUnavailable, match="locked"):
                journal.append([event(1)])
            assert journal.append([event(1)]) == [(1, False)]


class OpenPostgres:
    def __init__(self, url: str, schema: str) -> None:
        self.url, self.schema = url, schema

    def __call__(self) -> Journal:
        return PostgresJournal(self.url, self.schema)


class Gateway:
    """A way to the server that can be shut: what a client sees when the server goes away and comes back."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open = True
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self) -> None:
        self._open = False
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def open(self) -> None:
        self._open = True

    def close(self) -> None:
        self.shut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._open:
                client.close()
                continue
            server = socket.create_connection(self._target)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((client, server))
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass_on(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65_536):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)


class TestPostgres(JournalContract):
    @pytest.fixture(scope="class")
    def server(self) -> str:
        return needs_postgres()

    @pytest.fixture
    def fresh(self, server: str) -> Iterator[Callable[[], Opening]]:
        made: list[str] = []

        def schema() -> Opening:
            made.append(f"journal_test_{uuid.uuid4().hex}")
            return OpenPostgres(server, made[-1])

        yield schema
        with psycopg.connect(server, autocommit=True) as connection:
            for name in made:
                connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))

    @pytest.fixture
    def gateway(self, server: str) -> Iterator[Gateway]:
        with psycopg.connect(server) as connection:
            host, port = connection.info.host, connection.info.port
        if host.startswith("/"):
            pytest.skip("the server is reached by a socket file, which cannot be stood before")
        gateway = Gateway(host, port)
        yield gateway
        gateway.close()

    @pytest.fixture
    def opening(self, request: pytest.FixtureRequest, fresh: Callable[[], Opening], server: str) -> Opening:
        made = fresh()
        if "no_room" in request.fixturenames:
            gateway = request.getfixturevalue("gateway")
            url = psycopg.conninfo.make_conninfo(server, host="127.0.0.1", port=gateway.port)
            return OpenPostgres(url, made.schema)  # type: ignore[attr-defined]
        return made

    @pytest.fixture
    def on_disk(self, opening: Opening, server: str) -> Callable[[], bytes]:
        def read() -> bytes:
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute("CHECKPOINT")
                query = """SELECT pg_read_binary_file(pg_relation_filepath(f.oid)) FROM pg_class c
                  JOIN pg_class f ON f.oid IN (c.oid, c.reltoastrelid)
                  WHERE c.relnamespace = %s::regnamespace AND pg_relation_filepath(f.oid) IS NOT NULL"""
                found = connection.execute(query, (opening.schema,)).fetchall()  # type: ignore[attr-defined]
            return b"".join(content for (content,) in found)

        return read

    @pytest.fixture
    def no_room(self, gateway: Gateway) -> Callable[[], Any]:
        @contextmanager
        def server_gone() -> Iterator[None]:
            gateway.shut()
            yield
            gateway.open()

        return server_gone

    def test_the_server_goes_while_threads_append(self, opening: Opening, no_room: Any, gateway: Gateway) -> None:
        acknowledged: list[Appended] = []
        refused: list[JournalUnavailable] = []

        def write(name: int) -> None:
            for number in range(150):
                try:
                    acknowledged.extend(journal.append([event(number, f"own{name}")]))
                except JournalUnavailable as error:
                    refused.append(error)
                if name == number == 0:
                    gateway.shut()
                if name == 1 and number == 100:
                    gateway.open()

        with closing(opening()) as journal:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(write, range(4)))
            gateway.open()
            stored = [each.position for each in journal.read(0, 1000)]
        assert refused
        assert len(set(stored)) == len(stored)
        assert {answer.position for answer in acknowledged} <= set(stored)
        assert len(acknowledged) + len(refused) == 600

    def test_one_refusal_tells_that_all_connections_are_dead(
        self, opening: Any, no_room: Any, server: str, gateway: Gateway
    ) -> None:
        journal = PostgresJournal(opening.url, opening.schema)
        with closing(journal):
            with journal._pool.taken(), journal._pool.taken(), journal._pool.taken():
                pass
            with no_room(), pytest.raises(JournalUnavailable):
                journal.read(0, 1)
            assert journal.append([event(1)]) == [(1, False)]
            assert len(journal.read(0, 1)) == 1

    def test_a_commit_waits_for_the_disk_whatever_the_server_does_by_default(self, server: str, opening: Any) -> None:
        url = psycopg.conninfo.make_conninfo(server, options="-c synchronous_commit=off")
        journal = PostgresJournal(url, opening.schema)
        with closing(journal), journal._pool.taken() as connection:
            assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)

    def test_no_server_at_all(self) -> None:
        with pytest.raises(JournalUnavailable, match="PostgreSQL cannot be used now"):
            PostgresJournal("host=127.0.0.1 port=1 user=nobody", "unused")

    def test_the_address_comes_from_the_environment(
        self, server: str, opening: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(URL_VARIABLE, server)
        with closing(PostgresJournal(schema=opening.schema)) as journal:
            assert journal.append([event(1)]) == [(1, False)]
        monkeypatch.delenv(URL_VARIABLE)
        with pytest.raises(UserError, match=URL_VARIABLE):
            PostgresJournal(schema=opening.schema)
