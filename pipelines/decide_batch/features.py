"""Features of many customers as columns, read from the states that single decisions read."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from feature_repo.configuration import Problem
from feature_repo.online import FeatureReader
from feature_repo.spec import FeatureSpec
from feature_repo.state.read import FeatureValue
from pipelines.console import UserError
from pipelines.events.opening import may_have_states, open_states
from pipelines.events.specs_in_use import find_spec
from pipelines.settings import Settings

Column: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True)
class FeatureColumns:
    """Reads features of one spec by column: float64 with NaN for empty, texts as objects with None.

    States settle what has arrived at once, so that a read costs the same however long a customer's history is.
    """

    spec: FeatureSpec
    reader: FeatureReader
    names: tuple[str, ...]

    def read(self, customers: Sequence[str], as_of: int) -> tuple[NDArray[np.bool_], dict[str, Column]]:
        """Who has a state, shape (n,), and every feature by name, shape (n,) each.

        Raises:
            AsOfTooEarly, StateUnavailable: as `FeatureReader.read`.
        """
        rows = self.reader.read(customers, as_of)
        columns = zip(*rows.values, strict=True) if rows.values else ([] for _ in self.names)
        made = {name: column_of(values, self._is_text(name)) for name, values in zip(self.names, columns, strict=True)}
        return np.array(rows.found, dtype=bool), made

    def _is_text(self, name: str) -> bool:
        feature = self.spec.by_name.get(name)
        return feature is not None and feature.kind == "text"


def column_of(values: Sequence[FeatureValue], is_text: bool) -> Column:
    """Values as a column."""
    return np.array(values, dtype=object if is_text else np.float64)


def open_columns(settings: Settings, spec_hash: str, names: Sequence[str]) -> FeatureColumns:
    """A reader of the states of a spec.

    Raises:
        UserError: nothing was built of that spec, or it is not known.
    """
    spec = find_spec(settings, spec_hash)
    hint = "build the states: twin state rebuild"
    if spec is None or not may_have_states(settings):
        problem = Problem("state", f"states of spec {spec_hash}", "none", hint)
        raise UserError("there is nothing to decide from yet", [problem])
    reader = FeatureReader(spec, open_states(settings), list(names))
    if reader.spec_hash != spec_hash:
        problem = Problem("state", f"states of spec {spec_hash}", f"those of {reader.spec_hash or 'none'}", hint)
        raise UserError("the states of customers are of other features", [problem])
    return FeatureColumns(spec, reader, tuple(names))


def instant_of(settings: Settings, columns: FeatureColumns) -> int:
    """Now, by the profile's clock, microseconds UTC.

    Raises:
        UserError: the clock is the data's, and there is no event.
    """
    if settings.profile.clock == "wall":
        return time.time_ns() // 1000
    end = columns.reader.data_end()
    if end is None:
        hint = "ingest and build the states: twin run"
        raise UserError("there is no customer yet", [Problem("state", "customers with events", "none", hint)])
    return end


def matrix_of(names: Sequence[str], columns: Mapping[str, Column], rows: int) -> NDArray[np.float64]:
    """Features by name as they are read, shape (rows, names)."""
    read = np.empty((rows, len(names)))
    for at, name in enumerate(names):
        read[:, at] = columns[name]
    return read
