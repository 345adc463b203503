"""All that a plan needs of every customer, read some at a time, so that memory follows what is kept of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.catalogue import Action, Catalogue
from pipelines.decide_batch.customers import Customers
from pipelines.decide_batch.features import Column, FeatureColumns
from pipelines.decide_batch.models import Deciding
from pipelines.decide_batch.obstacles import obstacles_of
from pipelines.decide_batch.timing import send_times
from pipelines.decisions.decide_many import ManyContacts, ManySituations, candidates_of_many
from pipelines.decisions.scope import CONSENT, STAGE, consents_read
from pipelines.decisions.situation import Contact

CUSTOMERS_A_TIME = 20_000


@dataclass(frozen=True, slots=True)
class Crowd:
    """n customers with a state, and the catalogue's k actions.

    ids: object (n,). is_open: bool (n, k). expected_value: float64 (n, k), minor units, NaN where an action is not open
    or its value not known. obstacle: int8 (n, k), numbers of `obstacles.CODES`. variant: int8 (n, k). send_at: int64
    (n, k) and hour: int8 (n, k), as `timing`. holdout: bool (n,). stage: object (n,). costs: int64 (k,), minor units.
    """

    ids: NDArray[np.object_]
    is_open: NDArray[np.bool_]
    expected_value: NDArray[np.float64]
    obstacle: NDArray[np.int8]
    variant: NDArray[np.int8]
    send_at: NDArray[np.int64]
    hour: NDArray[np.int8]
    holdout: NDArray[np.bool_]
    stage: NDArray[np.object_]
    costs: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a crowd is read from: features of the catalogue and of the model, which is one reader where it can be."""

    catalogue: Catalogue
    deciding: Deciding
    own: FeatureColumns
    of_model: FeatureColumns | None
    contacts: Mapping[str, tuple[Contact, ...]]
    spent: int
    as_of: int

    def features(self, customers: tuple[str, ...]) -> tuple[NDArray[np.bool_], dict[str, Column], dict[str, Column]]:
        """Who has a state, and the features of the catalogue and of the model."""
        found, own = self.own.read(customers, self.as_of)
        if self.of_model is None:
            return found, own, own
        also, of_model = self.of_model.read(customers, self.as_of)
        return found & also, own, of_model


def read_crowd(sources: Sources, customers: Customers, advance: Callable[[float], None] = lambda rows: None) -> Crowd:
    """Look at all of them. Raises AsOfTooEarly, StateUnavailable."""
    parts = []
    for begin in range(0, len(customers.ids), CUSTOMERS_A_TIME):
        ids = customers.ids[begin : begin + CUSTOMERS_A_TIME]
        granted = {purpose: held[begin : begin + CUSTOMERS_A_TIME] for purpose, held in customers.granted.items()}
        parts.append(crowd_of(sources, ids, granted))
        advance(len(ids))
    return joined(parts, sources.catalogue)


def crowd_of(sources: Sources, ids: tuple[str, ...], granted: Mapping[str, NDArray[np.bool_]]) -> Crowd:
    """What is open to these customers, what it is worth, and why the rest is not."""
    found, own, of_model = sources.features(ids)
    if not found.all():
        ids = tuple(customer for customer, known in zip(ids, found.tolist(), strict=True) if known)
        granted = {purpose: held[found] for purpose, held in granted.items()}
        own = {name: column[found] for name, column in own.items()}
        of_model = {name: column[found] for name, column in of_model.items()} if sources.of_model else own
    amounts = sources.deciding.amounts([action.id for action in sources.catalogue.actions], of_model, len(ids))
    contacts = _contacts(ids, sources.contacts)
    return looked_at(sources.catalogue, ids, sources.as_of, own, granted, contacts, amounts, sources.spent)


def looked_at(
    catalogue: Catalogue, ids: tuple[str, ...], as_of: int, features: dict[str, Column],
    granted: Mapping[str, NDArray[np.bool_]], contacts: ManyContacts, amounts: NDArray[np.float64], spent: int,
) -> Crowd:  # fmt: skip
    """A crowd of what was read; `amounts` as `ManySituations` has them."""
    customers = np.array(ids, dtype=object)
    many = ManySituations(customers, as_of, features, granted, contacts, amounts, spent)
    candidates = candidates_of_many(catalogue, many)
    times = send_times(catalogue, features, as_of, len(ids))
    scope: dict[str, Column] = {**features, STAGE: candidates.stage}
    for name in consents_read(catalogue):
        purpose = name[len(CONSENT) :]
        scope[name] = granted[purpose] if purpose in granted else np.zeros(len(ids), dtype=bool)
    return Crowd(
        customers, candidates.open, candidates.expected_value, obstacles_of(catalogue, many, candidates),
        _variants(catalogue, scope, len(ids)), times.send_at, times.hour, candidates.holdout, candidates.stage,
        _costs(catalogue),
    )  # fmt: skip


def joined(parts: list[Crowd], catalogue: Catalogue) -> Crowd:
    """The parts after each other."""
    if not parts:
        return _nobody(catalogue)
    names = [name for name in Crowd.__dataclass_fields__ if name != "costs"]
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Crowd(**columns, costs=_costs(catalogue))


def contacts_of(rows: Iterator[tuple[int, Contact]]) -> ManyContacts:
    """Contacts with the number of their customer."""
    made = list(rows)
    return ManyContacts(
        np.array([row for row, _ in made], dtype=np.int64),
        np.array([contact.action for _, contact in made], dtype=object),
        np.array([contact.channel for _, contact in made], dtype=object),
        np.array([contact.at for _, contact in made], dtype=np.int64),
    )


def _contacts(ids: tuple[str, ...], contacts: Mapping[str, tuple[Contact, ...]]) -> ManyContacts:
    if not contacts:
        return contacts_of(iter(()))
    return contacts_of((row, contact) for row, customer in enumerate(ids) for contact in contacts.get(customer, ()))


def _costs(catalogue: Catalogue) -> NDArray[np.int64]:
    return np.array([action.cost for action in catalogue.actions], dtype=np.int64)


def _variants(catalogue: Catalogue, scope: Mapping[str, Column], rows: int) -> NDArray[np.int8]:
    """The number of the variant of each action: the first whose rule holds, which the last has none of."""
    made = np.zeros((rows, len(catalogue.actions)), dtype=np.int8)
    for at, action in enumerate(catalogue.actions):
        made[:, at] = _variant(action, scope, rows)
    return made


def _variant(action: Action, scope: Mapping[str, Column], rows: int) -> NDArray[np.int8]:
    made = np.zeros(rows, dtype=np.int8)
    for number, variant in reversed(list(enumerate(action.variants))):
        if variant.when is None:
            made[:] = number
            continue
        values, known = variant.when.column(scope, rows)
        made[values & known] = number
    return made


def _nobody(catalogue: Catalogue) -> Crowd:
    actions = len(catalogue.actions)
    return Crowd(
        np.empty(0, dtype=object), np.empty((0, actions), dtype=bool), np.empty((0, actions)),
        np.empty((0, actions), dtype=np.int8), np.empty((0, actions), dtype=np.int8),
        np.empty((0, actions), dtype=np.int64), np.empty((0, actions), dtype=np.int8), np.empty(0, dtype=bool),
        np.empty(0, dtype=object), _costs(catalogue),
    )  # fmt: skip
