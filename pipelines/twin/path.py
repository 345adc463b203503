"""How a customer came to their stages: the rules looked at after each event of the past, and where time alone moved.

Each look reads features of the state that the live service folds too, over the moments known at the as-of instant. All
instants are int64 microseconds UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter

from feature_repo.spec import FeatureSpec
from feature_repo.state.read import StateReader
from feature_repo.state.tiles import CustomerState, LoggedEvent, add, empty_state
from feature_repo.windows import MINUTE, floor
from pipelines.events.moments import Moment
from pipelines.twin.evidence import EvidenceIndex, cited
from pipelines.twin.ruled import holding
from pipelines.twin.rules import Rule, TwinRules
from pipelines.twin.state import Cited, Step

# Rules that flap by time alone are followed so often between two events.
_MOST_LAPSES = 16
_Standings = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Walked:
    """Both paths, oldest step first; `at_last_event` is the stage right after the newest event that a rule reads."""

    stages: tuple[Step, ...]
    relationship: tuple[Step, ...]
    at_last_event: str | None


class PathWalker:
    """Walks the rules of stages and relationship over moments. Made once; immutable, so that threads may share it."""

    def __init__(self, rules: TwinRules, spec: FeatureSpec) -> None:
        """Raises KeyError if a rule reads a feature that is not in the spec."""
        self._names = rules.path_features
        self._stages, self._relationship = rules.stages, rules.relationship
        self._reader = StateReader(only(spec, self._names), self._names)
        self._index = EvidenceIndex(spec, self._names)
        self._streams = tuple({stream for reads in self._index.reads.values() for stream, _ in reads})

    def walk(self, moments: Sequence[Moment], as_of: int) -> Walked:
        """`moments` are those visible at `as_of`, ascending by `order_of`.

        A step that an event made stands at the time of that event. One that time made stands at the whole minute at
        which it is first seen (found by bisection), or at the look that noticed it: the next event, or `as_of`. A
        standing that time takes away and gives back between two events is not noticed.
        """
        state = empty_state(self._reader.plan)
        steps: tuple[list[Step], list[Step]] = ([], [])
        at_last_event, looked = None, 0
        standings: _Standings | None = None
        for time, group in self._by_time(moments):
            if standings is not None:
                standings = self._lapse(state, standings, looked, time, steps)
            for moment in group:
                add(self._reader.plan, state, _logged(moment))
            looked = time + 1
            standings, before = self._look(state, looked), standings
            _note(steps, before, standings, time, cited(group[0]))
            if any(self._is_read(moment) for moment in group):
                at_last_event = standings[0]
        if standings is not None:
            self._lapse(state, standings, looked, as_of, steps)
        return Walked(tuple(steps[0]), tuple(steps[1]), at_last_event)

    def is_whole(self, moments: Sequence[Moment], rules: Sequence[Rule], kept_of_each: int) -> bool:
        """False where as many of an event that the rules read are there as are kept: older ones may be missing."""
        events = self._index.events(name for rule in rules for name in rule.when.names)
        counts = dict.fromkeys(events, 0)
        for moment in moments:
            if moment.event in counts:
                counts[moment.event] += 1
        return all(count < kept_of_each for count in counts.values())

    def _by_time(self, moments: Sequence[Moment]) -> Iterator[tuple[int, list[Moment]]]:
        """The moments that some rule reads, and the first of all, with which the customer became known."""
        read = [moment for place, moment in enumerate(moments) if place == 0 or self._is_read(moment)]
        for time, group in groupby(read, key=attrgetter("event_time")):
            yield time, list(group)

    def _is_read(self, moment: Moment) -> bool:
        return any(self._index.belongs(moment, stream) for stream in self._streams)

    def _look(self, state: CustomerState, at: int) -> _Standings:
        scope = dict(zip(self._names, self._reader.read_state(state, at), strict=True))
        return holding(self._stages, scope).name, holding(self._relationship, scope).name

    def _lapse(
        self, state: CustomerState, standings: _Standings, looked: int, until: int, steps: tuple[list[Step], list[Step]]
    ) -> _Standings:
        """What became of the standings by time, from `looked` to `until`, with no event between."""
        if until <= looked:
            return standings
        final = self._look(state, until)
        for _ in range(_MOST_LAPSES):
            if standings == final:
                break
            looked = self._first_change(state, standings, looked, until)
            before, standings = standings, self._look(state, looked)
            _note(steps, before, standings, looked, None)
        _note(steps, standings, final, until, None)
        return final

    def _first_change(self, state: CustomerState, standings: _Standings, same: int, changed: int) -> int:
        """Between an instant of the same standings and one of others: on whole minutes, on which windows begin."""
        while changed - same > MINUTE:
            middle = floor((same + changed) // 2, MINUTE)
            middle = middle if middle > same else middle + MINUTE
            if self._look(state, middle) == standings:
                same = middle
            else:
                changed = middle
        return changed


def only(spec: FeatureSpec, names: Sequence[str]) -> FeatureSpec:
    """The part of a spec that these features are computed by."""
    needed = {part.name: part for part in spec.closure(names)} | {name: spec.by_name[name] for name in names}
    return replace(spec, views=(), services={}, by_name=needed, request_views=())


def _logged(moment: Moment) -> LoggedEvent:
    """As if it had arrived at once: the path is that of what is known now."""
    at = moment.event_time
    return LoggedEvent(moment.position, moment.event, at, at, moment.channel, moment.value, moment.properties)


def _note(
    steps: tuple[list[Step], list[Step]], before: _Standings | None, now: _Standings, at: int, moved_by: Cited | None
) -> None:
    for place, path in enumerate(steps):
        if before is None or before[place] != now[place]:
            path.append(Step(now[place], at, moved_by))
