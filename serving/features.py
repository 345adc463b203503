"""Where predictions read features: the port, and an in-memory store behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray


class FeatureRows(Protocol):
    """Features of n customers: `found` (n), `matrix` (n, k) float64 with NaN for empty."""

    @property
    def found(self) -> Sequence[bool]: ...

    @property
    def matrix(self) -> NDArray[np.float64]: ...


class FeatureReader(Protocol):
    """Reads the k features of one model, in its order, from the state of customers.

    Used from one thread at a time.
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

        `context` is what the call brings along, by input.
        """
        ...

    def data_end(self) -> int | None:
        """The instant (int64 microseconds UTC) just after the newest event; None where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class MemoryRows:
    found: list[bool]
    matrix: NDArray[np.float64]


@dataclass(slots=True)
class MemoryReader:
    """A `FeatureReader` over values given beforehand; they do not age, and no context changes them."""

    values: Mapping[str, Sequence[float]]
    width: int
    spec_hash: str | None
    end: int | None
    inputs: Mapping[str, Literal["integer", "text"]] = field(default_factory=dict)

    def read(self, customer_ids: Sequence[str], as_of: int, context: Mapping[str, Any] | None = None) -> MemoryRows:
        empty = [np.nan] * self.width
        matrix = np.array([self.values.get(customer, empty) for customer in customer_ids], dtype=np.float64)
        return MemoryRows([customer in self.values for customer in customer_ids], matrix.reshape(-1, self.width))

    def data_end(self) -> int | None:
        return self.end
