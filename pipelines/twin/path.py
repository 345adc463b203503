"""How a customer came to their stages: the rules looked at after each event of the past, and where time alone moved.

Each look reads features of the state that the live service folds too, over the moments known at the as-of instant. All
instants are int64 microseconds UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_repo.spec import FeatureSpec
from feature_repo.state.plan import StatePlan
from feature_repo.state.read import FeatureValue, StateReader
from feature_repo.state.tiles import CustomerState, Entry, LoggedEvent, empty_state, entry_of, settle
from feature_repo.windows import HOUR, floor
from pipelines.events.moments import Moment
from pipelines.twin.evidence import EvidenceIndex, cited
from pipelines.twin.ruled import holding
from pipelines.twin.rules import Rule, TwinRules
from pipelines.twin.state import Step

# Rules that flap by time alone are followed so often between two events.
_MOST_LAPSES = 16
_Standings = tuple[str, str]
# Place of the newest group that is known, the instant, and whether that group is new at this look.
_Look = tuple[int, int, bool]


@dataclass(frozen=True, slots=True)
class _Group:
    """Events of one instant: the one that is named where they move something, the names of all, and what is settled."""

    time: int
    first: Moment
    events: frozenset[str]
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Walked:
    """Both paths, oldest step first; `at_last_event` is the stage right after the newest event that a rule reads."""

    stages: tuple[Step, ...] = ()
    relationship: tuple[Step, ...] = ()
    at_last_event: str | None = None


class PathWalker:
    """Walks the rules of stages and relationship over moments. Made once; immutable, so that threads may share it."""

    def __init__(self, rules: TwinRules, spec: FeatureSpec) -> None:
        """Raises KeyError if a rule reads a feature that is not in the spec."""
        self._names = rules.path_features
        self._numbers = [spec.by_name[name].kind != "text" for name in self._names]
        self._rules = (rules.stages, rules.relationship)
        part = only(spec, self._names)
        self._reader = StateReader(part, self._names)
        self._index = EvidenceIndex(spec, self._names)
        # What an event changes of the features, so that the look after it reads no more than that.
        self._of_event = {
            event: _Changed(part, self._names, self._index, event) for event in self._index.events(self._names)
        }

    def walk(self, moments: Sequence[Moment], as_of: int) -> Walked:
        """`moments` are those visible at `as_of`, ascending by `order_of`.

        A step that an event made stands at the time of that event. One that time made stands at the whole hour at
        which it is first seen (found by bisection), or at the look that noticed it: the next event, or `as_of`. A
        standing that time takes away and gives back between two events is not noticed, nor what time does between two
        events within an hour: that counts as done by the second.
        """
        groups = self._groups(moments)
        if not groups:
            return Walked()
        looks, rows = self._looks(groups, as_of)
        standings = self._standings(rows)
        steps: tuple[list[Step], list[Step]] = ([], [])
        past = _Past(self._reader.plan, groups)
        before, looked, at_last_event = None, 0, None
        for (place, at, by_event), now in zip(looks, standings, strict=True):
            if by_event:
                _note(steps, before, now, groups[place].time, groups[place].first)
                at_last_event = now[0] if groups[place].entries else at_last_event
            elif before is not None and before != now:
                # The look before an event is at the instant after it; the step is no later than the event.
                latest = groups[place + 1].time if place + 1 < len(groups) else as_of
                for instant, then in self._lapses(past.until(place), before, now, looked, at):
                    _note(steps, before, then, min(instant, latest), None)
                    before = then
            before, looked = now, at
        return Walked(tuple(steps[0]), tuple(steps[1]), at_last_event)

    def is_whole(self, moments: Sequence[Moment], rules: Sequence[Rule], kept_of_each: int) -> bool:
        """False where as many of an event that the rules read are there as are kept: older ones may be missing."""
        events = self._index.events(name for rule in rules for name in rule.when.names)
        counts = dict.fromkeys(events, 0)
        for moment in moments:
            if moment.event in counts:
                counts[moment.event] += 1
        return all(count < kept_of_each for count in counts.values())

    def _groups(self, moments: Sequence[Moment]) -> list[_Group]:
        """The moments that some rule reads, and the first of all, with which the customer became known."""
        found: list[_Group] = []
        for time, group in groupby(moments, key=lambda moment: moment.event_time):
            at_once = list(group)
            read = [(moment, entry) for moment in at_once if (entry := self._entry(moment)) is not None]
            if read or not found:
                first = read[0][0] if read else at_once[0]
                events = frozenset(moment.event for moment, _ in read)
                found.append(_Group(time, first, events, tuple(entry for _, entry in read)))
        return found

    def _entry(self, moment: Moment) -> Entry | None:
        """As if it had arrived at once: the path is that of what is known now."""
        if moment.event not in self._of_event:
            return None
        at = moment.event_time
        event = LoggedEvent(moment.position, moment.event, at, at, moment.channel, moment.value, moment.properties)
        return entry_of(self._reader.plan, event)

    def _looks(self, groups: Sequence[_Group], as_of: int) -> tuple[list[_Look], list[list[FeatureValue]]]:
        """Values right after each group of events, and before it where an hour was over; the last are those at `as_of`.

        Both are read at the instant after the events, once without and once with them.
        """
        state = empty_state(self._reader.plan)
        looks: list[_Look] = []
        rows: list[list[FeatureValue]] = []
        for place, group in enumerate(groups):
            at = group.time + 1
            full = not looks or floor(at, HOUR) == floor(looks[-1][1], HOUR)
            if not full:
                looks.append((place - 1, at, False))
                rows.append(self._reader.read_state(state, at))
            _settle(self._reader.plan, state, group)
            row = self._reader.read_state(state, at) if full else rows[-1].copy()
            if not full:
                for event in group.events:
                    self._of_event[event].update(row, state, at)
            looks.append((place, at, True))
            rows.append(row)
        looks.append((len(groups) - 1, as_of, False))
        rows.append(self._reader.read_state(state, as_of))
        return looks, rows

    def _standings(self, rows: Sequence[Sequence[FeatureValue]]) -> list[_Standings]:
        """The standings of each row: by columns, as one row after the other would take longer than all else here."""
        columns = zip(*rows, strict=True)
        scope = {
            name: np.array(column, dtype=np.float64 if number else object)
            for name, number, column in zip(self._names, self._numbers, columns, strict=True)
        }
        stages, relationship = (_first_holding(rules, scope, len(rows)) for rules in self._rules)
        return list(zip(stages, relationship, strict=True))

    def _look(self, state: CustomerState, at: int) -> _Standings:
        scope = dict(zip(self._names, self._reader.read_state(state, at), strict=True))
        stages, relationship = self._rules
        return holding(stages, scope).name, holding(relationship, scope).name

    def _lapses(
        self, state: CustomerState, standings: _Standings, final: _Standings, looked: int, until: int
    ) -> Iterator[tuple[int, _Standings]]:
        """What becomes of `standings` by time, after `looked` and up to `until`, with no event between."""
        for _ in range(_MOST_LAPSES):
            if standings == final:
                return
            looked, standings = self._first_change(state, standings, final, looked, until)
            yield looked, standings
        yield until, final

    def _first_change(
        self, state: CustomerState, standings: _Standings, final: _Standings, same: int, changed: int
    ) -> tuple[int, _Standings]:
        """Between an instant of `standings` and one of `final`: on whole hours, on which most windows begin."""
        others = final
        while changed - same > HOUR:
            middle = floor((same + changed) // 2, HOUR)
            middle = middle if middle > same else middle + HOUR
            then = self._look(state, middle)
            if then == standings:
                same = middle
            else:
                changed, others = middle, then
        return changed, others


class _Past:
    """The state after some of the groups; asked for more and more of them."""

    def __init__(self, plan: StatePlan, groups: Sequence[_Group]) -> None:
        self._plan, self._groups = plan, groups
        self._state, self._settled = empty_state(plan), 0

    def until(self, place: int) -> CustomerState:
        """With the group at `place`."""
        for group in self._groups[self._settled : place + 1]:
            _settle(self._plan, self._state, group)
        self._settled = place + 1
        return self._state


class _Changed:
    """The features that events of one name change, and their places in a row."""

    def __init__(self, spec: FeatureSpec, names: Sequence[str], index: EvidenceIndex, event: str) -> None:
        changed = [name for name in names if event in index.events([name])]
        self._places = [names.index(name) for name in changed]
        self._reader = StateReader(spec, changed)

    def update(self, row: list[FeatureValue], state: CustomerState, at: int) -> None:
        """Read them again at `at`, into `row`."""
        for place, value in zip(self._places, self._reader.read_state(state, at), strict=True):
            row[place] = value


def only(spec: FeatureSpec, names: Sequence[str]) -> FeatureSpec:
    """The part of a spec that these features are computed by."""
    needed = {part.name: part for part in spec.closure(names)} | {name: spec.by_name[name] for name in names}
    return replace(spec, views=(), services={}, by_name=needed, request_views=())


def _settle(plan: StatePlan, state: CustomerState, group: _Group) -> None:
    """Nothing waits in the state, and no tile is dropped."""
    for entry in group.entries:
        settle(plan, state, entry)


def _first_holding(rules: Sequence[Rule], scope: Mapping[str, NDArray[Any]], rows: int) -> list[str]:
    """Of each row the name of the first rule that is certainly true; the last one always is."""
    places = np.full(rows, len(rules) - 1)
    for place, rule in reversed(list(enumerate(rules[:-1]))):
        values, known = rule.when.column(scope, rows)
        places[values & known] = place
    return [rules[place].name for place in places]


def _note(
    steps: tuple[list[Step], list[Step]], before: _Standings | None, now: _Standings, at: int, moved_by: Moment | None
) -> None:
    if before == now:
        return
    for place, path in enumerate(steps):
        if before is None or before[place] != now[place]:
            path.append(Step(now[place], at, None if moved_by is None else cited(moved_by)))
