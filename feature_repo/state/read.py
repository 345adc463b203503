"""Read features from a customer's state at an as-of instant: the fold over its tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from feature_repo.spec import ZERO_WHERE_NOTHING, Feature, FeatureSpec
from feature_repo.state.plan import StatePlan, plan_state
from feature_repo.state.stream_reads import FeatureValue, StreamReads, plan_reads
from feature_repo.state.tiles import CustomerState, decode, settle

__all__ = ["AsOfTooEarly", "FeatureValue", "StateReader"]

# Start of a window without a beginning: before any instant.
_EVER = -(2**63)


class AsOfTooEarly(ValueError):
    """The state has moved past the as-of instant; only the log can still answer for it."""


class StateReader:
    """Reads the features `names` of a spec, in this order, from encoded states."""

    def __init__(self, spec: FeatureSpec, names: Sequence[str]) -> None:
        """Raises KeyError if a name is not in the spec."""
        self.names = tuple(names)
        self.plan: StatePlan = plan_state(spec)
        aggregates = spec.closure(names)
        slots = {feature.name: slot for slot, feature in enumerate(aggregates)}
        self._windows = tuple(dict.fromkeys(feature.window for feature in aggregates))
        self._empty: list[FeatureValue] = [0 if f.operation in ZERO_WHERE_NOTHING else None for f in aggregates]
        self._streams: list[tuple[int, StreamReads]] = []
        for index, plan in enumerate(self.plan.streams):
            features = [feature for feature in aggregates if feature.stream == plan.stream]
            if features:
                reads = plan_reads(plan, features, slots, self._windows, spec.caps, spec.utc_offset)
                self._streams.append((index, reads))
        # Ratios and trends are put behind the values that they are made of.
        quotients = [spec.by_name[name] for name in dict.fromkeys(names) if spec.by_name[name].operands]
        self._quotients = [_quotient(feature, slots) for feature in quotients]
        slots |= {feature.name: len(aggregates) + i for i, feature in enumerate(quotients)}
        self._places = [slots[name] for name in names]

    def read(self, data: bytes | None, as_of: int) -> list[FeatureValue]:
        """Values at `as_of` (microseconds UTC); None in the list where a feature is empty.

        Raises:
            AsOfTooEarly: `as_of` lies before what the state has settled.
        """
        return self.read_state(None if data is None else decode(data), as_of)

    def read_state(self, state: CustomerState | None, as_of: int) -> list[FeatureValue]:
        """As `read`, of a state that is the caller's own: what is visible at `as_of` is settled in it, in place.

        It may be read again, and get more events, at later instants only.
        """
        values = self._empty.copy()
        if state is not None:
            self._read_streams(state, as_of, values)
        values += [quotient.of(values) for quotient in self._quotients]
        return [values[place] for place in self._places]

    def _read_streams(self, state: CustomerState, as_of: int, values: list[FeatureValue]) -> None:
        if as_of < state.settled_until:
            raise AsOfTooEarly(f"the state can be read from {state.settled_until} on, not at {as_of}")
        self._settle_visible(state, as_of)
        starts = [_EVER if (start := window.start(as_of)) is None else start for window in self._windows]
        for index, reads in self._streams:
            stream = state.streams[index]
            if stream is not None:
                reads.read(stream, starts, as_of, values)

    def _settle_visible(self, state: CustomerState, as_of: int) -> None:
        # The decoded state belongs to the caller alone, so the entries visible now can go into its tiles.
        if not state.waiting:
            return
        waiting, state.waiting = state.waiting, []
        for entry in waiting:
            if entry.event_time < as_of and entry.available_at <= as_of:
                settle(self.plan, state, entry)
            else:
                state.waiting.append(entry)


@dataclass(frozen=True, slots=True)
class _Quotient:
    """A ratio or trend: slots of its two operands, each with what it is multiplied by."""

    top: int
    bottom: int
    scale: tuple[float, float]

    def of(self, values: Sequence[FeatureValue]) -> FeatureValue:
        top, bottom = values[self.top], values[self.bottom]
        if top is None or not bottom:
            return None
        return (float(top) * self.scale[0]) / (float(bottom) * self.scale[1])


def _quotient(feature: Feature, slots: Mapping[str, int]) -> _Quotient:
    top, bottom = feature.scale
    return _Quotient(slots[str(feature.numerator)], slots[str(feature.denominator)], (float(top), float(bottom)))
