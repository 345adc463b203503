"""Where predictions read features: the port, and an in-memory store behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from feature_repo.state.read import FeatureValue
from feature_repo.state.storage import NEVER


class FeatureRows(Protocol):
    """Features of n customers: `found` (n), `matrix` (n, k) float64 with NaN for empty.

    `values` (n, k) are the same as they were read, None for empty; `positions` and `revisions` (n) say of which state,
    and `newest` (n) its latest instant, event or arrival (int64 microseconds UTC).
    """

    @property
    def found(self) -> Sequence[bool]: ...

    @property
    def matrix(self) -> NDArray[np.float64]: ...

    @property
    def values(self) -> Sequence[Sequence[FeatureValue]]: ...

    @property
    def positions(self) -> Sequence[int]: ...

    @property
    def revisions(self) -> Sequence[int]: ...

    @property
    def newest(self) -> Sequence[int]: ...


class FeatureReader(Protocol):
    """Reads the k features of one model, in its order, from the state of customers.

    Used from one thread at a time. All of it raises StateUnavailable.
    """

    @property
    def spec_hash(self) -> str | None:
        """Hash of the feature definitions the state was built with; None where nothing was built."""
        ...

    @property
    def inputs(self) -> Mapping[str, Literal["integer", "text"]]:
        """What a call may bring along, and of which kind."""
        ...

    def read(self, customer_ids: Sequence[str], as_of: int, context: Mapping[str, Any] | None = None) -> FeatureRows:
        """Features at `as_of` (int64 microseconds UTC), a row for each id, in order.

        `context` is what the call brings along, by input. Raises AsOfTooEarly where a state has moved past `as_of`.
        """
        ...

    def read_from(
        self, customer_ids: Sequence[str], earliest: int, context: Mapping[str, Any] | None = None
    ) -> tuple[int, FeatureRows]:
        """The same at `earliest`, or just after the newest arrival of these customers where that is later; and when."""
        ...

    def of(self, feature_names: Sequence[str]) -> FeatureReader:
        """A reader of other features of the same states, for the same thread. Raises KeyError if one is not there."""
        ...

    def check(self) -> None:
        """Raises StateUnavailable where states cannot be read now, or are not whole."""
        ...

    def data_end(self) -> int | None:
        """The instant (int64 microseconds UTC) just after the newest event; None where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class MemoryRows:
    found: list[bool]
    matrix: NDArray[np.float64]
    values: list[list[FeatureValue]]
    positions: list[int]
    revisions: list[int]
    newest: list[int]


@dataclass(slots=True)
class MemoryReader:
    """A `FeatureReader` over values given beforehand; they do not age, and no context changes them.

    `arrived` is the newest arrival of each customer.
    `names` are of the values, in order, for readers of others of them.
    """

    values: Mapping[str, Sequence[float]]
    width: int
    spec_hash: str | None
    end: int | None
    inputs: Mapping[str, Literal["integer", "text"]] = field(default_factory=dict)
    arrived: int = NEVER
    names: tuple[str, ...] = ()

    def of(self, feature_names: Sequence[str]) -> MemoryReader:
        place = {name: at for at, name in enumerate(self.names)}
        chosen = [place[name] for name in feature_names]
        values = {customer: [row[at] for at in chosen] for customer, row in self.values.items()}
        return MemoryReader(
            values, len(chosen), self.spec_hash, self.end, self.inputs, self.arrived, tuple(feature_names)
        )

    def read(self, customer_ids: Sequence[str], as_of: int, context: Mapping[str, Any] | None = None) -> MemoryRows:
        empty = [np.nan] * self.width
        matrix = np.array([self.values.get(customer, empty) for customer in customer_ids], dtype=np.float64)
        matrix = matrix.reshape(-1, self.width)
        values: list[list[int | float | str | None]] = [
            [None if np.isnan(value) else value for value in row] for row in matrix.tolist()
        ]
        nowhere = [0] * len(values)
        found, newest = [customer in self.values for customer in customer_ids], [self.arrived] * len(values)
        return MemoryRows(found, matrix, values, nowhere, nowhere, newest)

    def read_from(
        self, customer_ids: Sequence[str], earliest: int, context: Mapping[str, Any] | None = None
    ) -> tuple[int, MemoryRows]:
        as_of = max(earliest, self.arrived + 1)
        return as_of, self.read(customer_ids, as_of, context)

    def check(self) -> None:
        return None

    def data_end(self) -> int | None:
        return self.end
