"""The twin of now: a customer's record of moments and their features, read from the states, at the service's clock.

Both follow the log, each in a row of its own. They are of one moment where position and revision are the same; where a
fold came in between, or an event between the clock and the read, both are read again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from feature_repo.state.read import AsOfTooEarly
from feature_repo.state.storage import StateStorage
from pipelines.events.moments import decode
from pipelines.events.opening import moments_key, open_moments, open_states
from pipelines.events.spec_lease import SpecLease
from pipelines.settings import Settings
from pipelines.twin.fold import TwinFold
from pipelines.twin.state import Twin
from serving.api.errors import ApiError, ErrorDetail
from serving.bootstrap import open_state
from serving.features import FeatureReader
from serving.predictor import STATE_MISSING, empty_state

_ATTEMPTS = 20
_PAUSE_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Seen:
    """A twin, and the revision of whose events are whose that it was read at."""

    twin: Twin
    revision: int


@dataclass(frozen=True, slots=True)
class _Opened:
    """States of the current features, which are kept while there is the lease, and the place for records."""

    reader: FeatureReader
    moments: StateStorage
    now: Callable[[], int | None]


class Present:
    """Thread-safe."""

    def __init__(self, settings: Settings, fold: TwinFold) -> None:
        """`fold` is that of the rules and the spec of `settings`. Opens nothing yet."""
        self._settings = settings
        self._fold = fold
        self._key = moments_key(settings)
        self._opening = threading.Lock()
        self._lease: SpecLease | None = None
        self._known: _Opened | None = None

    def instant(self) -> int:
        """The service's clock, int64 microseconds UTC. Raises ApiError (503) where there is no event yet."""
        as_of = self._opened().now()
        if as_of is None:
            raise empty_state()
        return as_of

    def of(self, customer_id: str) -> Seen | None:
        """The twin of now; None where nothing is known of the customer.

        Raises:
            ApiError: 503, there are no states that could be read.
            StateUnavailable: they cannot be read now.
        """
        opened = self._opened()
        too_early = False
        for attempt in range(_ATTEMPTS):
            as_of = self.instant()
            try:
                return self._at(opened, customer_id, as_of)
            except AsOfTooEarly:
                too_early = True
            except _Apart:
                too_early = False
            time.sleep(_PAUSE_SECONDS * attempt)
        raise _ahead() if too_early else _missing("records of moments that go with the features", "others")

    def _at(self, opened: _Opened, customer_id: str, as_of: int) -> Seen | None:
        """Raises AsOfTooEarly, and _Apart where record and features are of two moments."""
        stored = opened.moments.get_many(self._key, [customer_id]).get(customer_id)
        rows = opened.reader.read([customer_id], as_of)
        kept = None if stored is None or not stored.data else stored
        if kept is None or not rows.found[0]:
            if kept is None and not rows.found[0]:
                return None
            raise _Apart
        if (kept.position, kept.revision) != (rows.positions[0], rows.revisions[0]):
            raise _Apart
        record = decode(kept.data)
        if as_of < record.newest_arrival:
            raise AsOfTooEarly("the record answers from its newest arrival on")
        features = dict(zip(self._fold.features, rows.values[0], strict=True))
        return Seen(self._fold.twin_at(customer_id, as_of, record.moments, features, kept.position), kept.revision)

    def _opened(self) -> _Opened:
        with self._opening:
            if self._known is None:
                if self._lease is None:
                    self._lease = self._leased()
                reader = open_state(self._settings, self._settings.features, self._fold.features)
                moments = open_moments(self._settings)
                self._check_built(open_states(self._settings), moments)
                self._known = _Opened(reader, moments, self._clock(reader))
            return self._known

    def _leased(self) -> SpecLease:
        try:
            return SpecLease(self._settings.workspace.specs, self._settings.features.hash)
        except BlockingIOError:
            raise _missing("states of the current features", "states that are being removed") from None

    def _check_built(self, states: StateStorage, moments: StateStorage) -> None:
        """Raises ApiError (503) where there are no states of the current features, or no records of moments."""
        built = states.built_specs()
        if not built:
            raise empty_state()
        if self._settings.features.hash not in built:
            raise _missing("states of the current features", "those of others")
        if self._key not in moments.built_specs():
            raise _missing(f"records of the newest {self._fold.rules.kept_of_each} events of each kind", "none")

    def _clock(self, reader: FeatureReader) -> Callable[[], int | None]:
        if self._settings.profile.clock == "data_end":
            return reader.data_end
        return lambda: time.time_ns() // 1000


class _Apart(Exception):
    """Record and features were read at two moments."""


def _missing(expected: str, got: str) -> ApiError:
    hint = "build them: `twin state rebuild`"
    detail = ErrorDetail(field="state", expected=expected, got=got, hint=hint)
    return ApiError(503, STATE_MISSING, "what twins are read from has not been built yet", [detail])


def _ahead() -> ApiError:
    detail = ErrorDetail(
        field="clock",
        expected="an instant after the newest event",
        got="an earlier one",
        hint="check the machine's clock, and `clock` in the profile",
    )
    return ApiError(503, "state_ahead", "the state of customers is ahead of the clock", [detail])
