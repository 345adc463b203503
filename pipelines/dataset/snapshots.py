"""Which as-of instants a model learns from and is tested on.

Everything is read from the log of qualifying events, whose range is `[start, end)`. An instant t is
usable where its label is known, `t + gap + horizon + arrival_delay <= end`, and where a whole
activity window lies behind it, `t - activity_window >= start`. All times: int64 microseconds UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from feature_repo.configuration import Problem
from feature_repo.windows import DAY, floor
from pipelines.console import UserError
from pipelines.settings.labels import microseconds
from pipelines.settings.models import ModelConfig


@dataclass(frozen=True, slots=True)
class LogRange:
    """The half-open range `[start, end)` the log of qualifying events covers."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SnapshotPlan:
    """As-of instants, oldest first. The labels of `dropped` ones would reach past the first test instant."""

    train: tuple[int, ...]
    dropped: tuple[int, ...]
    test: tuple[int, ...]


def plan_snapshots(config: ModelConfig, log: LogRange) -> SnapshotPlan:
    """Instants `snapshots.every` apart, back from the newest usable midnight UTC.

    The newest `split.test_snapshots` are the test. Train instants are those whose label window ends
    by the first test instant, with its time to arrive; the ones between are dropped, and do not count
    for `snapshots.most`.

    Raises:
        UserError: the log is too short for a test instant, or for a train instant before it.
    """
    label, every = config.label, microseconds(config.snapshots.every)
    window = label.window
    newest = floor(log.end - window, DAY)
    oldest = log.start + microseconds(label.look_back)
    usable = list(range(newest, oldest - 1, -every))
    test, earlier = usable[: config.split.test_snapshots], usable[config.split.test_snapshots :]
    if len(test) < config.split.test_snapshots:
        raise _too_short(config, log, "no instant has a known label" if not test else "too few instants to test on")
    train = [instant for instant in earlier if instant + window <= test[-1]]
    if not train:
        raise _too_short(config, log, "no label ends before the test begins, so there is nothing to train on")
    dropped = earlier[: len(earlier) - len(train)]
    kept = train[: max(1, config.snapshots.most - len(test))]
    return SnapshotPlan(_ascending(kept), _ascending(dropped), _ascending(test))


def day(instant: int) -> str:
    """`2011-08-31`, of an instant in microseconds UTC."""
    return datetime.fromtimestamp(instant / 1_000_000, tz=UTC).date().isoformat()


def _ascending(instants: list[int]) -> tuple[int, ...]:
    return tuple(reversed(instants))


def _too_short(config: ModelConfig, log: LogRange, finding: str) -> UserError:
    label = config.label
    test_span = microseconds(config.snapshots.every) * (config.split.test_snapshots - 1)
    window = label.window
    needed = microseconds(label.look_back) + 2 * window + test_span + 2 * DAY
    problem = Problem(
        field="label.horizon",
        expected=f"about {needed // DAY} days of qualifying events: {label.look_back} to look back, then gap "
        f"{label.gap} and horizon {label.horizon} once for training and once for the test",
        got=f"{(log.end - log.start) // DAY} days, {day(log.start)} to {day(log.end - 1)}",
        hint="shorten label.horizon, or ingest a longer history",
        file=f"configs/models/{config.name}.yaml",
    )
    return UserError(f"The history is too short for model {config.name}: {finding}.", [problem])
