"""The identifiers that a live call carries beside userId and anonymousId, by kind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.settings.identity import ANONYMOUS_ID, USER_ID, IdentityConfig

MAXIMUM_LENGTH = 256
_DEVICE_ID = "device_id"
# Calls whose own traits or properties are about the person; a page's or a screen's are about the page.
_ABOUT_THE_PERSON = ("identify", "group", "track")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def identifiers_of(
    kind: str, properties: Mapping[str, Any], context: Mapping[str, Any], identity: IdentityConfig
) -> dict[str, str]:
    """Kind to value, as the client wrote it; of several of one kind the first.

    Looked for in traits and properties under the names of `identity.yaml`, then in `context.traits`,
    `context.device.id` and `context.externalIds`. What is no text or integer of 1 to MAXIMUM_LENGTH
    characters, without control characters, identifies nobody and stays where it is.
    """
    places = (properties if kind in _ABOUT_THE_PERSON else None, context.get("traits"))
    found: dict[str, str] = {}
    for name, value in (*_of_traits(places, identity), *_of_context(context)):
        text = _text(value)
        if text is not None and name in identity.kinds and name not in (USER_ID, ANONYMOUS_ID):
            found.setdefault(name, text)
    return found


def _of_traits(places: tuple[Any, ...], identity: IdentityConfig) -> Iterator[tuple[str, Any]]:
    for traits in places:
        if isinstance(traits, Mapping):
            for name, kind in identity.kinds.items():
                yield from ((name, traits[trait]) for trait in kind.traits if trait in traits)


def _of_context(context: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    device = context.get("device")
    if isinstance(device, Mapping):
        yield _DEVICE_ID, device.get("id")
    external = context.get("externalIds")
    for entry in external if isinstance(external, list) else ():
        if isinstance(entry, Mapping) and isinstance(entry.get("type"), str):
            yield entry["type"], entry.get("id")


def _text(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return str(value)
    if not isinstance(value, str) or len(value) > MAXIMUM_LENGTH:
        return None
    return value if value.strip() and not _CONTROL.search(value) else None
