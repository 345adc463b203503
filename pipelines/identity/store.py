"""The identity store: identifiers, links with their evidence, decisions and consents, and whose everything is."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.events.journal import NewEvent, StoredEvent
from pipelines.identity.decisions import Decision
from pipelines.identity.facts import Evidence, Facts, Pair, facts_of
from pipelines.identity.forget import forget
from pipelines.identity.graph import FROM_THE_BEGINNING, Node
from pipelines.identity.tables import Connections
from pipelines.identity.update import NOT_SEEN, Update
from pipelines.identity.vocabulary import Form, Vocabulary
from pipelines.privacy import Sealer, sealer_of
from pipelines.settings import Settings
from pipelines.settings.consent import ConsentConfig
from pipelines.settings.identity import USER_ID, IdentityConfig

# Enough for a day's visitors; forgetting one costs a look into the file.
_MOST_REMEMBERED = 500_000


class Owner(NamedTuple):
    """Whose an event is, by which of its identifiers, and since when that is known (microseconds UTC)."""

    customer_id: str
    form: Form
    joined_at: int


class Member(NamedTuple):
    """An identifier of a customer. In the lake there is nothing of it below `first_position`."""

    form: Form
    node: int
    joined_at: int
    first_position: int


class Permission(NamedTuple):
    """What a customer last said about a purpose, when (microseconds UTC), and through which source."""

    granted: bool
    at: int
    source: str = ""


@dataclass(frozen=True, slots=True)
class LinkShown:
    """A link for people: its ends, why it is there, and since when."""

    left: Node
    right: Node
    method: str
    at: int
    evidence: dict[str, Any]


# As many values as there are, in one variable.
_LISTED = "(SELECT value FROM json_each(?))"


def _listed(values: Sequence[str]) -> str:
    return msgspec.json.encode(values).decode()


def open_identity(settings: Settings) -> IdentityStore:
    """The identity store of a workspace, made if there is none. Raises sqlite3.Error if its file is no database."""
    return IdentityStore(
        settings.workspace.identity, settings.identity, settings.consent, lambda: sealer_of(settings.workspace)
    )


class IdentityStore:
    """SQLite; several threads and processes of one host may share it.

    Everything that is not a decision follows from the events, whatever order they are applied in, and
    applying one again changes nothing.
    """

    def __init__(
        self, path: Path, config: IdentityConfig, consent: ConsentConfig, open_sealer: Callable[[], Sealer]
    ) -> None:
        self.path = path
        self.config = config
        self.consent = consent
        self.open_sealer = open_sealer
        self.vocabulary = Vocabulary(config, open_sealer)
        self._connections = Connections(path)
        self._known = _Known()
        self._owners = _Remembered()

    # Writing ----------------------------------------------------------------------------------

    def apply(self, events: Sequence[StoredEvent]) -> frozenset[str]:
        """Take in what events say; the customers whose events are others now.

        Raises:
            EncryptionKeyMissing: an event has a personal identifier, and there is no key.
        """
        facts = facts_of(events, self.vocabulary, self.consent)
        return self.apply_facts(self._unknown(facts))

    def apply_facts(self, facts: Facts) -> frozenset[str]:
        """`apply` for facts that were gathered otherwise."""
        if not (facts.forms or facts.pairs or facts.consents):
            return frozenset()
        with self._connections.transaction() as connection:
            update = Update(connection, self.vocabulary)
            update.record(facts)
            changed = update.finish()
        self._remember(facts)
        return changed

    def decide(self, decision: Decision) -> frozenset[str]:
        """Keep a decision, and give the customers whose events it changes. Raises UserError for an unusable value."""
        ends = [self._usable(Form(*end)) for end in (decision.left, decision.right)]
        with self._connections.transaction(durable=True) as connection:
            update = Update(connection, self.vocabulary)
            # Kept as forms, so that user ids which stood nowhere yet have the events they always had.
            update.record(Facts(forms=dict.fromkeys(ends, NOT_SEEN)))
            left, right = sorted(update.number(self._node(form)) for form in ends)
            connection.execute(
                "INSERT INTO identity_decisions (verdict, left_node, right_node, method, probability, evidence,"
                " decided_by, at, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (decision.verdict, left, right, decision.method, decision.probability,
                 msgspec.json.encode(dict(decision.evidence)).decode(), decision.by, decision.at, update.version),
            )  # fmt: skip
            update.touched.nodes |= {left, right}
            update.touched.reopened = True
            return update.finish()

    def caught_up(self, position: int) -> None:
        """Note that all events up to `position` were applied."""
        with self._connections.transaction() as connection:
            connection.execute("UPDATE identity_head SET position = max(position, ?)", (position,))

    def expected(self) -> list[tuple[int, int]]:
        """Announced positions, as (after, last)."""
        return self._read("SELECT first, last FROM identity_expected ORDER BY first")

    def arrived(self, after: int, last: int) -> None:
        """Note that the events of an announced range were applied."""
        with self._connections.transaction() as connection:
            connection.execute("DELETE FROM identity_expected WHERE first = ? AND last = ?", (after, last))

    def new_version(self) -> None:
        """Count the version on, where something beside the map changed whose events count."""
        with self._connections.transaction() as connection:
            connection.execute("UPDATE identity_head SET version = version + 1")

    def forget(self, nodes: Sequence[Node], customer_ids: Sequence[str], events: Iterable[tuple[str, str]]) -> None:
        """Take a customer out of the map (`forget.forget`), and leave nothing of them in the file."""
        with self._connections.transaction(durable=True) as connection:
            forget(connection, nodes, customer_ids, events)
        self._connections.scrub()

    @property
    def erasures(self) -> int:
        """How many customers were ever taken out."""
        return int(self._read("SELECT erasures FROM identity_head")[0][0])

    @contextmanager
    def exclusively(self) -> Iterator[sqlite3.Connection]:
        """One durable transaction over the tables, for what writes them in another way than events and decisions."""
        with self._connections.transaction(durable=True) as connection:
            yield connection

    @contextmanager
    def unchanging(self) -> Iterator[None]:
        """Reads within are all of one moment."""
        connection = self._connections.mine()
        connection.execute("BEGIN")
        try:
            yield
        finally:
            connection.execute("COMMIT")

    # Reading ----------------------------------------------------------------------------------

    def head(self) -> tuple[int, int]:
        """The version of the map, and the position up to which all events were applied."""
        version, position = self._read("SELECT version, position FROM identity_head")[0]
        return version, position

    def owner(self, event: NewEvent) -> Owner | None:
        """Whose an event is: the customer of its strongest identifier that is somebody's; None where it is nobody's."""
        for form in self.vocabulary.forms(event):
            found = self._owner_of(form)
            if found is not None:
                return found
        return None

    def customer_of(self, customer_id: str) -> str:
        """The customer of a user id, or of the id that one without a user id has or had; else the id itself."""
        if customer_id.startswith("~"):
            kind, _, key = customer_id[1:].partition(":")
            rows = self._read("SELECT customer_id FROM identity_nodes WHERE kind = ? AND key = ?", (kind, key))
            if rows and rows[0][0] is not None:
                owner: str = rows[0][0]
                return owner
        found = self._owner_of(Form(USER_ID, customer_id))
        return customer_id if found is None else found.customer_id

    def members(self, customer_id: str) -> list[Member]:
        """Every identifier of a customer, in every way that events write it."""
        return self.members_of([customer_id])[customer_id]

    def members_of(self, customers: Sequence[str]) -> dict[str, list[Member]]:
        """`members` of several customers."""
        found: dict[str, list[Member]] = {customer: [] for customer in customers}
        rows = self._read(
            f"""SELECT n.customer_id, f.kind, f.stored, n.id, n.joined_at, f.first_position
                FROM identity_nodes n JOIN identity_forms f ON f.node = n.id WHERE n.customer_id IN {_LISTED}""",
            (_listed(customers),),
        )
        for customer, kind, stored, node, joined, first in rows:
            found[customer].append(Member(Form(kind, stored), node, joined, first))
        for customer in [customer for customer, members in found.items() if not members]:
            alone = Form(USER_ID, customer)
            if not self._read("SELECT 1 FROM identity_forms WHERE kind = ? AND stored = ?", alone):
                found[customer] = [Member(alone, 0, FROM_THE_BEGINNING, 0)]
        return found

    def revision(self, customer_id: str) -> int:
        """The version at which the customer's events last changed other than by new ones; 0 if they never did."""
        return self.revisions([customer_id])[customer_id]

    def revisions(self, customers: Sequence[str]) -> dict[str, int]:
        """`revision` of several customers."""
        query = f"SELECT customer_id, revision FROM identity_customers WHERE customer_id IN {_LISTED}"
        return {**dict.fromkeys(customers, 0), **dict(self._read(query, (_listed(customers),)))}

    def added_since(self, customer_id: str, revision: int) -> frozenset[int] | None:
        """The nodes that came on top after `revision`; None where not all that changed since was of that kind."""
        rows = self._read(
            "SELECT added FROM identity_changes WHERE customer_id = ? AND revision > ?", (customer_id, revision)
        )
        if any(added is None for (added,) in rows):
            return None
        return frozenset(node for (added,) in rows for node in json.loads(added))

    def permission(self, customer_id: str, purpose: str) -> Permission | None:
        """What the customer last said about a purpose; None where they said nothing."""
        return self.permissions([customer_id], purpose).get(customer_id)

    def permissions(self, customers: Sequence[str], purpose: str) -> dict[str, Permission]:
        """`permission` of those of several customers who said something."""
        rows = self._read(
            f"""SELECT n.customer_id, c.granted, c.at, c.source
                FROM identity_nodes n JOIN identity_consents c ON c.node = n.id
                WHERE n.customer_id IN {_LISTED} AND c.purpose = ? ORDER BY c.at, c.granted DESC""",
            (_listed(customers), purpose),
        )
        # The last row of a customer stays: the newest, and of two at one instant the denial.
        return {customer: Permission(bool(granted), at, source) for customer, granted, at, source in rows}

    def node_of(self, form: Form) -> Node:
        """The identifier that a value names, as people write it. Raises UserError: it is blocked or unusable."""
        return self._node(self._known_kind(form))

    def knows(self, form: Form) -> bool:
        """Whether any event has the identifier, in whichever way it is written. Raises UserError as `node_of`."""
        return bool(self._read("SELECT 1 FROM identity_nodes WHERE kind = ? AND key = ?", self.node_of(form)))

    def customer_with(self, form: Form) -> str | None:
        """The customer of an identifier; None where it is nobody's, or shared. Raises UserError as `node_of`."""
        query = "SELECT customer_id FROM identity_nodes WHERE kind = ? AND key = ?"
        rows = self._read(query, self.node_of(form))
        return rows[0][0] if rows else None

    def links(self, customer_id: str) -> list[LinkShown]:
        """Every link between the identifiers of a customer, with its evidence, in the order of time."""
        rows = self._read(
            """SELECT a.kind, a.key, b.kind, b.key, l.method, l.at, l.source, l.event_id
               FROM identity_nodes a JOIN identity_links l ON l.left_node = a.id
               JOIN identity_nodes b ON b.id = l.right_node WHERE a.customer_id = ?1 AND b.customer_id = ?1""",
            (customer_id,),
        )
        found = [
            LinkShown(Node(*row[0:2]), Node(*row[2:4]), row[4], row[5], {"source": row[6], "event_id": row[7]})
            for row in rows
        ]
        return sorted([*found, *self._decided(customer_id)], key=lambda link: (link.at, link.left, link.right))

    def _decided(self, customer_id: str) -> Iterator[LinkShown]:
        rows = self._read(
            """SELECT a.kind, a.key, b.kind, b.key, d.method, d.at, d.probability, d.evidence, d.decided_by
               FROM identity_decisions d JOIN identity_nodes a ON a.id = d.left_node
               JOIN identity_nodes b ON b.id = d.right_node
               WHERE d.verdict = 'link' AND a.customer_id = ?1 AND b.customer_id = ?1
               AND d.id IN (SELECT max(id) FROM identity_decisions GROUP BY left_node, right_node)""",
            (customer_id,),
        )
        for row in rows:
            told = {"by": row[8], "probability": row[6], **json.loads(row[7])}
            yield LinkShown(Node(*row[0:2]), Node(*row[2:4]), row[4], row[5], told)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Rows of the tables (`tables`), for what reads many of them."""
        return self._read(query, values)

    # Inside -----------------------------------------------------------------------------------

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._connections.mine().execute(query, values).fetchall()

    def _owner_of(self, form: Form) -> Owner | None:
        remembered = self._owners.at(self._connections.mine())
        if form in remembered:
            return remembered[form]
        rows = self._read(
            """SELECT f.node, n.customer_id, n.joined_at FROM identity_forms f
               LEFT JOIN identity_nodes n ON n.id = f.node WHERE f.kind = ? AND f.stored = ?""",
            form,
        )
        found = None
        if rows:
            found = None if rows[0][1] is None else Owner(rows[0][1], form, rows[0][2])
        elif form.kind == USER_ID and self.vocabulary.node(form) is not None:
            found = Owner(form.stored, form, FROM_THE_BEGINNING)
        remembered[form] = found
        return found

    def _unknown(self, facts: Facts) -> Facts:
        """`facts` without those that this process has applied before."""
        erasures = self._read("SELECT erasures FROM identity_head")[0][0]
        known = self._known
        if known.erasures != erasures or len(known.forms) + len(known.pairs) > _MOST_REMEMBERED:
            known = self._known = _Known(erasures)
        return Facts(
            {form: at for form, at in facts.forms.items() if not known.forms.get(form, at + 1) <= at},
            {pair: why for pair, why in facts.pairs.items() if pair not in known.pairs or why < known.pairs[pair]},
            facts.consents,
        )

    def _remember(self, facts: Facts) -> None:
        known = self._known
        known.forms.update(facts.forms)
        known.pairs.update(facts.pairs)

    def _usable(self, form: Form) -> Form:
        written = self.vocabulary.written_otherwise(self._known_kind(form))
        self._node(written)
        return written

    def _known_kind(self, form: Form) -> Form:
        if form.kind not in self.config.kinds:
            known = ", ".join(self.config.kinds)
            raise UserError("there is no such identifier", [Problem("kind", f"one of: {known}", "another kind")])
        return form

    def _node(self, form: Form) -> Node:
        node = self.vocabulary.node(form)
        if node is None:
            problem = Problem(form.kind, "a value that names somebody", "one that is blocked or unusable")
            raise UserError("there is no such identifier", [problem])
        return node


@dataclass(slots=True)
class _Known:
    """What this process has applied, so that it need not look again: all that most events say."""

    erasures: int = 0
    forms: dict[Form, int] = field(default_factory=dict)
    pairs: dict[Pair, Evidence] = field(default_factory=dict)


class _Remembered:
    """Owners read from the file, forgotten as soon as anybody writes to it."""

    def __init__(self) -> None:
        self._local = threading.local()

    def at(self, connection: sqlite3.Connection) -> dict[Form, Owner | None]:
        # `data_version` tells what other connections wrote, `total_changes` what this one did.
        now = (connection.execute("PRAGMA data_version").fetchone()[0], connection.total_changes)
        if getattr(self._local, "of", None) != now:
            self._local.of = now
            self._local.owners = {}
        owners: dict[Form, Owner | None] = self._local.owners
        return owners


def forms_of(members: Iterable[Member]) -> list[Form]:
    """The forms of members, each once."""
    return list(dict.fromkeys(member.form for member in members))
