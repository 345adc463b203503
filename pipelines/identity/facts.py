"""What events say of identity: which identifiers there are, which came together, and who consented to what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

from pipelines.events.journal import NewEvent, StoredEvent
from pipelines.identity.graph import Method
from pipelines.identity.vocabulary import Form, Vocabulary
from pipelines.settings.consent import ConsentConfig
from pipelines.settings.identity import ANONYMOUS_ID, USER_ID

ALIASED = "Customer Aliased"
CONSENT_UPDATED = "Consent Updated"


class Evidence(NamedTuple):
    """Why identifiers are linked: the event that first showed it. `at` is its arrival, microseconds UTC."""

    at: int
    source: str
    event_id: str


class Pair(NamedTuple):
    """Two forms that are of one customer. Of an alias, `left` is the former one; else the two are in order."""

    left: Form
    right: Form
    method: Method


class Consent(NamedTuple):
    """What somebody said about a purpose. Of two the later one holds, of two at one instant the denial."""

    form: Form
    purpose: str
    at: int
    granted: bool
    source: str
    event_id: str


@dataclass(slots=True)
class Facts:
    """Everything that some events say; `forms` with the lowest position that each was seen at."""

    forms: dict[Form, int] = field(default_factory=dict)
    pairs: dict[Pair, Evidence] = field(default_factory=dict)
    consents: list[Consent] = field(default_factory=list)

    def saw(self, form: Form, position: int) -> None:
        known = self.forms.get(form)
        self.forms[form] = position if known is None else min(known, position)

    def together(self, pair: Pair, evidence: Evidence) -> None:
        known = self.pairs.get(pair)
        self.pairs[pair] = evidence if known is None else min(known, evidence)


def facts_of(events: Iterable[StoredEvent], vocabulary: Vocabulary, consent: ConsentConfig) -> Facts:
    """The facts of `events`; the order of the events changes nothing."""
    facts = Facts()
    for stored in events:
        event = stored.event
        forms = list(vocabulary.forms(event))
        evidence = Evidence(event.available_at, event.source, event.event_id)
        for form in forms:
            facts.saw(form, stored.position)
        for one, other in combinations(sorted(forms), 2):
            facts.together(Pair(one, other, "event"), evidence)
        if event.event == ALIASED and event.user_id:
            for pair in _alias(event.user_id, event.properties):
                facts.saw(pair.left, stored.position)
                facts.together(pair, evidence)
        facts.consents += _consents(event, forms, vocabulary, consent)
    return facts


def _consents(
    event: NewEvent, forms: Sequence[Form], vocabulary: Vocabulary, consent: ConsentConfig
) -> Iterator[Consent]:
    said = _said(event.event, event.properties, consent)
    owner = next((form for form in forms if vocabulary.node(form) is not None), None) if said else None
    if owner is not None:
        for purpose, granted in said.items():
            yield Consent(owner, purpose, event.event_time, granted, event.source, event.event_id)


def _alias(user_id: str, properties: Mapping[str, Any]) -> Iterator[Pair]:
    previous = properties.get("previous_id")
    if isinstance(previous, str) and previous and previous != user_id:
        # Clients do not say whether it was a user id or an anonymous one.
        for kind in (USER_ID, ANONYMOUS_ID):
            yield Pair(Form(kind, previous), Form(USER_ID, user_id), "alias")


def _said(event: str, properties: Mapping[str, Any], consent: ConsentConfig) -> dict[str, bool]:
    """Purposes that an event grants (true) or denies."""
    said: dict[str, bool] = {}
    for category, granted in _preferences(properties).items():
        for purpose in consent.categories.get(category, (category,) if category in consent.purposes else ()):
            if isinstance(granted, bool):
                # Two categories may stand for one purpose: what one of them denies is denied.
                said[purpose] = granted and said.get(purpose, True)
    named, answer = properties.get("purpose"), properties.get("granted")
    if event == CONSENT_UPDATED and named in consent.purposes and isinstance(answer, bool):
        said[str(named)] = answer
    return said


def _preferences(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """`context.consent.categoryPreferences` of a live event."""
    found: Any = properties
    for name in ("$call", "context", "consent", "categoryPreferences"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
