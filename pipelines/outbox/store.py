"""The outbox of a workspace. Threads may share one, and several processes may each have one open.

It holds where each trigger stands with each customer (`edges`), and the messages of those that fired. That one fired
and its messages are one transaction. A message is sent by whoever leases it; a lease ends by itself, so what a process
that died had taken is sent by another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from feature_repo.scrub import scrub
from pipelines.outbox.edges import Edge, fired
from pipelines.outbox.messages import Message, MessageState
from pipelines.outbox.tables import WAIT_SECONDS, Connections

_LISTED = "(SELECT value FROM json_each(?))"
_EDGE = "customer_id, trigger, state, began_at, due_at, fired_at"
_MESSAGE = (
    "id, customer_id, trigger, began_at, endpoint, created_at, payload, purpose, not_before, state, attempts, "
    "next_attempt_at, error, sent_at"
)
_INSERT = f"INSERT OR IGNORE INTO outbox_messages ({_MESSAGE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LEASE = f"""UPDATE outbox_messages SET lease = ?1, leased_until = ?2 WHERE id = (
  SELECT id FROM outbox_messages WHERE state = 'waiting' AND endpoint = ?3 AND next_attempt_at <= ?4
  AND leased_until <= ?4 ORDER BY next_attempt_at, id LIMIT 1) RETURNING {_MESSAGE}"""
_AGAIN = """UPDATE outbox_messages SET state = ?1, attempts = attempts + 1, next_attempt_at = ?2, error = ?3,
  lease = NULL, leased_until = 0 WHERE id = ?4 AND lease = ?5 AND state = 'waiting'"""
_WANTED_NO_MORE = """UPDATE outbox_messages SET state = 'failed', error = 'the endpoint wanted no more'
  WHERE customer_id = ? AND trigger = ? AND state = 'waiting' AND endpoint IN (SELECT endpoint FROM outbox_disabled)"""
_RETRY = """UPDATE outbox_messages SET state = 'waiting', attempts = 0,
  next_attempt_at = max(?1, coalesce(not_before, 0)), error = NULL, lease = NULL, leased_until = 0"""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages; what is None does not matter."""

    customer_ids: Sequence[str] | None = None
    state: MessageState | None = None
    trigger: str | None = None


@dataclass(frozen=True, slots=True)
class Watched:
    """Since when a trigger is watched, and whether all customers were looked at since."""

    since: int
    is_swept: bool


@dataclass(frozen=True, slots=True)
class Sweep:
    """A look at all customers in the order of their ids: it came to `customer_id`, which is None at the end."""

    began_at: int
    customer_id: str | None


