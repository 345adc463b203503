"""What `decide` finds open to one customer and what it is worth, of many customers at once: columns in place of values.

The order of the rules, and each number, are those of `obstacles` and `candidates`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.catalogue import Action, Cap, Catalogue
from pipelines.decisions.customer_clock import CustomerClock, clock_of, customer_zone
from pipelines.decisions.draws import in_holdout
from pipelines.decisions.obstacles import counts_for, when_to_send, within_budget
from pipelines.decisions.scope import CONSENT, STAGE, consents_read

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class ManyContacts:
    """m contacts: which customer's each is, int64 (m,), `action` and `channel`, object (m,), `at`, int64 (m,)."""

    row: NDArray[np.int64]
    action: NDArray[np.object_]
    channel: NDArray[np.object_]
    at: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ManySituations:
    """n customers at one instant.

    customers: object (n,), ids. features: float64 (n,), NaN where empty, or object with text and None, by name.
    consents: bool (n,) by purpose; a purpose that lacks is denied. amounts: float64 (n, k), what is predicted of the
    catalogue's k actions, effects or, on a cold start, responses; NaN where an action is not known to the model.
    """

    customers: NDArray[np.object_]
    as_of: int
    features: Columns
    consents: Mapping[str, Flags]
    contacts: ManyContacts
    amounts: Floats
    spent: int

    @property
    def rows(self) -> int:
        return len(self.customers)


@dataclass(frozen=True, slots=True)
class ManyCandidates:
    """Of n customers and k actions, in the order of the catalogue.

    open: bool (n, k), no obstacle stands against the action. plain_value and expected_value: float64 (n, k), without
    and with the levers, minor units; NaN where the action is not open, or its value not known. holdout: bool (n,), gets
    no action whatever it is worth. stage: object (n,), None where none holds.
    """

    open: Flags
    plain_value: Floats
    expected_value: Floats
    holdout: Flags
    stage: NDArray[np.object_]

    @property
    def allocatable(self) -> Floats:
        """What an allocation may choose from: `expected_value`, NaN for customers of the holdout; float64 (n, k)."""
        return np.where(self.holdout[:, None], np.nan, self.expected_value)


def candidates_of_many(catalogue: Catalogue, many: ManySituations) -> ManyCandidates:
    """What is open to each customer and what it is worth.

    Raises:
        ValueError: a column or `amounts` has another shape, or the catalogue's own time zone does not exist.
    """
    shape = (many.rows, len(catalogue.actions))
    if many.amounts.shape != shape:
        raise ValueError(f"amounts: expected shape {shape}, got {many.amounts.shape}")
    scope, stage = _scope(catalogue, many)
    found = ManyCandidates(
        np.zeros(shape, dtype=bool), np.full(shape, np.nan), np.full(shape, np.nan), _holdout(catalogue, many), stage
    )
    reached = [(cap, _is_reached(cap, many)) for cap in catalogue.caps]
    clocks, clock_of_row = clocks_of(catalogue, many.features, many.as_of, many.rows)
    for at, action in enumerate(catalogue.actions):
        if not _is_valid(action, many.as_of) or not within_budget(action, catalogue.budget, many.spent):
            continue
        is_open = _allowed(action, many, scope)
        for cap, full in reached:
            if counts_for(cap, action.id, action.channel):
                is_open &= ~full
        if action.channel is not None:
            # Which hour suits the customer changes when a message goes out, never whether it may.
            may_send = np.array([when_to_send(action, None, clock) is not None for clock in clocks], dtype=bool)
            is_open &= may_send[clock_of_row]
        found.open[:, at] = is_open
        plain, expected = _worth(action, many.amounts[:, at], scope)
        found.plain_value[is_open, at] = plain[is_open]
        found.expected_value[is_open, at] = expected[is_open]
    return found


def _scope(catalogue: Catalogue, many: ManySituations) -> tuple[dict[str, NDArray[Any]], NDArray[np.object_]]:
    scope: dict[str, NDArray[Any]] = dict(many.features)
    for name in consents_read(catalogue):
        scope[name] = _consent(many, name[len(CONSENT) :])
    stage = np.full(many.rows, None, dtype=object)
    for name, rule in reversed(list(catalogue.stages.items())):
        values, known = rule.column(scope, many.rows)
        stage[values & known] = name
    scope[STAGE] = stage
    return scope, stage


def _consent(many: ManySituations, purpose: str) -> Flags:
    return many.consents[purpose] if purpose in many.consents else np.zeros(many.rows, dtype=bool)


def _holdout(catalogue: Catalogue, many: ManySituations) -> Flags:
    salt, share = catalogue.holdout_salt, catalogue.holdout_share
    return np.fromiter((in_holdout(salt, str(one), share) for one in many.customers), dtype=bool, count=many.rows)


def _is_valid(action: Action, as_of: int) -> bool:
    return (action.starts is None or action.starts <= as_of) and (action.ends is None or as_of < action.ends)


def _allowed(action: Action, many: ManySituations, scope: Columns) -> Flags:
    allowed = np.ones(many.rows, dtype=bool) if action.purpose is None else _consent(many, action.purpose).copy()
    if action.eligible is not None:
        values, known = action.eligible.column(scope, many.rows)
        allowed &= values & known
    return allowed


def _is_reached(cap: Cap, many: ManySituations) -> Flags:
    """Whether the cap leaves no room for one contact more, as `reached_caps` has it."""
    contacts = many.contacts
    counted = contacts.at >= many.as_of - cap.within
    if cap.action is None and cap.channel is None:
        counted &= ~_are(contacts.channel, None)
    if cap.action is not None:
        counted &= _are(contacts.action, cap.action)
    if cap.channel is not None:
        counted &= _are(contacts.channel, cap.channel)
    return np.bincount(contacts.row[counted], minlength=many.rows) >= cap.contacts


def _are(column: NDArray[np.object_], wanted: str | None) -> Flags:
    return np.asarray(column == wanted, dtype=bool)


def clocks_of(
    catalogue: Catalogue, features: Columns, as_of: int, rows: int
) -> tuple[list[CustomerClock], NDArray[np.int64]]:
    """The clocks that there are, and which of them each of `rows` customers has, int64 (n,)."""
    said = features.get(catalogue.time_zone_feature) if catalogue.time_zone_feature else None
    if said is None:
        return [clock_of(customer_zone(None, catalogue.time_zone), as_of)], np.zeros(rows, dtype=np.int64)
    numbers: dict[Any, int] = {}
    of_row = np.fromiter((numbers.setdefault(one, len(numbers)) for one in said), dtype=np.int64, count=rows)
    return [clock_of(customer_zone(one, catalogue.time_zone), as_of) for one in numbers], of_row


def _worth(action: Action, amounts: Floats, scope: Columns) -> tuple[Floats, Floats]:
    """Without and with the levers; NaN where it is not known, or beyond any amount."""
    values, known = action.value.column(scope, len(amounts))
    with np.errstate(invalid="ignore", over="ignore"):
        plain = amounts * values - action.cost
        expected = action.priority * plain + action.boost
    known = known & np.isfinite(amounts) & np.isfinite(expected)
    return np.where(known, plain, np.nan), np.where(known, expected, np.nan)
