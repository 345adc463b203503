"""Take a customer out of the identity map, so that everybody else's events stay whose they are."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Sequence

from pipelines.identity.graph import Node


def forget(
    connection: sqlite3.Connection,
    nodes: Sequence[Node],
    customer_ids: Sequence[str],
    events: Iterable[tuple[str, str]],
) -> None:
    """Remove the identifiers `nodes` with all that hangs on them, within a transaction of the caller.

    An identifier that several customers share stays shared although one of them is gone: else what nobody could
    be told to have done would be the others' from now on. So whoever had a part in it stays as a node without
    a name, which no event leads to. `events` (source, event id) are evidence no longer.
    """
    found = _numbers(connection, nodes)
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS forgotten (node INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM forgotten")
    connection.executemany("INSERT INTO forgotten VALUES (?)", ((number,) for number in found))
    connection.execute(_NAMELESS_TABLE)
    connection.execute("DELETE FROM nameless")
    connection.execute(_NAMELESS)
    for statement in _REMOVALS:
        connection.execute(statement)
    for (number,) in connection.execute("SELECT node FROM nameless").fetchall():
        unnamed = "UPDATE identity_nodes SET key = ?, customer_id = NULL, joined_at = NULL, shared = 0 WHERE id = ?"
        connection.execute(unnamed, (f"erased-{secrets.token_hex(12)}", number))
    told = "UPDATE identity_links SET source = '', event_id = '' WHERE source = ? AND event_id = ?"
    connection.executemany(told, events)
    for table in ("identity_customers", "identity_changes"):
        connection.executemany(f"DELETE FROM {table} WHERE customer_id = ?", ((who,) for who in customer_ids))
    connection.execute("UPDATE identity_head SET version = version + 1, erasures = erasures + 1")
    connection.execute("DELETE FROM forgotten")
    connection.execute("DELETE FROM nameless")


_NAMELESS_TABLE = "CREATE TEMP TABLE IF NOT EXISTS nameless (node INTEGER PRIMARY KEY)"
_NAMELESS = """
INSERT INTO nameless SELECT node FROM forgotten WHERE EXISTS (
  SELECT 1 FROM identity_links l JOIN identity_nodes o
  ON o.id = CASE WHEN l.left_node = forgotten.node THEN l.right_node ELSE l.left_node END
  WHERE (l.left_node = forgotten.node OR l.right_node = forgotten.node)
  AND o.shared = 1 AND o.id NOT IN (SELECT node FROM forgotten))
"""
_KEPT_ENDS = "(SELECT node FROM nameless UNION SELECT id FROM identity_nodes WHERE shared = 1)"
_REMOVALS = (
    f"""DELETE FROM identity_links
    WHERE (left_node IN (SELECT node FROM forgotten) OR right_node IN (SELECT node FROM forgotten))
    AND NOT (left_node IN {_KEPT_ENDS} AND right_node IN {_KEPT_ENDS})""",
    """UPDATE identity_links SET source = '', event_id = ''
    WHERE left_node IN (SELECT node FROM nameless) OR right_node IN (SELECT node FROM nameless)""",
    """DELETE FROM identity_decisions
    WHERE left_node IN (SELECT node FROM forgotten) OR right_node IN (SELECT node FROM forgotten)""",
    "DELETE FROM identity_consents WHERE node IN (SELECT node FROM forgotten)",
    "DELETE FROM identity_forms WHERE node IN (SELECT node FROM forgotten)",
    """DELETE FROM identity_nodes
    WHERE id IN (SELECT node FROM forgotten) AND id NOT IN (SELECT node FROM nameless)""",
)


def _numbers(connection: sqlite3.Connection, nodes: Sequence[Node]) -> list[int]:
    query = "SELECT id FROM identity_nodes WHERE kind = ? AND key = ?"
    return [int(row[0]) for node in nodes for row in connection.execute(query, node)]
