"""One event against the tracking plan: for events that arrive live what the SQL of `ingest` is for files.

Amounts arrive as decimal numbers in major units (`25.00`), as a JSON number or as text, and are stored as
integers in minor units of the event's currency. They are rounded half away from zero, first to 8 decimals
as a file's column is, then to those of the currency. No binary fraction stands in between, so JSON has to
be parsed with Decimal for its fractions.

What stands inside lists and objects, and properties that the plan does not name, are kept as they came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

from feature_repo.configuration import Problem
from pipelines.settings.tracking_plan import EventPlan, PropertyPlan, PropertyType, TrackingPlan

_BLANK = " \t\r\n"
_AMOUNT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000
# As a file's columns: integers of 18 digits, decimals of 10 digits before the point and 8 behind it.
_INTEGER_LIMIT = 10**18
_DECIMAL_LIMIT = 10**10
_EIGHT_DECIMALS = Decimal("1e-8")
# Of the years 1 to 9000, as in files.
EARLIEST, _LATEST = -62_135_510_400_000_000, 221_845_392_000_000_000
_DEEPEST = 50
_PLAIN = frozenset((str, int, bool, type(None)))

_EXPECTED: Mapping[PropertyType, str] = {
    "string": "text",
    "integer": "a whole number of at most 18 digits",
    "number": "a number below 10^10",
    "money": "an amount below 10^10 in major units, such as 25.00",
    "boolean": "true or false",
    "timestamp": "an ISO 8601 time with an offset, such as 2026-01-31T09:30:00Z",
    "list": "a list",
    "object": "an object",
}


class OutsidePlan(ValueError):
    """The event does not fit the plan. `problems` says all that is wrong, without any value."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, problems)))


class _Unfit(ValueError):
    """A value that is not what it should be; says what was expected."""


@dataclass(frozen=True, slots=True)
class CheckedEvent:
    """The columns that the plan decides. `planned` is false where the plan does not name the event."""

    properties: dict[str, Any]
    value: int | None
    currency: str | None
    planned: bool


def check_event(
    plan: TrackingPlan, event: str, channel: str, properties: Mapping[str, Any], currency: str | None = None
) -> CheckedEvent:
    """Check `properties`, parsed from JSON with Decimal for fractions, and bring them into their final types.

    `currency` holds where the properties name none. A null is as good as nothing.

    Raises:
        OutsidePlan: with every mistake.
    """
    planned = plan.events.get(event)
    if planned is None:
        return _unknown(plan, properties)
    check = _Check(plan, planned, properties, currency)
    problems = [*_channel(planned, channel), *check.run()]
    if problems:
        raise OutsidePlan(problems)
    value = check.values.get(planned.value) if planned.value else None
    return CheckedEvent(check.values, value, check.currency, True)


def channel_of(plan: TrackingPlan, event: str, default: str) -> str:
    """The channel of an event that names none: the sender's, unless only one other is possible."""
    planned = plan.events.get(event)
    if planned is None or not planned.channels or default in planned.channels or len(planned.channels) > 1:
        return default
    return planned.channels[0]


