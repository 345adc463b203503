"""A journal whose PostgreSQL hangs: callers are told so in time, and go on when it does."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from pipelines.events.journal import JournalUnavailable, NewEvent
from pipelines.events.journal_postgres import PostgresJournal
from tests.servers import OwnPostgres


@pytest.fixture
def server() -> Iterator[OwnPostgres]:
    made = OwnPostgres()
    made.start()
    yield made
    made.end()


def test_a_server_that_hangs_is_given_up_in_time_and_used_again(server: OwnPostgres) -> None:
    journal = PostgresJournal(server.url, "journal")
    event = NewEvent("web", "1", "Order Completed", 0, 0, "web")
    server.hang()
    try:
        for call in (lambda: journal.append([event]), lambda: journal.read(0, 1), journal.last_position):
            began = time.monotonic()
            with pytest.raises(JournalUnavailable):
                call()
            # What the profile `local` lets a request take.
            assert time.monotonic() - began < 5
    finally:
        server.go_on()
    assert journal.append([event])[0].position == 1
    assert [stored.event for stored in journal.read(0, 10)] == [event]
    journal.close()
