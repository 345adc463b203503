"""Which parts of an event name a person, and the event with those parts sealed, or opened again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pipelines.events.journal import NewEvent
from pipelines.privacy.sealing import Sealer, is_sealed
from pipelines.settings.identity import IdentityConfig

EXTERNAL_IDS = "externalIds"

Change = Callable[[str, Any], Any]


def carries_personal(event: NewEvent, config: IdentityConfig) -> bool:
    """Whether `seal_event` would have anything to seal."""
    found = False

    def note(_name: str, value: Any) -> Any:
        nonlocal found
        found = True
        return value

    _changed(event, config, note)
    return found


def seal_event(event: NewEvent, config: IdentityConfig, sealer: Sealer) -> NewEvent:
    """The event with personal identifiers and properties as tokens, at any depth of `properties`.

    The kind of a token is the identifier's or the property's name. Sealing twice changes nothing.
    """
    return _changed(event, config, sealer.seal_json)


def open_event(event: NewEvent, config: IdentityConfig, sealer: Sealer) -> NewEvent:
    """The inverse of `seal_event`; what is not sealed stays as it is.

    Raises:
        UserError: a token is of another key, or damaged.
    """

    def opened(name: str, value: Any) -> Any:
        return sealer.open_json(name, value) if is_sealed(value) else value

    return _changed(event, config, opened)


def _changed(event: NewEvent, config: IdentityConfig, change: Change) -> NewEvent:
    identifiers = {
        kind: change(kind, value) if kind in config.personal_kinds and value is not None else value
        for kind, value in event.identifiers.items()
    }
    return replace(event, identifiers=identifiers, properties=_object(event.properties, event.event, config, change))


def change_personal(value: Any, parent: str, config: IdentityConfig, change: Change) -> Any:
    """A JSON value that stands under the name `parent`, with `change` applied to what is personal inside it."""
    return _part(value, parent, config, change)


def _object(value: Mapping[str, Any], parent: str, config: IdentityConfig, change: Change) -> dict[str, Any]:
    """`value` with `change` applied to its personal properties; null names nobody and stays."""
    changed: dict[str, Any] = {}
    for name, part in value.items():
        if part is None:
            changed[name] = None
        elif config.is_personal(parent, name):
            changed[name] = change(name, part)
        elif name == EXTERNAL_IDS and isinstance(part, list):
            changed[name] = [_external_id(item, config, change) for item in part]
        else:
            changed[name] = _part(part, name, config, change)
    return changed


def _part(value: Any, parent: str, config: IdentityConfig, change: Change) -> Any:
    if isinstance(value, Mapping):
        return _object(value, parent, config, change)
    return [_part(item, parent, config, change) for item in value] if isinstance(value, list) else value


def _external_id(item: Any, config: IdentityConfig, change: Change) -> Any:
    """One of Segment's `{id, type}`: what its id is of, its type says."""
    kind = item.get("type") if isinstance(item, dict) else None
    if not isinstance(kind, str) or kind not in config.personal_kinds or item.get("id") is None:
        return _part(item, EXTERNAL_IDS, config, change)
    return {**_object({**item, "id": None}, EXTERNAL_IDS, config, change), "id": change(kind, item["id"])}
