"""Consent as people and applications set and read it: what a customer says is an event like any other."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from feature_repo.configuration import Problem
from pipelines.access import Keys
from pipelines.console import UserError
from pipelines.events.journal import NewEvent
from pipelines.identity.facts import CONSENT_UPDATED
from pipelines.identity.store import IdentityStore, forms_of
from pipelines.identity.vocabulary import Form
from pipelines.settings import Settings
from pipelines.settings.identity import ANONYMOUS_ID, USER_ID

# No key and no file can have this name, so that nobody else's events are taken for duplicates of these.
SOURCE = "consent-api"
CHANNEL = "back_office"


@dataclass(frozen=True, slots=True)
class Allowed:
    """Whether a customer may be treated under `purpose`, and by what.

    `own_word`: they said so at `at` (microseconds UTC), through `source`. `source_basis`: they said nothing,
    and events of `sources` were collected under the purpose on their legal basis. `default`: neither, so no.
    """

    purpose: str
    allowed: bool
    by: str
    at: int | None = None
    source: str | None = None
    sources: Mapping[str, str | None] | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody says of their purposes (true grants, false denies) at `at`, microseconds UTC.

    `key` makes the events the same ones when the call is repeated; without it each call is its own.
    """

    form: Form
    purposes: Mapping[str, bool]
    at: int
    note: str | None = None
    key: str | None = None
    channel: str = CHANNEL


def consent_events(said: Said) -> list[NewEvent]:
    """One event a purpose, as they are appended to the journal once they are sealed."""
    name = said.key or uuid.uuid4().hex
    kind, value = said.form
    return [
        NewEvent(
            source=SOURCE,
            event_id=f"{name}:{purpose}",
            event=CONSENT_UPDATED,
            event_time=said.at,
            available_at=said.at,
            channel=said.channel,
            user_id=value if kind == USER_ID else None,
            anonymous_id=value if kind == ANONYMOUS_ID else None,
            identifiers={} if kind in (USER_ID, ANONYMOUS_ID) else {kind: value},
            value=None,
            currency=None,
            properties={"purpose": purpose, "granted": granted, **({"note": said.note} if said.note else {})},
        )
        for purpose, granted in said.purposes.items()
    ]


def spoken_for(identity: IdentityStore, customer_id: str) -> Form:
    """An identifier that stands for a customer in an event.

    Raises:
        UserError: it is the id of a customer without user id, and there is none such.
    """
    if not customer_id.startswith("~"):
        return Form(USER_ID, customer_id)
    forms = forms_of(identity.members(customer_id))
    forms = [form for form in forms if form != (USER_ID, customer_id)]
    if not forms:
        problem = Problem("customer_id", "the id of a customer with events", "an id without any")
        raise UserError("there is no such customer", [problem])
    return min(forms, key=lambda form: (identity.config.rank(form.kind), form.stored))


def newest_word(identity: IdentityStore, form: Form) -> int | None:
    """When the customer with this identifier last said something of a purpose (microseconds UTC); None: never."""
    customer = identity.customer_with(form)
    query = "SELECT max(c.at) FROM identity_nodes n JOIN identity_consents c ON c.node = n.id WHERE n.customer_id = ?"
    found: int | None = identity.rows(query, (customer,))[0][0] if customer is not None else None
    return found


def purpose_problems(settings: Settings, purposes: Iterable[str]) -> list[Problem]:
    """What is wrong with the names of purposes."""
    known = settings.consent.purposes
    expected = f"one of: {', '.join(known)}"
    return [Problem("purposes", expected, "another name") for name in purposes if name not in known]


def permissions_of(
    settings: Settings, identity: IdentityStore, customer_id: str, sources: Iterable[str]
) -> list[Allowed]:
    """Every purpose of the configuration, in its order; `sources` are those of the customer's events."""
    mine, stated = set(sources), _stated(settings)
    found = []
    for purpose in settings.consent.purposes:
        told = identity.permission(customer_id, purpose)
        basis = {name: stated[name][1] for name in sorted(mine & stated.keys()) if purpose in stated[name][0]}
        if told is not None:
            found.append(Allowed(purpose, told.granted, "own_word", told.at, told.source))
        elif basis:
            found.append(Allowed(purpose, True, "source_basis", sources=basis))
        else:
            found.append(Allowed(purpose, False, "default"))
    return found


def _stated(settings: Settings) -> dict[str, tuple[frozenset[str], str | None]]:
    """Of each source the purposes it was collected for, and the legal basis of that."""
    from pipelines.access import source_purposes

    access = settings.workspace.access
    bases = {key.source: key.legal_basis for key in Keys(access).all() if key.purposes} if access.exists() else {}
    keys = {name: (purposes, bases.get(name)) for name, purposes in source_purposes(access).items()}
    files = {
        name: (frozenset(source.consent.purposes), source.consent.legal_basis)
        for name, source in settings.sources.items()
        if source.consent
    }
    return {**keys, **files}
