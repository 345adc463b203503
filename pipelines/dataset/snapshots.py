"""Which as-of instants a model learns from and is tested on.

Everything is read from the log of the events that decide the label. An instant t is usable where its label is
known, `t + gap + horizon + arrival_delay <= outcomes_end`, and the population too, `t <= end`; and where nothing is
cut off at the log's beginning: `t >= outcomes_start`, and for instants of the calendar a whole look-back,
`t - look_back >= start`. All times: int64 microseconds UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from feature_repo.configuration import Problem
from feature_repo.windows import DAY, floor
from pipelines.console import UserError
from pipelines.dataset.spans import Spans
from pipelines.settings.labels import microseconds
from pipelines.settings.models import ActionModelConfig, LearningConfig


@dataclass(frozen=True, slots=True)
class LogRange:
    """The half-open ranges that the events of the population and those of the outcome cover."""

    start: int
    end: int
    outcomes_start: int
    outcomes_end: int


@dataclass(frozen=True, slots=True)
class SnapshotPlan:
    """Snapshots, oldest first: as-of instants of the calendar, or the starts of spans of openings.

    A span reaches from its start to `every` later, the newest to `end`; no instant is before `begin`. The labels of
    `dropped` snapshots would reach past the first test instant; `window` is how long after t a label is known. `sparse`
    spans have too few customers. `by_customer`: train and test are the same spans of other customers, since no label
    is known before a test could begin.
    """

    train: tuple[int, ...]
    dropped: tuple[int, ...]
    test: tuple[int, ...]
    begin: int
    end: int
    window: int
    sparse: tuple[int, ...] = ()
    by_customer: bool = False

    @property
    def learns_until(self) -> int:
        """The last instant whose label a model made where the test begins could know."""
        return self.test[0] - self.window


def plan_snapshots(config: LearningConfig, log: LogRange) -> SnapshotPlan:
    """Snapshots `snapshots.every` apart, back from the newest usable midnight UTC.

    The newest `split.test_snapshots` are the test. Train instants are those whose label window ends
    by the first test instant, with its time to arrive; the ones between are dropped, and do not count
    for `snapshots.most`.

    Raises:
        UserError: the log is too short for a test snapshot, or for a train instant before it.
    """
    every, window = microseconds(config.snapshots.every), config.label.window
    if config.snapshots.at == "opening":
        # Spans end where a day begins, the newest with the day of the last opening.
        end = floor(min(log.outcomes_end - window, log.end + DAY - 1), DAY)
        begin, newest = max(log.start, log.outcomes_start), end - every
        oldest = begin - every + 1
    else:
        newest = end = floor(min(log.outcomes_end - window, log.end), DAY)
        begin = oldest = max(log.start + microseconds(config.label.look_back), log.outcomes_start)
    usable = list(range(newest, oldest - 1, -every))
    test, earlier = usable[: config.split.test_snapshots], usable[config.split.test_snapshots :]
    if len(test) < config.split.test_snapshots:
        raise _too_short(config, log, "no instant has a known label" if not test else "too few snapshots to test on")
    train = [instant for instant in earlier if instant + window <= test[-1]]
    if not train:
        raise _too_short(config, log, "no label ends before the test begins, so there is nothing to train on")
    dropped = earlier[: len(earlier) - len(train)]
    kept = train[: max(1, config.snapshots.most - len(test))]
    return SnapshotPlan(_ascending(kept), _ascending(dropped), _ascending(test), max(begin, kept[-1]), end, window)


def plan_assignments(config: ActionModelConfig, log: LogRange, assigned: pd.DataFrame) -> SnapshotPlan:
    """Spans `snapshots.every` long that hold enough of the customers of `assigned` (customer_id, and as_of as above).

    The newest `split.test_snapshots` of them are the test, however long nobody was assigned anything before them. Train
    instants are those whose label was known where the test begins; where there are none, as after a single
    campaign, customers are divided instead.

    Raises:
        UserError: no span whose labels are known has enough customers.
    """
    window = config.label.window
    end = floor(min(log.outcomes_end - window, log.end + DAY - 1), DAY)
    begin = max(log.start, log.outcomes_start)
    spans = Spans(end, microseconds(config.snapshots.every))
    usable = assigned[(assigned["as_of"] >= begin) & (assigned["as_of"] < end)]
    starts = spans.start_of(usable["as_of"].to_numpy(dtype=np.int64))
    customers = usable["customer_id"].groupby(starts).nunique()
    enough = customers >= config.snapshots.at_least_customers
    held = sorted((int(start) for start in customers.index[enough]), reverse=True)
    if not held:
        raise _nothing_assigned(config, begin, end, customers)
    sparse = tuple(sorted(int(start) for start in customers.index[~enough]))
    test, earlier = held[: config.split.test_snapshots], held[config.split.test_snapshots :]
    first_test = test[-1]
    learned = usable[usable["as_of"] + window <= first_test]
    known = set(spans.start_of(learned["as_of"].to_numpy(dtype=np.int64)).tolist())
    train = [start for start in earlier if start in known]
    if not train:
        both = _ascending(held[: config.snapshots.most])
        return SnapshotPlan(both, (), both, max(begin, both[0]), end, window, sparse, by_customer=True)
    kept = train[: max(1, config.snapshots.most - len(test))]
    dropped = [start for start in earlier if start > max(train)]
    begin = max(begin, kept[-1])
    return SnapshotPlan(_ascending(kept), _ascending(dropped), _ascending(test), begin, end, window, sparse)


def _nothing_assigned(config: ActionModelConfig, begin: int, end: int, customers: pd.Series) -> UserError:
    most = f", {int(customers.max()):,} at most in a span" if len(customers) else ""
    problem = Problem(
        "snapshots.at_least_customers",
        f"{config.snapshots.at_least_customers} customers in {config.snapshots.every} who got an action or were drawn "
        f"to get none, from {day(begin)} on and before {day(max(begin, end))}, so that their outcomes are known",
        f"{int(customers.sum()):,}{most}",
        "lower it, lengthen snapshots.every, shorten label.horizon, or ingest more assignments or later outcomes",
        f"configs/models/{config.name}.yaml",
    )
    return UserError(f"Too few assignments to learn {config.name} from.", [problem])


def day(instant: int) -> str:
    """`2011-08-31`, of an instant in microseconds UTC."""
    return datetime.fromtimestamp(instant / 1_000_000, tz=UTC).date().isoformat()


def _ascending(instants: list[int]) -> tuple[int, ...]:
    return tuple(reversed(instants))


def _too_short(config: LearningConfig, log: LogRange, finding: str) -> UserError:
    label = config.label
    opening = config.snapshots.at == "opening"
    test_span = microseconds(config.snapshots.every) * (config.split.test_snapshots - (0 if opening else 1))
    look_back = 0 if opening else microseconds(label.look_back)
    needed = look_back + 2 * label.window + test_span + 2 * DAY
    before = "" if opening else f"{label.look_back} to look back, then "
    problem = Problem(
        field="label.horizon",
        expected=f"about {needed // DAY} days of {' and '.join(_deciding(config))}: {before}gap "
        f"{label.gap} and horizon {label.horizon} once for training and once for the test",
        got=f"{max(0, log.outcomes_end - log.start) // DAY} days, {day(log.start)} to {day(log.outcomes_end - 1)}",
        hint="shorten label.horizon, or ingest a longer history",
        file=f"configs/models/{config.name}.yaml",
    )
    return UserError(f"The history is too short for model {config.name}: {finding}.", [problem])


def _deciding(config: LearningConfig) -> list[str]:
    """The events by which the length of a history is judged."""
    return list(dict.fromkeys((*config.label.population_events, *config.label.outcome_events)))
