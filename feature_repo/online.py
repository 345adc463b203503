"""The service's own read of features: many customers to one matrix, without Feast's protobuf work.

It reads the same states as the Feast online store, through the same fold; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feature_repo.spec import FeatureSpec
from feature_repo.state.read import StateReader
from feature_repo.state.storage import StateStorage
from feature_repo.state.storage_sqlite import SQLiteStateStorage


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Features of n customers, in the order asked.

    `matrix` is float64 of shape (n, features), NaN where a feature is empty; `found[i]` says whether
    customer i has a state, `positions[i]` at which position of the log (-1 without one).
    """

    found: list[bool]
    matrix: np.ndarray
    positions: list[int]


class FeatureReader:
    """Reads the features of one model from the states of one spec."""

    def __init__(self, spec: FeatureSpec, storage: StateStorage, feature_names: Sequence[str]) -> None:
        """Raises KeyError if a feature is not in the spec."""
        self._spec_hash = spec.hash
        self._storage = storage
        self._reader = StateReader(spec, feature_names)

    @property
    def spec_hash(self) -> str | None:
        """Hash of the spec whose states there are; None where nothing was built.

        With states of several specs it is this reader's own, if that is among them. Raises StateUnavailable.
        """
        built = [spec for spec in self._storage.spec_hashes() if self._storage.noted(spec) is not None]
        if self._spec_hash in built:
            return self._spec_hash
        return built[-1] if built else None

    def check(self) -> None:
        """Raises StateUnavailable where states cannot be read now, or are not whole."""
        self._storage.get_many(self._spec_hash, [])

    def data_end(self) -> int | None:
        """The instant (microseconds UTC) just after the newest event or arrival; None without states."""
        newest = self._storage.newest(self._spec_hash)
        return None if newest is None else newest + 1

    def read(self, customer_ids: Sequence[str], as_of: int) -> FeatureRows:
        """Features at `as_of` (int64 microseconds UTC).

        Raises:
            AsOfTooEarly: a customer's state has moved past `as_of`.
            StateUnavailable: they cannot be read now, or are not whole.
        """
        states = self._storage.get_many(self._spec_hash, customer_ids)
        found = [state if (state := states.get(who)) and state.data else None for who in customer_ids]
        rows = [self._reader.read(state.data if state else None, as_of) for state in found]
        # None becomes NaN; whole numbers beyond 2^53 would lose bits, as they do in any float64 model.
        matrix = np.array(rows, dtype=np.float64).reshape(len(rows), len(self._reader.names))
        return FeatureRows([s is not None for s in found], matrix, [s.position if s else -1 for s in found])


def open_reader(spec: FeatureSpec, state_path: Path, feature_names: Sequence[str]) -> FeatureReader:
    """A reader over the SQLite file at `state_path`."""
    return FeatureReader(spec, SQLiteStateStorage(state_path), feature_names)
