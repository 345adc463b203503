"""A decision as the event `Decision Made`, with all that is needed to make it again, and back.

Instants are int64 microseconds UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pipelines.decisions.ledger import SOURCE
from pipelines.decisions.record import UnreadableRecord, decision_of, decision_properties, situation_of, to_object
from pipelines.decisions.situation import Decision, Situation
from pipelines.events.journal import NewEvent
from pipelines.identity.vocabulary import Form
from pipelines.settings.identity import ANONYMOUS_ID, USER_ID

EVENT = "Decision Made"
CHANNEL = "back_office"


@dataclass(frozen=True, slots=True)
class Read:
    """Of which state features were read: its spec, and the position and revision that it stood at."""

    spec_hash: str
    position: int
    revision: int


@dataclass(frozen=True, slots=True)
class Message:
    """What the customer is to be told: a text, the key of a template, or both, in `language`."""

    language: str | None = None
    text: str | None = None
    template: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """What a decision was made from beside its situation.

    `read` is of the catalogue's features, `model_read` of those that `model` read; they are one where model and
    catalogue have the same spec. `context` is what the call brought along.
    """

    read: Read
    currency: str
    model: str | None = None
    model_version: str | None = None
    model_read: Read | None = None
    context: Mapping[str, int | str | None] = field(default_factory=dict)
    message: Message | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """All of one logged decision. `catalogue` is the hash of the catalogue that it was made by."""

    decision: Decision
    situation: Situation
    catalogue: str
    origin: Origin


def decision_event(decision: Decision, situation: Situation, origin: Origin, who: Form, available_at: int) -> NewEvent:
    """The event of a decision for the customer that `who` names; its time is the as-of instant."""
    kept = {**msgspec.to_builtins(origin), "decision": to_object(decision)}
    return NewEvent(
        source=SOURCE,
        event_id=decision.decision_id,
        event=EVENT,
        event_time=decision.as_of,
        available_at=available_at,
        channel=CHANNEL,
        user_id=who.stored if who.kind == USER_ID else None,
        anonymous_id=who.stored if who.kind == ANONYMOUS_ID else None,
        identifiers={} if who.kind in (USER_ID, ANONYMOUS_ID) else {who.kind: who.stored},
        value=decision.cost,
        currency=origin.currency,
        properties=decision_properties(decision, situation, origin.model, origin.model_version, kept),
    )


def recorded(properties: Mapping[str, Any]) -> Recorded:
    """What `decision_event` put into the properties, also through JSON. Raises UnreadableRecord."""
    try:
        record = dict(properties["record"][0])
        decision, situation = record.pop("decision"), record.pop("situation")
        catalogue = str(record.pop("catalogue"))
        origin = msgspec.convert(record, Origin)
    except (KeyError, IndexError, TypeError, msgspec.MsgspecError) as error:
        raise UnreadableRecord("a record without what a replay needs") from error
    return Recorded(decision_of(decision), situation_of(situation), catalogue, origin)
