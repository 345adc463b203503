"""Situations and decisions as JSON and back, to the last bit, and as the properties of the event `Decision Made`.

Floats are written with the fewest digits that give them back. A number that is none (NaN, infinite) becomes empty;
decisions treat both alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipelines.decisions.situation import Decision, Situation

_SITUATION = msgspec.json.Decoder(Situation)
_DECISION = msgspec.json.Decoder(Decision)
_ENCODER = msgspec.json.Encoder()


class UnreadableRecord(ValueError):
    """What should be a situation or a decision is something else."""


def encode(record: Situation | Decision) -> bytes:
    """As JSON: one object, keys in the order of the fields."""
    return _ENCODER.encode(record)


def decode_situation(data: bytes | str) -> Situation:
    """What `encode` gave. Raises `UnreadableRecord`."""
    try:
        return _SITUATION.decode(data)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise UnreadableRecord(str(error)) from error


def decode_decision(data: bytes | str) -> Decision:
    """What `encode` gave. Raises `UnreadableRecord`."""
    try:
        return _DECISION.decode(data)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise UnreadableRecord(str(error)) from error


def to_object(record: Situation | Decision) -> dict[str, Any]:
    """As plain values, such as stand in an event's properties."""
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain


def situation_of(plain: Mapping[str, Any]) -> Situation:
    """What `to_object` gave of a situation, also through JSON. Raises `UnreadableRecord`."""
    try:
        return msgspec.convert(plain, Situation)
    except msgspec.MsgspecError as error:
        raise UnreadableRecord(str(error)) from error


def decision_of(plain: Mapping[str, Any]) -> Decision:
    """What `to_object` gave of a decision, also through JSON. Raises `UnreadableRecord`."""
    try:
        return msgspec.convert(plain, Decision)
    except msgspec.MsgspecError as error:
        raise UnreadableRecord(str(error)) from error


def decision_properties(
    decision: Decision, situation: Situation, model: str | None, model_version: str | None, origin: Mapping[str, Any]
) -> dict[str, Any]:
    """The properties of the event `Decision Made` (`configs/events.yaml`), `cost` in minor units.

    `record` holds the situation, the catalogue's hash and `origin`: where the features were read (spec hash, journal
    position, revision) and whatever else a replay wants to know. `eligible` are the choices with a chance above 0.
    """
    told = {
        "decision_id": decision.decision_id,
        "action_id": decision.action,
        "contacted": decision.channel is not None,
        "contact_channel": decision.channel,
        "variant": decision.variant,
        "propensity": decision.propensity,
        "eligible": [item.action for item in decision.alternatives if item.propensity > 0.0],
        "basis": decision.basis,
        "holdout": decision.holdout,
        "explored": decision.explored,
        "cost": decision.cost,
        "model": model,
        "model_version": model_version,
        "record": [{"situation": to_object(situation), "catalogue": decision.catalogue, **origin}],
    }
    return {name: value for name, value in told.items() if value is not None}