class Outbox:
    """All of it raises sqlite3.Error where the file cannot be used. Instants are int64 microseconds UTC."""

    def __init__(self, path: Path) -> None:
        """Opens the file, made if there is none."""
        self._path = path
        self._connections = Connections(path)
        # What is swept stays so.
        self._swept: dict[str, Watched] = {}

    # Looking at customers ---------------------------------------------------------------------

    def consulted(self, journal: str) -> int | None:
        """The position up to which events of the journal were looked at; None where nobody ever looked."""
        rows = self._read("SELECT position FROM outbox_consulted WHERE journal = ?", (journal,))
        return int(rows[0][0]) if rows else None

    def note_consulted(self, journal: str, position: int) -> None:
        """It never goes back."""
        with self._connections.unhurried() as connection:
            statement = """INSERT INTO outbox_consulted VALUES (?1, ?2)
              ON CONFLICT (journal) DO UPDATE SET position = max(position, excluded.position)"""
            connection.execute(statement, (journal, position))

    def edges(self, customer_ids: Sequence[str]) -> list[Edge]:
        """Where triggers stand with a customer of these ids, those that began last at the end."""
        query = f"SELECT {_EDGE} FROM outbox_edges WHERE customer_id IN {_LISTED} ORDER BY began_at, customer_id"
        return [Edge(*row) for row in self._read(query, (_list(customer_ids),))]

    def due(self, triggers: Sequence[str], now: int, limit: int) -> list[str]:
        """Customers with one of these triggers that waited until now, the longest first."""
        query = f"""SELECT customer_id FROM outbox_edges WHERE state = 'waiting' AND due_at <= ?
          AND trigger IN {_LISTED} GROUP BY customer_id ORDER BY min(due_at) LIMIT ?"""
        return [row[0] for row in self._read(query, (now, _list(triggers), limit))]

    def save(self, changed: Iterable[tuple[Edge, str | None]]) -> int:
        """Keep edges; with a reason, messages of the customer and trigger that were not sent are cancelled for it.

        How many messages were cancelled.
        """
        cancelled = 0
        with self._connections.transaction() as connection:
            for edge, because in changed:
                connection.execute(
                    f"INSERT OR REPLACE INTO outbox_edges ({_EDGE}) VALUES (?, ?, ?, ?, ?, ?)", _row(edge)
                )
                if because is not None:
                    # Those that failed too: a person may have them sent again.
                    statement = """UPDATE outbox_messages SET state = 'cancelled', error = ?
                      WHERE customer_id = ? AND trigger = ? AND state IN ('waiting', 'failed')"""
                    cancelled += connection.execute(statement, (because, edge.customer_id, edge.trigger)).rowcount
        return cancelled

    def fire(self, edge: Edge, now: int, messages: Sequence[Message]) -> bool:
        """The waiting edge fired, with these messages; False where it does not wait in this episode any more."""
        after = fired(edge, now)
        with self._connections.transaction() as connection:
            statement = """UPDATE outbox_edges SET state = ?, due_at = ?, fired_at = ?
              WHERE customer_id = ? AND trigger = ? AND began_at = ? AND state = 'waiting'"""
            values = (after.state, after.due_at, after.fired_at, edge.customer_id, edge.trigger, edge.began_at)
            if not connection.execute(statement, values).rowcount:
                return False
            connection.executemany(_INSERT, [_values(message) for message in messages])
            connection.execute(_WANTED_NO_MORE, (edge.customer_id, edge.trigger))
            return True

    def watched(self, triggers: Sequence[str], now: int) -> dict[str, Watched]:
        """Since when each of these is watched: from now on where it was not."""
        if all(name in self._swept for name in triggers):
            return self._swept
        query = "SELECT trigger, since, swept FROM outbox_watched"
        found = {row[0]: Watched(row[1], bool(row[2])) for row in self._read(query, ())}
        fresh = [(name, now) for name in triggers if name not in found]
        if fresh:
            with self._connections.transaction() as connection:
                connection.executemany("INSERT OR IGNORE INTO outbox_watched VALUES (?, ?, 0)", fresh)
        self._swept = {name: one for name, one in found.items() if one.is_swept}
        return {name: found.get(name, Watched(now, False)) for name in triggers}

    def sweep(self) -> Sweep | None:
        """The sweep over all customers that goes on, or the last one; None before the first."""
        rows = self._read("SELECT began_at, customer_id FROM outbox_sweep", ())
        return Sweep(*rows[0]) if rows else None

    def note_sweep(self, sweep: Sweep) -> None:
        """How far it is."""
        with self._connections.unhurried() as connection:
            statement = "INSERT OR REPLACE INTO outbox_sweep VALUES (1, ?, ?)"
            connection.execute(statement, (sweep.began_at, sweep.customer_id))

    def swept(self, began_at: int, triggers: Sequence[str]) -> None:
        """It came to its end: all customers were looked at for those triggers."""
        with self._connections.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO outbox_sweep VALUES (1, ?, NULL)", (began_at,))
            listed = (_list(triggers), began_at)
            statement = f"UPDATE outbox_watched SET swept = 1 WHERE trigger IN {_LISTED} AND since <= ?"
            connection.execute(statement, listed)

    # Delivering -------------------------------------------------------------------------------

    def lease(self, endpoint: str, now: int, until: int, lease: str) -> Message | None:
        """A message for the endpoint that is to be sent now, for this caller alone until `until`; None for none."""
        with self._connections.transaction() as connection:
            rows = connection.execute(_LEASE, (lease, until, endpoint, now)).fetchall()
        return Message(*rows[0]) if rows else None

    def sent(self, name: str, at: int) -> None:
        """Whoever else has it by now: it arrived."""
        statement = """UPDATE outbox_messages SET state = 'sent', sent_at = ?, attempts = attempts + 1, error = NULL,
          lease = NULL, leased_until = 0 WHERE id = ?"""
        self._write(statement, (at, name))

    def again(self, name: str, lease: str, at: int, error: str) -> None:
        """An attempt failed; the next is at `at`."""
        self._write(_AGAIN, ("waiting", at, error, name, lease))

    def failed(self, name: str, lease: str, error: str) -> None:
        """The last attempt failed."""
        self._write(_AGAIN, ("failed", 0, error, name, lease))

    def release(self, name: str, lease: str) -> None:
        """Not tried after all: whoever comes next may have it."""
        statement = "UPDATE outbox_messages SET lease = NULL, leased_until = 0 WHERE id = ? AND lease = ?"
        self._write(statement, (name, lease))

    def cancel(self, name: str, because: str) -> bool:
        """Whether it was still to be sent."""
        statement = "UPDATE outbox_messages SET state = 'cancelled', error = ? WHERE id = ? AND state = 'waiting'"
        return self._write(statement, (because, name)) > 0

    def retry(self, now: int, name: str | None = None) -> int:
        """Send a message that failed or was cancelled, or all that failed, anew; how many.

        None before its `not_before`. An endpoint that said it wants no more, and is named by one of them, is asked
        again.
        """
        which, values = ("id = ?2 AND state IN ('failed', 'cancelled')", (now, name)) if name else (
            "state = 'failed'", (now,)
        )  # fmt: skip
        with self._connections.transaction() as connection:
            rows = connection.execute(f"{_RETRY} WHERE {which} AND endpoint IS NOT NULL RETURNING endpoint", values)
            endpoints = [row[0] for row in rows.fetchall()]
            connection.execute(f"DELETE FROM outbox_disabled WHERE endpoint IN {_LISTED}", (_list(endpoints),))
        return len(endpoints)

    def disable(self, endpoint: str, at: int, error: str) -> int:
        """The endpoint wants no more: what waits for it has failed; how many messages."""
        with self._connections.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO outbox_disabled VALUES (?, ?)", (endpoint, at))
            statement = """UPDATE outbox_messages SET state = 'failed', error = ?, lease = NULL, leased_until = 0
              WHERE endpoint = ? AND state = 'waiting'"""
            return connection.execute(statement, (error, endpoint)).rowcount

    def disabled(self) -> set[str]:
        """Endpoints that said they want no more."""
        return {row[0] for row in self._read("SELECT endpoint FROM outbox_disabled", ())}

    # Looking at messages ----------------------------------------------------------------------

    def messages(self, wanted: Filter, limit: int | None, after: str | None = None) -> list[Message]:
        """Messages by the time that they were made, the oldest first; those after the one with the id `after`."""
        tests, values = ["1"], list[Any]()
        if wanted.customer_ids is not None:
            tests.append(f"customer_id IN {_LISTED}")
            values.append(_list(wanted.customer_ids))
        for column in ("state", "trigger"):
            if getattr(wanted, column) is not None:
                tests.append(f"{column} = ?")
                values.append(getattr(wanted, column))
        if after is not None:
            tests.append("(created_at, id) > (SELECT created_at, id FROM outbox_messages WHERE id = ?)")
            values.append(after)
        query = f"SELECT {_MESSAGE} FROM outbox_messages WHERE {' AND '.join(tests)} ORDER BY created_at, id LIMIT ?"
        return [Message(*row) for row in self._read(query, (*values, -1 if limit is None else limit))]

    def counts(self, state: MessageState) -> dict[str, int]:
        """How many messages are in this state, by endpoint; without those that no endpoint takes."""
        query = (
            "SELECT endpoint, count(*) FROM outbox_messages WHERE state = ? AND endpoint IS NOT NULL GROUP BY endpoint"
        )
        return dict(self._read(query, (state,)))

    def find(self, name: str) -> Message | None:
        rows = self._read(f"SELECT {_MESSAGE} FROM outbox_messages WHERE id = ?", (name,))
        return Message(*rows[0]) if rows else None

    # Keeping the file -------------------------------------------------------------------------

    def erase(self, customer_ids: Sequence[str]) -> int:
        """Remove all of a customer, and every trace of it in the file; how many messages."""
        listed = (_list(customer_ids),)
        with self._connections.transaction() as connection:
            connection.execute(f"DELETE FROM outbox_edges WHERE customer_id IN {_LISTED}", listed)
            query = f"DELETE FROM outbox_messages WHERE customer_id IN {_LISTED}"
            removed = connection.execute(query, listed).rowcount
            # A sweep that came to them begins anew.
            connection.execute(f"UPDATE outbox_sweep SET customer_id = '' WHERE customer_id IN {_LISTED}", listed)
        scrub(self._path, WAIT_SECONDS)
        return removed

    def prune(self, before: int) -> int:
        """Remove messages that were made before, and are sent, cancelled or kept; how many."""
        statement = "DELETE FROM outbox_messages WHERE created_at < ? AND state IN ('sent', 'cancelled', 'kept')"
        return self._write(statement, (before,))

    def close(self) -> None:
        self._connections.close()

    def _read(self, query: str, values: Sequence[Any]) -> list[Any]:
        with self._connections.reading() as connection:
            return connection.execute(query, values).fetchall()

    def _write(self, statement: str, values: Sequence[Any]) -> int:
        with self._connections.transaction() as connection:
            return connection.execute(statement, values).rowcount


def _row(edge: Edge) -> tuple[Any, ...]:
    return edge.customer_id, edge.trigger, edge.state, edge.began_at, edge.due_at, edge.fired_at


def _values(message: Message) -> tuple[Any, ...]:
    return (
        message.id, message.customer_id, message.trigger, message.began_at, message.endpoint, message.created_at,
        message.payload, message.purpose, message.not_before, message.state, message.attempts,
        message.next_attempt_at, message.error, message.sent_at,
    )  # fmt: skip


def _list(values: Sequence[str]) -> str:
    return msgspec.json.encode(list(values)).decode()
