"""What triggers read of customers: features of the current spec, all in one read, and the events behind them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from feature_repo.state.read import FeatureValue
from feature_repo.state.storage import StateUnavailable
from pipelines.events.spec_lease import SpecLease
from pipelines.settings import Settings
from serving.api.errors import ApiError
from serving.bootstrap import OpenReader, open_state
from serving.decisions.readings import check_built, leased
from serving.features import FeatureReader

Clock = Callable[[], int]


def wall() -> int:
    """The machine's clock, int64 microseconds UTC."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Known:
    """Features of one customer, the position in the log of the newest event that is in them, and their revision."""

    features: Mapping[str, FeatureValue]
    position: int
    revision: int = 0


class TriggerReader:
    """For one thread. It has the states of the current spec kept as long as it is there."""

    def __init__(
        self,
        settings: Settings,
        names: Sequence[str],
        open_features: OpenReader | None = None,
        machine: Clock = wall,
    ) -> None:
        """`open_features` stands in for the states of the workspace, `machine` for its clock. Opens nothing yet."""
        self._machine = machine
        self._settings = settings
        self._names = tuple(names)
        self._open = open_features or partial(open_state, settings)
        self._lease: SpecLease | None = None
        self._reader: FeatureReader | None = None

    def now(self) -> int | None:
        """The instant to read at: the machine's clock, or the end of the data; None where there is no event yet.

        Raises:
            ApiError: 503, there are no states of the current features. StateUnavailable.
        """
        reader = self._opened()
        return reader.data_end() if self._settings.profile.clock == "data_end" else self._machine()

    def begins(self) -> int:
        """The instant from which on events are new to whoever begins to read now; the machine's without states yet."""
        try:
            now = self.now()
        except (ApiError, StateUnavailable):
            now = None
        return self._machine() if now is None else now

    def read(self, customer_id: str) -> tuple[int | None, Known | None]:
        """The instant of the read (int64 microseconds UTC; None before any event), and what is known then, if anything.

        It is `now`, or just after the customer's newest arrival where the clock has stepped back behind that: all that
        was acknowledged counts. Raises ApiError and StateUnavailable as `now`.
        """
        now = self.now()
        if now is None:
            return None, None
        as_of, rows = self._opened().read_from([customer_id], now)
        if not rows.found[0]:
            return as_of, None
        return as_of, Known(dict(zip(self._names, rows.values[0], strict=True)), rows.positions[0], rows.revisions[0])

    def _opened(self) -> FeatureReader:
        if self._reader is None:
            spec = self._settings.features
            if self._lease is None:
                self._lease = leased(self._settings)
            reader = self._open(spec, self._names)
            check_built(reader, spec.hash)
            self._reader = reader
        return self._reader
