"""A twin, and a timeline, as a person reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

Told = Mapping[str, Any]
# How many of a list a person wants to see; JSON has all.
_LINES, _CITED = 6, 3


def lines_of(twin: Told) -> list[str]:
    """Of what `workspace.show` gave."""
    head = f"{twin['customer_id']}, as of {_when(twin['as_of'])} UTC"
    lines = [head]
    for section, write in _SECTIONS.items():
        if section in twin:
            lines += write(twin[section])
    return lines


def timeline_lines(page: Told) -> list[str]:
    """Of what `workspace.timeline` gave."""
    lines = [_event(event) for event in page["events"]] or ["no event here"]
    return [*lines, *([f"older ones: --before {page['before']}"] if page["before"] else [])]


def _event(event: Told) -> str:
    told = {name: value for name, value in event["properties"].items() if not isinstance(value, dict | list)}
    properties = ", ".join(f"{name} {value}" for name, value in sorted(told.items()))
    late = "" if event["arrived_at"][:10] == event["event_time"][:10] else f", arrived {_when(event['arrived_at'])}"
    ignored = "" if event["counts"] else ", does not count"
    where = f"{event['channel']}, {event['source']} {event['event_id']}{late}{ignored}"
    return f"{_when(event['event_time'])}  {event['event']:<22} {properties}  ({where})"


def _profile(of: Told) -> Iterator[str]:
    traits = ", ".join(f"{name} {value}" for name, value in sorted(of["traits"].items())) or "nothing is known"
    yield f"profile: {traits}"
    if of["first_seen"]:
        channels = ", ".join(f"{name} {count}" for name, count in sorted(of["channels"].items()))
        yield f"  seen from {_when(of['first_seen'])} to {_when(of['last_seen'])}: {channels}"


def _identities(of: Sequence[Told]) -> Iterator[str]:
    yield "identifiers: " + (", ".join(f"{one['kind']} {one['value']}" for one in of) or "none")


def _standing(name: str) -> Callable[[Told], Iterator[str]]:
    def write(of: Told) -> Iterator[str]:
        since = f" since {_when(of['since'])}" if of["since"] else ""
        yield f"{name}: {of['stage']}{since} ({of['now']['description']})"
        yield from _because(of["now"])
        steps = (f"{_when(one['at'])}  {one['stage']}, moved by {_moved(one['moved_by'])}" for one in of["path"][::-1])
        yield from _newest(steps, len(of["path"]))
        if not of["path_is_whole"]:
            yield "  older steps are not kept"
        if of.get("dropped_at"):
            yield f"  lost at {of['dropped_at']}"

    return write


def _experience(of: Told) -> Iterator[str]:
    if of["outcome"] is None:
        yield "experience: nothing was told of it"
        return
    follow_up = f", to follow: {of['follow_up']}" if of["follow_up"] else ""
    yield f"experience: {of['outcome']}, emotion {of['emotion']:+.2f}{follow_up}"
    for point in of["touchpoints"]:
        events = _all_cited([signal["because"] for signal in point["signals"]])
        yield f"  {point['channel']}: {point['outcome']}, emotion {point['emotion']:+.2f}; {events}"


def _personas(of: Sequence[Told]) -> Iterator[str]:
    yield "personas:" if of else "personas: none"
    for persona in of:
        yield f"  {persona['weight']:.0%} {persona['name']} ({persona['description']})"
        yield from _because(persona, "    ")


def _triggers(of: Sequence[Told]) -> Iterator[str]:
    yield "triggers:" if of else "triggers: none"
    for trigger in of:
        yield f"  {trigger['name']} ({trigger['description']})"
        yield from _because(trigger, "    ")


def _barriers(of: Sequence[Told]) -> Iterator[str]:
    yield "why no purchase:" if of else "why no purchase: nothing to explain"
    for barrier in of:
        evidence = f"; {_all_cited(barrier['evidence'])}" if barrier["evidence"] else ""
        yield f"  {barrier['share']:.0%} {barrier['reason']}{evidence}"


def _contacts(of: Sequence[Told]) -> Iterator[str]:
    yield "contacts:" if of else "contacts: none"
    yield from _newest(map(_contact, of), len(of))


def _contact(of: Told) -> str:
    action = f", {of['action']}" if of["action"] else ""
    return f"{_when(of['at'])}  {of['channel']}: {of['event']}{action} ({of['event_id']})"


def _consents(of: Sequence[Told]) -> Iterator[str]:
    answers = {True: "yes", False: "no", None: "nothing said"}
    told = [
        f"{one['purpose']} {answers[one['granted']]}" + (f" ({_when(one['at'])})" if one["at"] else "") for one in of
    ]
    yield f"consent, in their own words: {', '.join(told)}"


def _because(of: Told, indent: str = "  ") -> Iterator[str]:
    if of["features"]:
        yield f"{indent}because " + ", ".join(f"{name} is {_value(value)}" for name, value in of["features"].items())
    if of["evidence"]:
        yield f"{indent}seen in {_all_cited(of['evidence'])}"


def _value(value: object) -> str:
    if value is None:
        return "empty"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _moved(event: Told | None) -> str:
    return "time" if event is None else _cited(event)


def _newest(lines: Iterable[str], count: int) -> Iterator[str]:
    for line in islice(lines, _LINES):
        yield f"  {line}"
    if count > _LINES:
        yield f"  and {count - _LINES} before (--json has all)"


def _all_cited(events: Sequence[Told]) -> str:
    more = f" and {len(events) - _CITED} more" if len(events) > _CITED else ""
    return ", ".join(map(_cited, events[:_CITED])) + more


def _cited(event: Told) -> str:
    return f"{event['event']} {_when(event['at'])} ({event['channel']}, {event['event_id']})"


def _when(instant: str) -> str:
    """To the minute: what a person compares."""
    return instant[:16].replace("T", " ")


_SECTIONS: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "profile": _profile,
    "identities": _identities,
    "stage": _standing("stage"),
    "relationship": _standing("relationship"),
    "experience": _experience,
    "personas": _personas,
    "triggers": _triggers,
    "barriers": _barriers,
    "contacts": _contacts,
    "consents": _consents,
}
