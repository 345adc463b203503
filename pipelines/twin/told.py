"""A twin as plain values for JSON: section by section, instants in ISO 8601, persons masked.

Who looks sees the sections of a view; all of them where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pipelines.events.plan_check import iso
from pipelines.identity.graph import FROM_THE_BEGINNING
from pipelines.identity.store import Member
from pipelines.twin.as_of import Word
from pipelines.twin.masking import Mask
from pipelines.twin.state import Barrier, Cited, Contact, Persona, Ruled, Standing, Touchpoint, Twin

IDENTIFIED = "Customer Identified"

Told = dict[str, Any]


def told(twin: Twin, sections: Iterable[str], mask: Mask) -> Told:
    """By section what the twin says; what is no section of twins is left out. Raises as `mask`."""
    return {section: _SECTIONS[section](twin, mask) for section in sections if section in _SECTIONS}


def told_words(words: Mapping[str, Word], purposes: Iterable[str]) -> list[Told]:
    """What the customer said, purpose by purpose; `granted` is None where they said nothing."""
    return [
        {
            "purpose": purpose,
            "granted": word.granted if word else None,
            "at": iso(word.at) if word else None,
            "source": word.source if word else None,
        }
        for purpose, word in ((purpose, words.get(purpose)) for purpose in purposes)
    ]


def told_identities(members: Iterable[Member], mask: Mask) -> list[Told]:
    """The identifiers of a customer, the strongest kind first. Raises as `mask`."""
    shown = {(mask.config.rank(of.form.kind), str(mask.identifier(*of.form))): of for of in members}
    return [
        {
            "kind": of.form.kind,
            "value": value,
            "since": None if of.joined_at == FROM_THE_BEGINNING else iso(of.joined_at),
        }
        for (_, value), of in sorted(shown.items(), key=lambda item: item[0])
    ]


def _profile(twin: Twin, mask: Mask) -> Told:
    of = twin.profile
    return {
        "traits": mask.properties(IDENTIFIED, of.traits),
        "personal": list(of.sealed),
        "first_seen": _instant(of.first_seen),
        "last_seen": _instant(of.last_seen),
        "channels": dict(of.channels),
    }


def _standing(of: Standing, mask: Mask) -> Told:
    return {
        "stage": of.stage,
        "since": _instant(of.since),
        "now": _ruled(of.now, mask),
        "path": [
            {
                "stage": step.stage,
                "at": iso(step.at),
                "moved_by": _cited(step.moved_by, mask) if step.moved_by else None,
            }
            for step in of.path
        ],
        "path_is_whole": of.path_is_whole,
    }


def _experience(twin: Twin, mask: Mask) -> Told:
    of = twin.experience
    return {
        "outcome": of.outcome,
        "emotion": of.emotion,
        "follow_up": of.follow_up,
        "touchpoints": [_touchpoint(point, mask) for point in of.touchpoints],
    }


def _touchpoint(of: Touchpoint, mask: Mask) -> Told:
    signals = [
        {"outcome": signal.outcome, "emotion": signal.emotion, "because": _cited(signal.because, mask)}
        for signal in of.signals
    ]
    return {"channel": of.channel, "outcome": of.outcome, "emotion": of.emotion, "signals": signals}


def _persona(of: Persona, mask: Mask) -> Told:
    return {
        "name": of.name,
        "description": of.description,
        "weight": of.weight,
        "features": dict(of.features),
        "evidence": _all_cited(of.evidence, mask),
    }


def _ruled(of: Ruled, mask: Mask) -> Told:
    return {
        "name": of.name,
        "description": of.description,
        "features": dict(of.features),
        "evidence": _all_cited(of.evidence, mask),
    }


def _barrier(of: Barrier, mask: Mask) -> Told:
    return {"reason": of.reason, "share": of.share, "evidence": _all_cited(of.evidence, mask)}


def _contact(of: Contact) -> Told:
    return {
        "at": iso(of.at),
        "channel": of.channel,
        "event": of.event,
        "action": of.action,
        "event_id": of.event_id,
    }


def _all_cited(events: Iterable[Cited], mask: Mask) -> list[Told]:
    return [_cited(event, mask) for event in events]


def _cited(of: Cited, mask: Mask) -> Told:
    return {
        "event": of.event,
        "at": iso(of.at),
        "channel": of.channel,
        "source": of.source,
        "event_id": of.event_id,
        "properties": mask.properties(of.event, of.properties),
    }


def _instant(at: int | None) -> str | None:
    return None if at is None else iso(at)


_SECTIONS: Mapping[str, Callable[[Twin, Mask], Any]] = {
    "profile": _profile,
    "stage": lambda twin, mask: {**_standing(twin.stage, mask), "dropped_at": twin.dropped_at},
    "relationship": lambda twin, mask: _standing(twin.relationship, mask),
    "experience": _experience,
    "personas": lambda twin, mask: [_persona(persona, mask) for persona in twin.personas],
    "triggers": lambda twin, mask: [_ruled(trigger, mask) for trigger in twin.triggers],
    "barriers": lambda twin, mask: [_barrier(barrier, mask) for barrier in twin.barriers],
    "contacts": lambda twin, mask: [_contact(contact) for contact in twin.contacts],
}
