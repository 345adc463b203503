"""Put facts into the identity store, and resolve anew whom they touch. All within one transaction of the caller."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pipelines.identity.facts import Consent, Evidence, Facts, Pair
from pipelines.identity.graph import FROM_THE_BEGINNING, Link, Node, Refused, Resolution, resolve
from pipelines.identity.tables import Neighbourhood
from pipelines.identity.vocabulary import Form, Vocabulary
from pipelines.settings.identity import USER_ID, IdentityConfig

# With more than this, reading the whole graph is faster than looking at each one's surroundings.
_MANY = 5_000
# A position above all: of a form that something says of, without an event that has it.
NOT_SEEN = 2**62


class Assignment(NamedTuple):
    """Whose an identifier is, and since when that is known; nobody's where `customer_id` is None."""

    customer_id: str | None
    joined_at: int | None
    shared: bool


@dataclass(slots=True)
class Touched:
    """Nodes whose links changed; `reopened`: also shared ones near them may be shared no more."""

    nodes: set[int] = field(default_factory=set)
    consents: set[int] = field(default_factory=set)
    reopened: bool = False


class Update:
    """One change of the store, from its facts to the customers it changes."""

    def __init__(self, connection: sqlite3.Connection, vocabulary: Vocabulary) -> None:
        self._connection = connection
        self._vocabulary = vocabulary
        self.version = int(connection.execute("SELECT version FROM identity_head").fetchone()[0]) + 1
        self.touched = Touched()
        self._numbers: dict[Node, int] = {}

    def record(self, facts: Facts) -> None:
        """Write what is new of `facts`."""
        named = {form for pair in facts.pairs for form in (pair.left, pair.right)}
        named |= {consent.form for consent in facts.consents}
        seen = {**dict.fromkeys(named, NOT_SEEN), **facts.forms}
        numbers = {form: self._form(form, at) for form, at in seen.items()}
        for pair, evidence in facts.pairs.items():
            left, right = numbers[pair.left], numbers[pair.right]
            if left is not None and right is not None and left != right:
                self._link(left, right, pair, evidence)
        for consent in facts.consents:
            number = numbers[consent.form]
            if number is not None:
                self._consent(number, consent)

    def finish(self) -> frozenset[str]:
        """Resolve what was touched, and give the customers whose events are others now."""
        changed: frozenset[str] = frozenset()
        if self.touched.nodes:
            changed = _Settling(self._connection, self._vocabulary.config, self.version, self.touched).settle()
        changed |= self._consented(changed)
        if self.touched.nodes or self.touched.consents:
            self._connection.execute("UPDATE identity_head SET version = ?", (self.version,))
        return changed

    def number(self, node: Node) -> int:
        """The id of a node, which is made if there is none."""
        known = self._numbers.get(node)
        if known is None:
            row = self._connection.execute("SELECT id FROM identity_nodes WHERE kind = ? AND key = ?", node).fetchone()
            known = row[0] if row else self._new_node(node)
            self._numbers[node] = known
        return known

    def _new_node(self, node: Node) -> int:
        query = "INSERT INTO identity_nodes (kind, key, version) VALUES (?, ?, ?)"
        number = int(self._connection.execute(query, (*node, self.version)).lastrowid or 0)
        self.touched.nodes.add(number)
        return number

    def _form(self, form: Form, position: int) -> int | None:
        """The id of a form's node; None where it names nobody."""
        query = "SELECT node, first_position FROM identity_forms WHERE kind = ? AND stored = ?"
        row = self._connection.execute(query, form).fetchone()
        if row is not None:
            if position < row[1]:
                lower = "UPDATE identity_forms SET first_position = ? WHERE kind = ? AND stored = ?"
                self._connection.execute(lower, (position, *form))
            return None if row[0] is None else int(row[0])
        node = self._vocabulary.node(form)
        number = None if node is None else self.number(node)
        insert = "INSERT OR IGNORE INTO identity_forms VALUES (?, ?, ?, ?)"
        self._connection.execute(insert, (*form, number, position))
        if node is not None and form.kind == USER_ID:
            # Applications ask with the id as it is normalised.
            self._connection.execute(insert, (*node, number, NOT_SEEN))
        return number

    def _link(self, left: int, right: int, pair: Pair, evidence: Evidence) -> None:
        where = (left, right, pair.method)
        query = "SELECT at, source, event_id FROM identity_links WHERE left_node = ? AND right_node = ? AND method = ?"
        row = self._connection.execute(query, where).fetchone()
        if row is not None and Evidence(*row) <= evidence:
            return
        version = self.version
        if row is None:
            self._connection.execute(
                "INSERT INTO identity_links VALUES (?, ?, ?, ?, ?, ?, ?)", (*where, *evidence, version)
            )
        else:
            earlier = """UPDATE identity_links SET at = ?, source = ?, event_id = ?
              WHERE left_node = ? AND right_node = ? AND method = ?"""
            self._connection.execute(earlier, (*evidence, *where))
        if row is None or row[0] != evidence.at:
            self.touched.nodes |= {left, right}
            self.touched.reopened |= pair.method != "event"

    def _consent(self, number: int, said: Consent) -> None:
        query = "SELECT at, granted FROM identity_consents WHERE node = ? AND purpose = ?"
        row = self._connection.execute(query, (number, said.purpose)).fetchone()
        if row is not None and (row[0], not row[1]) >= (said.at, not said.granted):
            return
        values = (number, said.purpose, said.at, said.granted, said.source, said.event_id, self.version)
        self._connection.execute("INSERT OR REPLACE INTO identity_consents VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        self.touched.consents.add(number)

    def _consented(self, resolved: frozenset[str]) -> frozenset[str]:
        """Customers of whom somebody said something about a purpose; their events may count now, or no more."""
        found = set()
        for number in self.touched.consents:
            query = "SELECT customer_id FROM identity_nodes WHERE id = ?"
            customer = self._connection.execute(query, (number,)).fetchone()[0]
            if customer is not None:
                found.add(customer)
        for customer in found:
            note_change(self._connection, customer, self.version, None)
        return frozenset(found)


def note_change(connection: sqlite3.Connection, customer_id: str, version: int, added: Iterable[int] | None) -> None:
    """A customer has other events from `version` on: those of the nodes `added` on top, or (None) quite others."""
    connection.execute("INSERT OR REPLACE INTO identity_customers VALUES (?, ?)", (customer_id, version))
    told = None if added is None else json.dumps(sorted(added))
    connection.execute("INSERT OR REPLACE INTO identity_changes VALUES (?, ?, ?)", (customer_id, version, told))


class _Settling:
    """Resolution around touched nodes, and the difference that it makes."""

    def __init__(self, connection: sqlite3.Connection, config: IdentityConfig, version: int, touched: Touched) -> None:
        self._connection = connection
        self._config = config
        self._version = version
        self._touched = touched
        self._around = Neighbourhood(connection)
        self._edge: set[int] = set()
        self._inside: dict[Node, int] = {}
        self._links: set[Link] = set()
        self._apart: set[tuple[Node, Node]] = set()

    def settle(self) -> frozenset[str]:
        """Write the assignments that changed; the customers they change."""
        if len(self._touched.nodes) > _MANY:
            self._take_all()
        else:
            self._walk()
        edge = frozenset(self._around.node(number) for number in self._edge)
        found = resolve(self._inside, self._links, self._apart, self._config, edge)
        return self._write(self._before(), _assignments(found, self._inside), found.refused)

    def _walk(self) -> None:
        """Everything that the touched nodes could be of one customer with."""
        waiting, seen = list(self._touched.nodes), set(self._touched.nodes)
        while waiting:
            number = waiting.pop()
            if self._around.is_shared(number) and not self._touched.reopened:
                # Links only make an identifier more shared, so it stays so, and nobody is linked through it.
                self._edge.add(number)
                continue
            self._inside[self._around.node(number)] = number
            for left, right, link in self._around.links(number):
                self._links.add(link)
                for other in {left, right} - seen:
                    seen.add(other)
                    waiting.append(other)
            for foe in self._around.apart(number):
                self._apart.add((self._around.node(number), self._around.node(foe)))

    def _take_all(self) -> None:
        rows = self._connection.execute("SELECT id, kind, key FROM identity_nodes").fetchall()
        nodes = {number: Node(kind, key) for number, kind, key in rows}
        self._inside = {node: number for number, node in nodes.items()}
        for left, right, method, at in self._connection.execute(
            "SELECT left_node, right_node, method, at FROM identity_links"
        ):
            self._links.add(Link(nodes[left], nodes[right], method, at))
        newest = """SELECT left_node, right_node, verdict, method, at FROM identity_decisions
          WHERE id IN (SELECT max(id) FROM identity_decisions GROUP BY left_node, right_node)"""
        for left, right, verdict, method, at in self._connection.execute(newest):
            if verdict == "link":
                self._links.add(Link(nodes[left], nodes[right], method, at))
            elif verdict == "apart":
                self._apart.add((nodes[left], nodes[right]))

    def _before(self) -> dict[int, Assignment]:
        query = "SELECT customer_id, joined_at, shared FROM identity_nodes WHERE id = ?"
        found = {}
        for number in self._inside.values():
            customer, joined_at, shared = self._connection.execute(query, (number,)).fetchone()
            found[number] = Assignment(customer, joined_at, bool(shared))
        return found

    def _write(
        self, before: Mapping[int, Assignment], after: Mapping[int, Assignment], refused: Iterable[Refused]
    ) -> frozenset[str]:
        different = {number: new for number, new in after.items() if before[number] != new}
        self._connection.executemany(
            "UPDATE identity_nodes SET customer_id = ?, joined_at = ?, shared = ? WHERE id = ?",
            [(*new, number) for number, new in different.items()],
        )
        concerned = {before[number].customer_id for number in different}
        concerned |= {new.customer_id for new in different.values()}
        old, new = _members(before), _members(after)
        losing = self._losing(different.keys(), before, refused)
        changed = set()
        names = {number: node for node, number in self._inside.items()}
        consenting = {row[0] for row in self._connection.execute("SELECT DISTINCT node FROM identity_consents")}
        for customer in sorted(filter(None, concerned | losing)):
            had, has = old.get(customer, {}), new.get(customer, {})
            if not had:
                # A user id that was linked with nothing was its own customer before it was known.
                unknown = {n for n in has if names[n] == (USER_ID, customer) and before[n].customer_id is None}
                had = {n: at for n, at in has.items() if n in unknown and at == FROM_THE_BEGINNING}
            if had == has and customer not in losing:
                continue
            added = has.keys() - had.keys()
            # Who said something of a purpose before they were known said it for all their events.
            only_more = bool(has) and had.items() <= has.items() and not added & consenting and customer not in losing
            note_change(self._connection, customer, self._version, added if only_more else None)
            changed.add(customer)
        return frozenset(changed)

    def _losing(
        self, different: Collection[int], before: Mapping[int, Assignment], refused: Iterable[Refused]
    ) -> set[str | None]:
        """Customers whom an event may leave though their identifiers stay: it holds one of theirs and a stronger one,
        which has another owner now."""
        found = set()
        for link, _ in refused:
            ends = [self._inside[node] for node in (link.left, link.right) if node in self._inside]
            if any(end in different for end in ends):
                found |= {before[end].customer_id for end in ends}
        return found


def _assignments(found: Resolution, numbers: Mapping[Node, int]) -> dict[int, Assignment]:
    after = {numbers[node]: Assignment(None, None, True) for node in found.shared if node in numbers}
    for profile in found.profiles:
        customer = profile.customer_id if profile.named else None
        for node, joined_at in profile.joined_at.items():
            if node in numbers:
                after[numbers[node]] = Assignment(customer, joined_at if profile.named else None, False)
    return after


def _members(assignments: Mapping[int, Assignment]) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for number, (customer, joined_at, _) in assignments.items():
        if customer is not None and joined_at is not None:
            found[customer][number] = joined_at
    return found
