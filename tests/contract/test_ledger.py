"""What every ledger of decisions has to do; one subclass a backend."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from pipelines.decisions.ledger import (
    SOURCE,
    Answered,
    Before,
    Kept,
    Ledger,
    LedgerUnavailable,
    Make,
    OtherQuestion,
    Period,
    Question,
)
from pipelines.decisions.ledger_postgres import PostgresLedger
from pipelines.decisions.ledger_sqlite import SQLiteLedger
from pipelines.decisions.situation import Contact
from pipelines.events.journal import NewEvent
from tests.servers import needs_postgres

NOON = 1_767_268_800_000_000
HOUR = 3_600_000_000
# What a process needs to open the same ledger as another: picklable.
Opening = Callable[[], Ledger]


def kept(name: str, customer: str = "C1", at: int = NOON, contacted: bool = True, cost: int = 0, **more: Any) -> Kept:
    event = NewEvent(
        SOURCE,
        name,
        "Decision Made",
        at,
        at,
        "back_office",
        user_id=customer,
        properties={"note": f"สวัสดี-{name}", "x": 0.1},
    )
    return replace(Kept("mail" if contacted else "no_action", "email", contacted, cost, at, at, event), **more)


def question(name: str, *customers: str, since: int = 0, period: Period | None = None, body: str = "b") -> Question:
    return Question(name, customers or ("C1",), body, since, period)


def fixed(made: Kept) -> Make:
    return lambda before: made


def seeing(seen: list[Before], made: Kept) -> Make:
    """Decides on what is given, and keeps what it was given."""

    def make(before: Before) -> Kept:
        seen.append(before)
        return made

    return make


def never(before: Before) -> Kept:
    pytest.fail("it is decided already")


def capped(
    name: str, customer: str, at: int, most: int, budget: int = 10**9, cost: int = 3
) -> Callable[[Before], Kept]:
    """At most `most` contacts among those that count, and at most `budget` in the period."""

    def make(before: Before) -> Kept:
        # Long enough that others would slip in between, if they could.
        time.sleep(0.0005)
        may = len(before.contacts) < most and before.spent + cost <= budget
        return kept(name, customer, at, may, cost if may else 0)

    return make


def decide_many(opening: Opening, worker: int, customers: list[str], budget: int, ready: Any) -> None:
    """Run in a process of its own."""
    chance = random.Random(worker)
    ready.wait(60)
    with closing(opening()) as ledger:
        for number in range(60):
            customer, name = chance.choice(customers), f"{worker}-{number}"
            asked = question(name, customer, period=Period(NOON, 24 * HOUR))
            ledger.decide(asked, capped(name, customer, NOON + number, 5, budget))


def decide_for_ever(opening: Opening, told: Any) -> None:
    """Run in a process of its own, until it is killed: tells each decision that was acknowledged."""
    with closing(opening()) as ledger:
        for number in range(1_000_000):
            ledger.decide(question(f"d{number}", period=Period(NOON, HOUR)), fixed(kept(f"d{number}", cost=2)))
            ledger.journaled([f"d{number}"] if number % 2 else [])
            told.send(number)


def told_until_the_end(pipe: Any) -> list[int]:
    found: list[int] = []
    with suppress(EOFError):
        while pipe.poll(1):
            found.append(pipe.recv())
    return found


class LedgerContract:
    """Subclass it with fixtures `opening` (one ledger) and `fresh` (gives new ones)."""

    @pytest.fixture
    def ledger(self, opening: Opening) -> Iterator[Ledger]:
        with closing(opening()) as ledger:
            yield ledger

    def test_nothing_is_there_at_first(self, ledger: Ledger) -> None:
        assert (ledger.find("d1"), ledger.waiting(10), ledger.contacts(0), ledger.decisions_of(["C1"])) == (
            None,
            [],
            {},
            [],
        )
        assert ledger.spent(Period(NOON, HOUR)) == 0

    def test_what_was_decided_comes_back_as_it_was(self, ledger: Ledger) -> None:
        seen: list[Before] = []
        made = kept("d1", cost=7)
        assert ledger.decide(question("d1"), seeing(seen, made)) == Answered(made, False)
        assert seen == [Before((), 0)]

    def test_the_same_id_gives_the_same_answer_and_another_question_none(self, ledger: Ledger) -> None:
        made = kept("d1", cost=7)
        period = Period(NOON, HOUR)
        assert not ledger.decide(question("d1", period=period), fixed(made)).is_known
        again = ledger.decide(question("d1", period=period), never)
        assert (again.kept, again.is_known) == (made, True)
        for other in (question("d1", body="other"), question("d1", "C2", body="other")):
            with pytest.raises(OtherQuestion):
                ledger.decide(other, never)
        assert ledger.find("d1") == made
        assert ledger.spent(period) == 7

    def test_contacts_of_all_ids_of_a_customer_count_from_an_instant_on(self, ledger: Ledger) -> None:
        rows = [("a", "C1", 5), ("b", "C1", 7), ("c", "C2", 6), ("d", "C3", 6)]
        for name, customer, at in rows:
            ledger.decide(question(name, customer), fixed(kept(name, customer, at)))
        ledger.decide(question("e"), fixed(kept("e", at=8, contacted=False)))
        seen: list[Before] = []
        ledger.decide(question("f", "C2", "C1", since=6), seeing(seen, kept("f", "C2", 9)))
        assert seen[0].contacts == (Contact("mail", "email", 6), Contact("mail", "email", 7))
        assert ledger.contacts(7) == {"C1": [Contact("mail", "email", 7)], "C2": [Contact("mail", "email", 9)]}

    def test_what_was_spent_counts_in_every_period_it_is_of(self, ledger: Ledger) -> None:
        ledger.decide(question("a", period=Period(NOON, HOUR)), fixed(kept("a", at=NOON + 1, cost=5)))
        ledger.decide(question("b", period=Period(NOON + HOUR, HOUR)), fixed(kept("b", at=NOON + HOUR, cost=7)))
        # A period that nobody asked for until now, such as of a new catalogue.
        assert ledger.spent(Period(NOON, 2 * HOUR)) == 12
        ledger.decide(question("c", period=Period(NOON, HOUR)), fixed(kept("c", at=NOON + 2, cost=11)))
        found = [
            ledger.spent(Period(NOON, HOUR)),
            ledger.spent(Period(NOON + HOUR, HOUR)),
            ledger.spent(Period(NOON, 2 * HOUR)),
        ]
        assert found == [16, 7, 23]

    def test_what_make_raises_is_raised_and_nothing_is_kept(self, ledger: Ledger) -> None:
        def refuse(before: Before) -> Kept:
            raise KeyError("no")

        for _ in range(20):
            with pytest.raises(KeyError, match="no"):
                ledger.decide(question("d1", period=Period(NOON, HOUR)), refuse)
        assert ledger.decisions_of(["C1"]) == []
        assert not ledger.decide(question("d1"), fixed(kept("d1"))).is_known

    def test_what_fails_loses_no_note_of_what_is_in_the_journal(self, ledger: Ledger) -> None:
        ledger.decide(question("d1"), fixed(kept("d1")))
        ledger.journaled(["d1"])
        with pytest.raises(OtherQuestion):
            ledger.decide(question("d1", body="other"), never)

        def broken(before: Before) -> Kept:
            raise ValueError("no decision")

        with pytest.raises(ValueError, match="no decision"):
            ledger.decide(question("d2"), broken)
        ledger.settle()
        assert ledger.waiting(10) == []

    def test_it_is_an_outbox(self, opening: Opening) -> None:
        with closing(opening()) as ledger:
            for number in range(4):
                ledger.decide(question(f"d{number}"), fixed(kept(f"d{number}", at=NOON + number)))
            assert [event.event_id for event in ledger.waiting(3)] == ["d0", "d1", "d2"]
            assert ledger.waiting(1) == [kept("d0").event]
            ledger.journaled(["d0", "d2"])
        with closing(opening()) as ledger:
            assert [event.event_id for event in ledger.waiting(10)] == ["d1", "d3"]
            ledger.journaled(["d1"])
            ledger.decide(question("d4"), fixed(kept("d4", at=NOON + 9)))
            assert [event.event_id for event in ledger.waiting(10)] == ["d3", "d4"]

    def test_pruning_keeps_contacts_and_what_is_not_in_the_journal(self, ledger: Ledger) -> None:
        for number in range(6):
            made = kept(f"d{number}", at=number, contacted=number % 2 == 1, cost=1)
            ledger.decide(question(made.event.event_id, period=Period(0, 100)), fixed(made))
        ledger.journaled([f"d{number}" for number in range(5)])
        ledger.prune(contacts_before=2, others_before=4)
        left = ledger.decisions_of(["C1"])
        assert [each.event.event_id for each in left] == ["d3", "d4", "d5"]
        assert [bool(each.event.properties) for each in left] == [False, True, True]
        assert left[0].event.user_id is None
        assert ledger.find("d3") is None
        assert ledger.contacts(0) == {"C1": [Contact("mail", "email", 3), Contact("mail", "email", 5)]}
        assert ledger.spent(Period(0, 100)) == 6
        with pytest.raises(OtherQuestion):
            ledger.decide(question("d3"), fixed(kept("d3")))
        ledger.prune(contacts_before=100, others_before=100)
        assert [each.event.event_id for each in ledger.decisions_of(["C1"])] == ["d5"]

    def test_what_is_erased_is_gone_for_ever(self, ledger: Ledger, on_disk: Callable[[], bytes]) -> None:
        for number in range(40):
            customer = f"person-{number % 2}"
            name = f"d{number}-of-{customer}"
            ledger.decide(question(name, customer, period=Period(NOON, HOUR)), fixed(kept(name, customer, cost=2)))
        ledger.journaled(["d1-of-person-1"])
        assert b"person-1" in on_disk()
        assert (ledger.erase(["person-1", "~email:x"]), ledger.erase(["person-1"])) == (20, 0)
        content = on_disk()
        assert b"person-1" not in content
        assert b"person-0" in content
        assert len(ledger.decisions_of(["person-0", "person-1"])) == 20
        assert ledger.spent(Period(NOON, HOUR)) == 80

    def test_four_processes_on_one_customer_never_exceed_the_cap(self, opening: Opening) -> None:
        check_processes(opening, ["C1"], budget=10**9, most_contacts=5, spent=15)

    def test_four_processes_on_many_customers_never_exceed_the_budget(self, opening: Opening) -> None:
        check_processes(opening, [f"C{number}" for number in range(60)], budget=100, most_contacts=33, spent=99)

    def test_kill_in_the_middle_leaves_nothing_half(self, opening: Opening) -> None:
        spawn = multiprocessing.get_context("spawn")
        with closing(opening()):
            pass
        mine, theirs = spawn.Pipe(duplex=False)
        worker = spawn.Process(target=decide_for_ever, args=(opening, theirs))
        worker.start()
        theirs.close()
        assert mine.poll(60)
        time.sleep(0.3)
        os.kill(int(worker.pid or 0), signal.SIGKILL)
        worker.join()
        acknowledged = [f"d{number}" for number in told_until_the_end(mine)]
        with closing(opening()) as ledger:
            there = {each.event.event_id: each for each in ledger.decisions_of(["C1"])}
            assert len(acknowledged) > 5
            assert set(acknowledged) <= there.keys()
            assert len(there) <= len(acknowledged) + 2
            assert ledger.spent(Period(NOON, HOUR)) == 2 * len(there)
            waiting = {event.event_id for event in ledger.waiting(10**6)}
            assert {name for name in there if int(name[1:]) % 2 == 0} <= waiting
            ledger.decide(question("after"), fixed(kept("after")))

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(
        steps=st.lists(
            st.tuples(
                st.integers(0, 9), st.sampled_from(["C1", "C2"]), st.integers(0, 12), st.booleans(), st.integers(0, 4)
            ),
            max_size=20,
        )
    )
    def test_any_walk_ends_as_a_list_does(
        self, fresh: Callable[[], Opening], steps: list[tuple[int, str, int, bool, int]]
    ) -> None:
        rows: dict[str, tuple[str, Kept]] = {}
        period = Period(4, 6)
        with closing(fresh()()) as ledger:
            for number, customer, at, contacted, cost in steps:
                name = f"d{number}"
                made = kept(name, customer, at, contacted, cost)
                theirs = sorted(
                    (k.at, i, k) for i, (who, k) in rows.items() if who == customer and k.contacted and k.at >= 3
                )
                expected = Before(
                    tuple(Contact(k.action, k.channel, k.at) for _, _, k in theirs),
                    sum(k.cost for _, k in rows.values() if 4 <= k.as_of < 10),
                )
                seen: list[Before] = []
                asked = question(name, customer, since=3, period=period, body=customer)
                if name in rows and rows[name][0] != customer:
                    with pytest.raises(OtherQuestion):
                        ledger.decide(asked, never)
                    continue
                answer = ledger.decide(asked, seeing(seen, made))
                assert answer.is_known == (name in rows)
                assert answer.kept == rows.setdefault(name, (customer, made))[1]
                assert seen == ([] if answer.is_known else [expected])


def check_processes(opening: Opening, customers: list[str], budget: int, most_contacts: int, spent: int) -> None:
    spawn = multiprocessing.get_context("spawn")
    # None finds the tables made: they make them at the same time.
    ready = spawn.Barrier(4)
    workers = [spawn.Process(target=decide_many, args=(opening, n, customers, budget, ready)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    with closing(opening()) as ledger:
        decided = ledger.decisions_of(customers)
        by_customer: dict[str, int] = defaultdict(int)
        for each in decided:
            by_customer[str(each.event.user_id)] += each.contacted
        assert len(decided) == 240
        assert max(by_customer.values()) <= 5
        assert sum(by_customer.values()) == most_contacts
        assert sum(each.cost for each in decided) == ledger.spent(Period(NOON, 24 * HOUR)) == spent
        assert len(ledger.waiting(1000)) == 240


class OpenSQLite:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> Ledger:
        return SQLiteLedger(self.path)


class TestSQLite(LedgerContract):
    @pytest.fixture
    def fresh(self, tmp_path: Path) -> Callable[[], Opening]:
        return lambda: OpenSQLite(tmp_path / uuid.uuid4().hex / "decisions.db")

    @pytest.fixture
    def opening(self, tmp_path: Path) -> Opening:
        return OpenSQLite(tmp_path / "kept" / "decisions.db")

    @pytest.fixture
    def on_disk(self, tmp_path: Path) -> Callable[[], bytes]:
        return lambda: b"".join(file.read_bytes() for file in sorted((tmp_path / "kept").iterdir()))

    def test_each_commit_waits_for_the_disk(self, tmp_path: Path) -> None:
        ledger = SQLiteLedger(tmp_path / "decisions.db")
        with closing(ledger), ledger._pool.taken() as connection:
            assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def test_a_writer_that_holds_the_file_too_long(self, tmp_path: Path) -> None:
        with (
            closing(SQLiteLedger(tmp_path / "decisions.db")) as other,
            closing(SQLiteLedger(tmp_path / "decisions.db", wait_seconds=0.1)) as ledger,
        ):
            with other._transaction(), pytest.raises(LedgerUnavailable, match="locked"):
                ledger.decide(question("d1"), fixed(kept("d1")))
            assert not ledger.decide(question("d1"), fixed(kept("d1"))).is_known


class OpenPostgres:
    def __init__(self, url: str, schema: str) -> None:
        self.url, self.schema = url, schema

    def __call__(self) -> Ledger:
        return PostgresLedger(self.url, self.schema)


class TestPostgres(LedgerContract):
    @pytest.fixture
    def made(self) -> Iterator[list[OpenPostgres]]:
        made: list[OpenPostgres] = []
        yield made
        if made:
            with psycopg.connect(made[0].url, autocommit=True) as connection:
                for opening in made:
                    connection.execute(
                        sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(opening.schema))
                    )

    @pytest.fixture
    def fresh(self, made: list[OpenPostgres]) -> Callable[[], Opening]:
        def another() -> Opening:
            made.append(OpenPostgres(needs_postgres(), f"test_ledger_{uuid.uuid4().hex[:12]}"))
            return made[-1]

        return another

    @pytest.fixture
    def opening(self, fresh: Callable[[], Opening]) -> Opening:
        return fresh()

    @pytest.fixture
    def on_disk(self, opening: OpenPostgres) -> Callable[[], bytes]:
        """All rows that the table's file holds, deleted ones that were not cleaned up among them."""

        def content() -> bytes:
            with psycopg.connect(opening.url, autocommit=True) as connection:
                connection.execute("CHECKPOINT")
                table = sql.Literal(f"{opening.schema}.decisions")
                query = sql.SQL("SELECT pg_read_binary_file(pg_relation_filepath({}))").format(table)
                row = connection.execute(query).fetchone()
                return bytes(row[0]) if row is not None else b""

        return content

    def test_a_server_that_is_away_is_told_and_tried_again(self, opening: OpenPostgres) -> None:
        with closing(opening()) as ledger:
            with psycopg.connect(opening.url, autocommit=True) as other:
                ledger.waiting(1)
                query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
                other.execute(query, ("customer-twin decisions",))
            with pytest.raises(LedgerUnavailable, match="PostgreSQL cannot be used now"):
                ledger.decide(question("d1"), fixed(kept("d1")))
            assert not ledger.decide(question("d1"), fixed(kept("d1"))).is_known
