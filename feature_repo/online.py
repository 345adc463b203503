"""The service's own read of features: many customers to one matrix, without Feast's protobuf work.

It reads the same states as the Feast online store, through the same fold; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from feature_repo.request_features import request_values
from feature_repo.spec import FeatureSpec
from feature_repo.state.read import FeatureValue, StateReader
from feature_repo.state.storage import NEVER, StateStorage, StoredState
from feature_repo.state.tiles import head_of


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Features of n customers, in the order asked.

    `values` are as they were read, None where a feature is empty; `found[i]` says whether customer i has a
    state, `positions[i]` at which position of the log (-1 without one), `revisions[i]` at which revision, and
    `newest[i]` (int64 microseconds UTC) its latest instant, event or arrival.
    """

    found: list[bool]
    values: list[list[FeatureValue]]
    positions: list[int]
    revisions: list[int]
    newest: list[int]

    @property
    def matrix(self) -> np.ndarray:
        """float64 of shape (n, features), NaN where a feature is empty. Raises ValueError if one is a text."""
        # Whole numbers beyond 2^53 lose bits, as they do in any float64 model.
        width = len(self.values[0]) if self.values else 0
        return np.array(self.values, dtype=np.float64).reshape(len(self.values), width)


class FeatureReader:
    """Reads the features of one model from the states of one spec."""

    def __init__(self, spec: FeatureSpec, storage: StateStorage, feature_names: Sequence[str]) -> None:
        """Raises KeyError if a feature is not in the spec."""
        self._spec, self._spec_hash = spec, spec.hash
        self._storage = storage
        of_calls = {name: feature for name in feature_names if (feature := spec.request_feature(name))}
        views = {feature.view for feature in of_calls.values()}
        read = [view for view in spec.request_views if view.name in views]
        self._inputs = {name: kind for view in read for name, kind in view.inputs.items()}
        self._of_calls = tuple(of_calls.values())
        self._utc_offset = spec.utc_offset
        self._names = tuple(feature_names)
        stored = [name for name in feature_names if name not in of_calls]
        divided_by = [f.denominator for f in self._of_calls if f.denominator]
        self._reader = StateReader(spec, list(dict.fromkeys([*stored, *divided_by])))

    def of(self, feature_names: Sequence[str]) -> FeatureReader:
        """A reader of other features of the same states. Raises KeyError if one is not in the spec."""
        return FeatureReader(self._spec, self._storage, feature_names)

    @property
    def inputs(self) -> Mapping[str, Literal["integer", "text"]]:
        """What a call may bring along, and of which kind."""
        return self._inputs

    @property
    def spec_hash(self) -> str | None:
        """Hash of the spec whose states there are; None where nothing was built.

        With states of several specs it is this reader's own, if that is among them. Raises StateUnavailable.
        """
        built = self._storage.built_specs()
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

    def read(self, customer_ids: Sequence[str], as_of: int, context: Mapping[str, Any] | None = None) -> FeatureRows:
        """Features at `as_of` (int64 microseconds UTC); `context` is what the call brings along, by input.

        Raises:
            AsOfTooEarly: a customer's state has moved past `as_of`.
            StateUnavailable: they cannot be read now, or are not whole.
        """
        return self._rows(self._storage.get_many(self._spec_hash, customer_ids), customer_ids, as_of, context)

    def read_from(
        self, customer_ids: Sequence[str], earliest: int, context: Mapping[str, Any] | None = None
    ) -> tuple[int, FeatureRows]:
        """The as-of instant and the features: `earliest`, or just after the newest arrival of these customers where
        that is later. Raises StateUnavailable.
        """
        states = self._storage.get_many(self._spec_hash, customer_ids)
        late = [state.data for state in states.values() if state.data and state.newest >= earliest]
        as_of = max([earliest, *(head_of(data).newest_arrival + 1 for data in late)])
        return as_of, self._rows(states, customer_ids, as_of, context)

    def _rows(
        self,
        states: Mapping[str, StoredState],
        customer_ids: Sequence[str],
        as_of: int,
        context: Mapping[str, Any] | None,
    ) -> FeatureRows:
        found = [state if (state := states.get(who)) and state.data else None for who in customer_ids]
        rows = [self._reader.read(state.data if state else None, as_of) for state in found]
        if self._of_calls:
            rows = [self._with_calls(row, as_of, context or {}) for row in rows]
        return FeatureRows(
            [state is not None for state in found],
            rows,
            [state.position if state else -1 for state in found],
            [state.revision if state else 0 for state in found],
            [state.newest if state else NEVER for state in found],
        )

    def _with_calls(self, row: list[FeatureValue], as_of: int, context: Mapping[str, Any]) -> list[FeatureValue]:
        """A row of the customer's features made one of all features, in the order asked."""
        known = dict(zip(self._reader.names, row, strict=True))
        made = request_values(self._of_calls, context, known, as_of, self._utc_offset)
        of_calls = dict(zip((feature.name for feature in self._of_calls), made, strict=True))
        return [of_calls[name] if name in of_calls else known[name] for name in self._names]
