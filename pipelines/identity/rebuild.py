"""The identity map made anew from lake, journal and decisions, and put in place of the one that is in use.

The new map is built in a file beside. Only what came since is added, and the rows are exchanged, while nobody
else may write: all within one transaction, so that readers see the old map or the new one, and a process that
dies leaves the old one. Versions go on, and only customers who differ are changed.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.events.journal import Journal
from pipelines.identity.catch_up import catch_up
from pipelines.identity.facts import Facts
from pipelines.identity.graph import Node
from pipelines.identity.lake_facts import facts_of_lake
from pipelines.identity.store import IdentityStore
from pipelines.identity.update import NOT_SEEN, Update, note_change
from pipelines.identity.vocabulary import Form

# What follows from events and decisions; the review queue stands in the same file and is left alone.
_MAP = ("identity_nodes", "identity_forms", "identity_links", "identity_decisions", "identity_consents")
_OF_CUSTOMERS = (
    "SELECT customer_id, kind, key, joined_at FROM identity_nodes WHERE customer_id IS NOT NULL",
    """SELECT n.customer_id, f.kind, f.stored, f.first_position FROM identity_forms f
       JOIN identity_nodes n ON n.id = f.node WHERE n.customer_id IS NOT NULL""",
    """SELECT n.customer_id, c.purpose, c.at, c.granted, n.kind, n.key FROM identity_consents c
       JOIN identity_nodes n ON n.id = c.node WHERE n.customer_id IS NOT NULL""",
)
_DECISIONS = """
SELECT d.id, d.verdict, a.kind, a.key, b.kind, b.key, d.method, d.probability, d.evidence, d.decided_by, d.at, d.version
FROM identity_decisions d JOIN identity_nodes a ON a.id = d.left_node JOIN identity_nodes b ON b.id = d.right_node
ORDER BY d.id
"""
# Ways to write a decided identifier that no event has.
_DECIDED_FORMS = """
SELECT DISTINCT f.kind, f.stored FROM identity_forms f
JOIN identity_decisions d ON f.node IN (d.left_node, d.right_node)
"""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A map that was made anew; `changed` are the customers who differ from the map before."""

    identifiers: int
    links: int
    decisions: int
    changed: tuple[str, ...]
    version: int

    def text(self) -> str:
        """The summary for a person."""
        told = f"{len(self.changed):,} customers differ from before" if self.changed else "the same as before"
        return (
            f"Version {self.version}: {self.identifiers:,} identifiers, {self.links:,} links and "
            f"{self.decisions:,} decisions, {told}"
        )


def rebuild(identity: IdentityStore, lake: Path, journal: Journal) -> Rebuilt:
    """Make the map anew. Writers wait while what came meanwhile is added, not while the bulk is read.

    Raises:
        JournalUnavailable: the journal cannot be read.
        EncryptionKeyMissing: there are personal identifiers, and there is no key.
        sqlite3.Error: the map cannot be written; the old one stays.
    """
    with tempfile.TemporaryDirectory(prefix="identity-", dir=identity.path.parent) as folder:
        fresh = IdentityStore(Path(folder) / "identity.db", identity.config, identity.consent, identity.open_sealer)
        taken = _take_lake(fresh, lake)
        catch_up(fresh, lake, journal)
        with identity.exclusively() as connection:
            # A bulk load may have committed since, at positions below those of the journal's rows.
            _take_lake(fresh, lake, taken)
            catch_up(fresh, lake, journal)
            _take_decisions(fresh, connection)
            return _exchange(fresh, connection)


def _take_lake(fresh: IdentityStore, lake: Path, taken: int | None = None) -> int | None:
    """Take in the whole lake, unless it is `taken`, its version at an earlier call; the version, if there is one."""
    from deltalake import DeltaTable

    from pipelines.events.lake import last_position

    if not DeltaTable.is_deltatable(str(lake)):
        return None
    version = int(DeltaTable(str(lake)).version())
    if version != taken:
        last = last_position(lake)
        fresh.apply_facts(facts_of_lake(lake, version, -1, last, fresh.vocabulary, fresh.consent))
    return version


def _take_decisions(fresh: IdentityStore, old: sqlite3.Connection) -> None:
    decided = old.execute(_DECISIONS).fetchall()
    forms = [Form(*row) for row in old.execute(_DECIDED_FORMS)]
    with fresh.exclusively() as connection:
        update = Update(connection, fresh.vocabulary)
        update.record(Facts(forms=dict.fromkeys(forms, NOT_SEEN)))
        for number, verdict, left_kind, left, right_kind, right, *told in decided:
            ends = sorted((update.number(Node(left_kind, left)), update.number(Node(right_kind, right))))
            connection.execute(
                "INSERT INTO identity_decisions (id, verdict, left_node, right_node, method, probability, evidence,"
                " decided_by, at, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (number, verdict, *ends, *told),
            )
            update.touched.nodes |= set(ends)
            update.touched.reopened = True
        update.finish()


def _exchange(fresh: IdentityStore, old: sqlite3.Connection) -> Rebuilt:
    """Put the rows of `fresh` into the open transaction of `old`."""
    version, position = old.execute("SELECT version FROM identity_head").fetchone()[0], fresh.head()[1]
    before = _described(lambda query: old.execute(query))
    after = _described(fresh.rows)
    changed = sorted(who for who in before.keys() | after.keys() if before.get(who) != after.get(who))
    for table in _MAP:
        old.execute(f"DELETE FROM {table}")
        rows = fresh.rows(f"SELECT * FROM {table}")
        if rows:
            old.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    # Nodes have other numbers now: states that lag behind are made from all events.
    old.execute("UPDATE identity_changes SET added = NULL")
    for customer in changed:
        note_change(old, customer, version + 1, None)
    # Whoever remembers what they applied to the old map has to forget it.
    head = "UPDATE identity_head SET version = ?, position = ?, erasures = erasures + 1"
    old.execute(head, (version + 1, position))
    count = {table: old.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _MAP}
    return Rebuilt(
        count["identity_nodes"],
        count["identity_links"],
        count["identity_decisions"],
        tuple(changed),
        version + 1,
    )


def _described(read: Any) -> Mapping[str, frozenset[tuple[Any, ...]]]:
    """All that decides which events a customer has, and whether they count."""
    found: dict[str, set[tuple[Any, ...]]] = {}
    for customer, fact in _facts(read):
        found.setdefault(customer, set()).add(fact)
    return {customer: frozenset(facts) for customer, facts in found.items()}


def _facts(read: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for number, query in enumerate(_OF_CUSTOMERS):
        for customer, *fact in read(query):
            yield customer, (number, *fact)
