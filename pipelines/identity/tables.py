"""The tables of the identity store, and reading and writing their rows. SQLite, one file a workspace."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feature_repo.scrub import scrub
from feature_repo.write_ahead import use_write_ahead_log
from pipelines.identity.graph import Link, Method, Node

TABLES = (
    """CREATE TABLE IF NOT EXISTS identity_head (
      one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, position INTEGER NOT NULL,
      erasures INTEGER NOT NULL)""",
    # `customer_id` is null where the identifier is shared, or only anonymous ones are linked with it.
    """CREATE TABLE IF NOT EXISTS identity_nodes (
      id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, shared INTEGER NOT NULL DEFAULT 0,
      customer_id TEXT, joined_at INTEGER, version INTEGER NOT NULL, UNIQUE (kind, key))""",
    "CREATE INDEX IF NOT EXISTS identity_nodes_customer ON identity_nodes (customer_id)",
    # `node` is null where the value names nobody.
    """CREATE TABLE IF NOT EXISTS identity_forms (
      kind TEXT NOT NULL, stored TEXT NOT NULL, node INTEGER, first_position INTEGER NOT NULL,
      PRIMARY KEY (kind, stored)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS identity_forms_node ON identity_forms (node)",
    """CREATE TABLE IF NOT EXISTS identity_links (
      left_node INTEGER NOT NULL, right_node INTEGER NOT NULL, method TEXT NOT NULL, at INTEGER NOT NULL,
      source TEXT NOT NULL, event_id TEXT NOT NULL, version INTEGER NOT NULL,
      PRIMARY KEY (left_node, right_node, method)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS identity_links_right ON identity_links (right_node)",
    # What people and matching decided, for ever; of a pair the newest decision holds.
    """CREATE TABLE IF NOT EXISTS identity_decisions (
      id INTEGER PRIMARY KEY, verdict TEXT NOT NULL, left_node INTEGER NOT NULL, right_node INTEGER NOT NULL,
      method TEXT NOT NULL, probability REAL, evidence TEXT NOT NULL, decided_by TEXT NOT NULL,
      at INTEGER NOT NULL, version INTEGER NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS identity_decisions_left ON identity_decisions (left_node)",
    "CREATE INDEX IF NOT EXISTS identity_decisions_right ON identity_decisions (right_node)",
    """CREATE TABLE IF NOT EXISTS identity_consents (
      node INTEGER NOT NULL, purpose TEXT NOT NULL, at INTEGER NOT NULL, granted INTEGER NOT NULL,
      source TEXT NOT NULL, event_id TEXT NOT NULL, version INTEGER NOT NULL,
      PRIMARY KEY (node, purpose)) WITHOUT ROWID""",
    # Positions of bulk loads that were announced and are not taken in yet: first < position <= last.
    "CREATE TABLE IF NOT EXISTS identity_expected (first INTEGER NOT NULL, last INTEGER NOT NULL)",
    # The version at which the events that belong to a customer last changed other than by new ones.
    """CREATE TABLE IF NOT EXISTS identity_customers (
      customer_id TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS identity_customers_revision ON identity_customers (revision)",
    # Of each change, the identifiers that came on top; null where it was another kind of change.
    """CREATE TABLE IF NOT EXISTS identity_changes (
      customer_id TEXT NOT NULL, revision INTEGER NOT NULL, added TEXT,
      PRIMARY KEY (customer_id, revision)) WITHOUT ROWID""",
)

_LINKS = """
SELECT l.left_node, l.right_node, l.method, l.at FROM identity_links l WHERE l.left_node = ?
UNION SELECT l.left_node, l.right_node, l.method, l.at FROM identity_links l WHERE l.right_node = ?
"""
_DECISIONS = """
SELECT left_node, right_node, verdict, method, at FROM identity_decisions WHERE id IN (
  SELECT max(id) FROM identity_decisions WHERE left_node = ?1 OR right_node = ?1 GROUP BY left_node, right_node)
"""


class Connections:
    """One connection a thread. Raises sqlite3.Error if the file is no database."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._local = threading.local()
        self._writing = threading.Lock()
        with self.transaction() as connection:
            for statement in TABLES:
                connection.execute(statement)
            connection.execute("INSERT OR IGNORE INTO identity_head VALUES (1, 0, 0, 0)")

    def mine(self) -> sqlite3.Connection:
        """The connection of this thread."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=30.0, isolation_level=None)
            use_write_ahead_log(connection)
            connection.execute("PRAGMA secure_delete=ON")
            # What comes from events can be had again from them; decisions ask for more (`durable`).
            connection.execute("PRAGMA synchronous=NORMAL")
            self._local.connection = connection
        return connection

    @contextmanager
    def transaction(self, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction that writes; all or nothing. `durable`: it outlives a loss of power once it is over."""
        connection = self.mine()
        with self._writing:
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def scrub(self) -> None:
        """Leave nothing of deleted rows in the file. Raises sqlite3.OperationalError where others do not pause."""
        with self._writing:
            scrub(self._path)


def expect_events(path: Path, first_position: int, count: int) -> None:
    """Announce to the identity store at `path` that `count` events from `first_position` on will be in the lake."""
    with Connections(path).transaction(durable=True) as connection:
        values = (first_position - 1, first_position + count - 1)
        connection.execute("INSERT INTO identity_expected VALUES (?, ?)", values)


def erasures(path: Path) -> int:
    """How many customers were ever erased from the identity store at `path`."""
    return int(Connections(path).mine().execute("SELECT erasures FROM identity_head").fetchone()[0])


class Neighbourhood:
    """Nodes and links around some nodes, read once each. Ids are of the database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._nodes: dict[int, tuple[Node, bool]] = {}

    def node(self, number: int) -> Node:
        return self._row(number)[0]

    def is_shared(self, number: int) -> bool:
        """As it was noted when links around it last changed."""
        return self._row(number)[1]

    def links(self, number: int) -> list[tuple[int, int, Link]]:
        """Every link of a node that holds, and the ids of its two ends."""
        found = self._connection.execute(_LINKS, (number, number)).fetchall()
        decided = self._connection.execute(_DECISIONS, (number,)).fetchall()
        found += [(left, right, method, at) for left, right, verdict, method, at in decided if verdict == "link"]
        return [(left, right, self._link(left, right, method, at)) for left, right, method, at in found]

    def apart(self, number: int) -> list[int]:
        """The nodes that somebody decided are of another customer than this one."""
        decided = self._connection.execute(_DECISIONS, (number,)).fetchall()
        return [right if left == number else left for left, right, verdict, *_ in decided if verdict == "apart"]

    def _link(self, left: int, right: int, method: Method, at: int) -> Link:
        return Link(self.node(left), self.node(right), method, at)

    def _row(self, number: int) -> tuple[Node, bool]:
        row = self._nodes.get(number)
        if row is None:
            query = "SELECT kind, key, shared FROM identity_nodes WHERE id = ?"
            kind, key, shared = self._connection.execute(query, (number,)).fetchone()
            row = self._nodes[number] = (Node(kind, key), bool(shared))
        return row
