"""Access: all that is held about a customer, and every use of it, for a program to read."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from feature_repo.configuration import Problem
from feature_repo.online import FeatureReader
from feature_repo.spec import FeatureSpec
from pipelines.access import AuditLog, Keys
from pipelines.console import UserError
from pipelines.events.customer_log import CustomerLog
from pipelines.events.journal import StoredEvent
from pipelines.events.opening import event_store, may_have_states, open_states
from pipelines.events.specs_in_use import find_spec
from pipelines.identity.catch_up import catch_up
from pipelines.identity.graph import FROM_THE_BEGINNING, Node
from pipelines.identity.permissions import sources_under
from pipelines.identity.store import IdentityStore, open_identity
from pipelines.outbox.opening import messages_kept
from pipelines.privacy.kept_decisions import decisions_kept
from pipelines.privacy.kept_lines import QuarantineReader
from pipelines.privacy.kept_vectors import KeptVectors
from pipelines.privacy.person import Mentions, Person, find_person, opened
from pipelines.privacy.personal import open_event
from pipelines.privacy.sealing import EncryptionKeyMissing, Sealer, sealer_of
from pipelines.privacy.uses import PERSON, audit_entries, model_versions, training_sets
from pipelines.settings import Settings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AccessReport:
    """Everything about one customer, in plain JSON types. Instants are ISO 8601 texts in UTC.

    `events` are as they came, with what is encrypted at rest opened; `features` as of now, null where no
    state was built. States of versions of the features that are not current are held as well, and their values
    stand in `features_of_other_specs`; only the hash where it is not known any more what those features are.
    `predictions` are those in the log of what was served, `decisions` those that caps and the budget count,
    `messages` those of the outbox.
    """

    customer_id: str
    made_at: str
    identifiers: list[dict[str, Any]]
    links: list[dict[str, Any]]
    permissions: list[dict[str, Any]]
    sources: list[dict[str, Any]]
    events: list[dict[str, Any]]
    features: dict[str, Any] | None
    features_of_other_specs: list[dict[str, Any]]
    quarantine: list[dict[str, Any]]
    predictions: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    training_sets: list[dict[str, Any]]
    model_versions: list[dict[str, Any]]
    audit: list[dict[str, Any]]

    def text(self) -> str:
        """The summary for a person."""
        counts = [
            ("identifiers", self.identifiers), ("links between them", self.links), ("events", self.events),
            ("quarantined lines", self.quarantine), ("predictions served", self.predictions),
            ("decisions kept", self.decisions),
            ("messages that triggers set off", self.messages),
            ("data sets with rows of theirs", self.training_sets),
            ("model versions", self.model_versions), ("audit entries", self.audit),
        ]  # fmt: skip
        lines = [f"  {len(items):>6} {name}" for name, items in counts]
        allowed = [item["purpose"] for item in self.permissions if item["granted"]]
        said = f"  said yes to: {', '.join(allowed) or 'nothing'}"
        state = "  current features: " + ("none" if self.features is None else str(len(self.features["values"])))
        return "\n".join([f"Customer {self.customer_id}", *lines, said, state, "  all of it: --json, or --output FILE"])


def access_report(
    settings: Settings, identifier: str, kind: str | None = None, *, actor: str, reason: str = ""
) -> AccessReport:
    """What is held about the customer that `identifier` names. The access itself is audited first.

    Raises:
        UnknownCustomer: it names nobody.
        UserError: something of theirs is encrypted with another key.
    """
    with event_store(settings) as store:
        identity = open_identity(settings)
        catch_up(identity, settings.workspace.lake, store.journal)
        person = find_person(settings, identity, kind, identifier)
        refuse_named_reason(reason, Mentions(person, settings.identity))
        log = AuditLog(settings.workspace.audit)
        log.append("privacy.access", actor, log.pseudonym(PERSON, person.customer_id), {"reason": reason})
        events = CustomerLog(store.journal, settings.workspace.lake, identity, frozenset).raw(person.customer_id)
        return _report(settings, identity, person, events)


def refuse_named_reason(reason: str, mentions: Mentions) -> None:
    """The audit log is kept for ever: raises UserError for a reason that holds an identifier of the person."""
    if mentions.in_text(reason):
        problem = Problem("reason", "words that name nobody", "an identifier of the customer", "such as a case number")
        raise UserError("the reason goes into the audit log, which nobody can erase", [problem])


def _report(settings: Settings, identity: IdentityStore, person: Person, events: list[StoredEvent]) -> AccessReport:
    try:
        sealer: Sealer | None = sealer_of(settings.workspace)
    except EncryptionKeyMissing:
        # Then nothing here was ever sealed.
        sealer = None
    return AccessReport(
        customer_id=person.customer_id,
        made_at=_iso(time.time_ns() // 1000),
        identifiers=_identifiers(identity, person, sealer),
        links=_links(identity, person, sealer),
        permissions=_permissions(settings, identity, person),
        sources=_sources(settings, events),
        events=[_event(settings, stored, sealer) for stored in events],
        features=_features(settings, person, settings.features),
        features_of_other_specs=_of_other_specs(settings, person),
        quarantine=_kept(settings, person),
        predictions=_served(settings, person),
        decisions=[
            {**item, "as_of": _iso(item["as_of"]), "at": _iso(item["at"])}
            for item in decisions_kept(settings, person.customer_ids)
        ],
        messages=[
            {**item, "created_at": _iso(item["created_at"])} for item in messages_kept(settings, person.customer_ids)
        ],
        training_sets=[_plain(item) for item in training_sets(settings.workspace, person)],
        model_versions=[
            {**item, "made_at": _iso(item["made_at"])} for item in model_versions(settings.workspace, person)
        ],
        audit=audit_entries(settings, person),
    )


def _identifiers(identity: IdentityStore, person: Person, sealer: Sealer | None) -> list[dict[str, Any]]:
    return [
        {
            "kind": member.form.kind,
            "value": opened(member.form, sealer),
            "stored_as": member.form.stored,
            "theirs_since": None if member.joined_at == FROM_THE_BEGINNING else _iso(member.joined_at),
        }
        for member in sorted(identity.members(person.customer_id))
    ]


def _links(identity: IdentityStore, person: Person, sealer: Sealer | None) -> list[dict[str, Any]]:
    values: dict[Node, list[str]] = {}
    for form in person.forms:
        node = identity.vocabulary.node(form)
        if node is not None:
            values.setdefault(node, []).append(opened(form, sealer))

    def end(node: Node) -> dict[str, Any]:
        return {"kind": node.kind, "values": sorted(set(values.get(node, [])))}

    return [
        {
            "left": end(link.left),
            "right": end(link.right),
            "method": link.method,
            "known_since": _iso(link.at),
            "evidence": link.evidence,
        }
        for link in identity.links(person.customer_id)
    ]


def _permissions(settings: Settings, identity: IdentityStore, person: Person) -> list[dict[str, Any]]:
    """What the customer said of each purpose, and from which sources events count unless they said no."""
    found = []
    for purpose, meaning in settings.consent.purposes.items():
        said = identity.permission(person.customer_id, purpose)
        found.append(
            {
                "purpose": purpose,
                "meaning": meaning,
                "granted": None if said is None else said.granted,
                "said_at": None if said is None else _iso(said.at),
                "sources_unless_denied": sorted(sources_under(settings, purpose)),
            }
        )
    return found


def _sources(settings: Settings, events: Iterable[StoredEvent]) -> list[dict[str, Any]]:
    """Where the events came from, and what those sources state of them."""
    keys = Keys(settings.workspace.access).all() if settings.workspace.access.exists() else []
    found = []
    for name in sorted({stored.event.source for stored in events}):
        mapping = settings.sources.get(name)
        stated = mapping.consent if mapping is not None else None
        statements: list[dict[str, Any]] = (
            [{"purposes": list(stated.purposes), "legal_basis": stated.legal_basis}] if stated else []
        )
        statements += [
            {"purposes": list(key.purposes), "legal_basis": key.legal_basis}
            for key in keys
            if key.source == name and key.purposes
        ]
        found.append({"source": name, "collected_under": statements})
    return found


def _event(settings: Settings, stored: StoredEvent, sealer: Sealer | None) -> dict[str, Any]:
    event = stored.event if sealer is None else open_event(stored.event, settings.identity, sealer)
    told = {**asdict(event), "event_time": _iso(event.event_time), "available_at": _iso(event.available_at)}
    return {"position": stored.position, **told}


def _of_other_specs(settings: Settings, person: Person) -> list[dict[str, Any]]:
    if not may_have_states(settings):
        return []
    storage = open_states(settings)
    found = []
    for spec_hash in storage.spec_hashes():
        if spec_hash == settings.features.hash or not storage.get_many(spec_hash, [person.customer_id]):
            continue
        spec = find_spec(settings, spec_hash)
        held = None if spec is None else _features(settings, person, spec)
        found.append(held or {"spec_hash": spec_hash})
    return found


def _features(settings: Settings, person: Person, spec: FeatureSpec) -> dict[str, Any] | None:
    if not may_have_states(settings):
        return None
    names = [feature.name for view in spec.views for feature in view.features]
    reader = FeatureReader(spec, open_states(settings), names)
    as_of = max(time.time_ns() // 1000, reader.data_end() or 0)
    if settings.profile.clock == "data_end":
        as_of = reader.data_end() or as_of
    rows = reader.read([person.customer_id], as_of)
    if not rows.found[0]:
        return None
    values = dict(zip(names, rows.values[0], strict=True))
    return {"as_of": _iso(as_of), "spec_hash": spec.hash, "values": values}


def _kept(settings: Settings, person: Person) -> list[dict[str, Any]]:
    found = QuarantineReader(settings).mentioning(Mentions(person, settings.identity))
    return [asdict(line) for line in found]


def _served(settings: Settings, person: Person) -> list[dict[str, Any]]:
    found = KeptVectors(settings.workspace, person, Mentions(person, settings.identity)).found()
    return [{**item, "served_at": _iso(item["served_at"]), "as_of": _iso(item["as_of"])} for item in found]


def _plain(value: Any) -> Any:
    """JSON types alone: what Parquet gives has instants."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return None if isinstance(value, float) and math.isnan(value) else value


def _iso(instant: int) -> str:
    return (_EPOCH + timedelta(microseconds=instant)).isoformat(timespec="microseconds").replace("+00:00", "Z")