def kind_of(value: object) -> str:
    """What sort of JSON value this is, without the value itself."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int():
            return "a whole number"
        case Decimal() | float():
            return "a number"
        case str():
            return f"text of {len(value)} characters"
        case list():
            return f"a list of {len(value)} items"
    return "an object"


def instant_of(text: object) -> int | None:
    """Microseconds UTC of an ISO 8601 time with an offset; None for anything else. Digits beyond are cut off."""
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        return None
    try:
        found = (datetime.fromisoformat(text) - _EPOCH) // datetime.resolution
    except (ValueError, OverflowError):
        return None
    return found if EARLIEST <= found <= _LATEST else None


def iso(instant: int) -> str:
    """ISO 8601 in UTC with microseconds, of int64 microseconds."""
    moment = datetime.fromtimestamp(instant // _SECOND, UTC).replace(microsecond=instant % _SECOND)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def kept(value: Any, depth: int = 0) -> Any:
    """A JSON value as it came, fractions as float64. Raises ValueError for what cannot be stored."""
    if depth > _DEEPEST or (depth == _DEEPEST and value and isinstance(value, dict | list)):
        raise _Unfit(f"at most {_DEEPEST} objects and lists in each other")
    if isinstance(value, Decimal):
        found = float(value)
        if found in (float("inf"), float("-inf")):
            raise _Unfit("numbers that 64 bits can hold")
        return found
    if isinstance(value, dict):
        # Most values are plain, and a call for each would cost more than all the rest of an event.
        return {key: item if type(item) in _PLAIN else kept(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [item if type(item) in _PLAIN else kept(item, depth + 1) for item in value]
    return value


def _unknown(plan: TrackingPlan, properties: Mapping[str, Any]) -> CheckedEvent:
    if plan.unknown_events == "refuse":
        hint = "check its spelling, or add it to events.yaml"
        raise OutsidePlan([Problem("event", "an event of the tracking plan", "another name", hint)])
    found = {name: _kept_property(value) for name, value in properties.items() if value is not None}
    return CheckedEvent(found, None, None, False)


def _kept_property(value: Any) -> Any:
    try:
        return kept(value)
    except _Unfit as unfit:
        raise OutsidePlan([Problem("properties", str(unfit), kind_of(value))]) from None


def _channel(planned: EventPlan, channel: str) -> Iterator[Problem]:
    if planned.channels and channel not in planned.channels:
        hint = "send it as context.channel, or make the key with another --channel"
        yield Problem("context.channel", f"one of: {', '.join(planned.channels)}", channel, hint)


class _Check:
    """One event's properties; `values` and `currency` are filled by `run`."""

    def __init__(
        self, plan: TrackingPlan, planned: EventPlan, properties: Mapping[str, Any], currency: str | None
    ) -> None:
        self._plan, self._planned, self._given = plan, planned, properties
        self._default = currency
        self.values: dict[str, Any] = {}
        self.currency: str | None = None

    def run(self) -> Iterator[Problem]:
        """Every mistake."""
        if any(planned.type == "money" for planned in self._planned.properties.values()):
            yield from self._find_currency()
        for name, value in self._given.items():
            if value is not None and name not in self._planned.properties:
                try:
                    self.values[name] = kept(value)
                except _Unfit as unfit:
                    yield Problem("properties", str(unfit), kind_of(value))
        for name, planned in self._planned.properties.items():
            yield from self._property(name, planned)

    def _find_currency(self) -> Iterator[Problem]:
        given = self._given.get("currency")
        found = given.strip(_BLANK).upper() if isinstance(given, str) else self._default if given is None else None
        if found in self._plan.currencies:
            self.currency = found
        elif given is not None:
            yield Problem("properties.currency", f"one of: {', '.join(self._plan.currencies)}", kind_of(given))

    def _property(self, name: str, planned: PropertyPlan) -> Iterator[Problem]:
        field, given = f"properties.{name}", self._given.get(name)
        if isinstance(given, str) and not given.strip(_BLANK):
            given = None
        if given is None:
            if planned.required:
                yield Problem(field, _EXPECTED[planned.type], "nothing")
            return
        try:
            value = self._money(given) if planned.type == "money" else _READERS[planned.type](given)
        except _Unfit as unfit:
            yield Problem(field, str(unfit) or _EXPECTED[planned.type], kind_of(given))
            return
        yield from _within(field, planned, value)
        self.values[name] = value

    def _money(self, given: Any) -> int:
        amount = _decimal(Decimal(given) if isinstance(given, str) and _AMOUNT.fullmatch(given) else given)
        if self.currency is None:
            raise _Unfit("an amount with properties.currency")
        digits = self._plan.currencies[self.currency]
        return int(_rounded(amount, Decimal(1).scaleb(-digits)).scaleb(digits))


def _within(field: str, planned: PropertyPlan, value: Any) -> Iterator[Problem]:
    if planned.minimum is not None and value < planned.minimum:
        yield Problem(field, f"at least {planned.minimum}", "less")
    if planned.maximum is not None and value > planned.maximum:
        yield Problem(field, f"at most {planned.maximum}", "more")
    if planned.allowed and str(value) not in map(str, planned.allowed):
        yield Problem(field, f"one of: {', '.join(map(str, planned.allowed))}", kind_of(value))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Unfit
    return value.strip(_BLANK)


def _integer(value: object) -> int:
    if isinstance(value, Decimal) and abs(value) < _INTEGER_LIMIT and value == value.to_integral_value():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _INTEGER_LIMIT:
        raise _Unfit
    return value


def _decimal(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _Unfit
    if not -_DECIMAL_LIMIT < value < _DECIMAL_LIMIT:
        raise _Unfit
    return _rounded(Decimal(value), _EIGHT_DECIMALS)


def _rounded(value: Decimal, unit: Decimal) -> Decimal:
    with localcontext() as context:
        # Room for all digits that can stand before and behind the point.
        context.prec = 40
        return value.quantize(unit, ROUND_HALF_UP)


def _number(value: Any) -> float | int:
    exact = _decimal(value)
    return int(exact) if isinstance(value, int) else float(exact)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Unfit
    return value


def _timestamp(value: Any) -> str:
    instant = instant_of(value)
    if instant is None:
        raise _Unfit
    return iso(instant)


def _list(value: Any) -> Any:
    if not isinstance(value, list):
        raise _Unfit
    return kept(value)


def _object(value: Any) -> Any:
    if not isinstance(value, dict):
        raise _Unfit
    return kept(value)


_READERS: Mapping[PropertyType, Callable[[Any], Any]] = {
    "string": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "list": _list,
    "object": _object,
}
