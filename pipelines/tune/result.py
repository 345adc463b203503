"""What a search found, and what it bought: the content of `tuning.json`, and the summary for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from scipy import stats

from pipelines.tune.space import ALWAYS
from pipelines.tune.study import finished, seconds_spent


@dataclass(frozen=True, slots=True)
class Found:
    """The result of one study. Losses are cross-validated log-loss in nats, seconds wall-clock over all runs."""

    params: dict[str, Any]
    rounds: int
    trials: int
    pruned: int
    seconds: float
    best_loss: float
    history: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Difference:
    """Log-loss of the tuned parameters minus that of others, fold by fold (nats; below 0 the tuned ones are better).

    `low` to `high` is Student's 95 % interval of the mean over folds. It flatters the tuned parameters: they were
    chosen on these very folds. What they are worth is seen out of time.
    """

    folds: list[float]
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """How many rows of how many customers were cross-validated, of all training rows."""

    rows: int
    customers: int
    of_rows: int


@dataclass(frozen=True, slots=True)
class TuneSummary:
    """What was found. Losses are grouped out-of-fold log-loss in nats; `resumed` trials were there already.

    `random` is what random search found in the same wall-clock, where it was asked for.
    """

    model: str
    path: str
    params: dict[str, Any]
    rounds: int
    trials: int
    pruned: int
    resumed: int
    seconds: float
    default_loss: float | None
    best_loss: float
    stopped_by: str
    study: str
    processes: int
    judged: JudgedRows
    differences: dict[str, Difference]
    random_loss: float | None
    random_trials: int

    def text(self) -> str:
        """The summary for a person."""
        resumed = f", {self.resumed} of them from an earlier run" if self.resumed else ""
        chosen = ", ".join(f"{name} {_short(value)}" for name, value in self.params.items())
        default = "not known" if self.default_loss is None else f"{self.default_loss:.4f}"
        processes = f" in {self.processes} processes" if self.processes > 1 else ""
        lines = [
            f"Tuning of {self.model}: {self.trials} trials{resumed}, {self.pruned} pruned, "
            f"{self.seconds:.0f} s{processes}, stopped by {self.stopped_by}",
            f"  cross-validated log-loss {default} by default, {self.best_loss:.4f} tuned" + self._compared("default"),
        ]
        if self.random_loss is not None:
            lines.append(
                f"  random search of the same time: {self.random_loss:.4f} in {self.random_trials} trials"
                + self._compared("random")
            )
        if self.judged.rows < self.judged.of_rows:
            lines.append(
                f"  cross-validated on {self.judged.rows:,} of {self.judged.of_rows:,} rows: "
                f"all those of {self.judged.customers:,} customers"
            )
        return "\n".join([*lines, f"  {chosen}; {self.rounds} rounds", f"  {self.path}"])

    def _compared(self, other: str) -> str:
        if other not in self.differences:
            return ""
        found = self.differences[other]
        return f" ({found.mean:+.4f}, {found.low:+.4f} to {found.high:+.4f} over folds it was chosen on)"


def found_by(study: optuna.Study) -> Found:
    """What `study`, which has a complete trial, found."""
    best, counted = study.best_trial, finished(study.trials)
    return Found(
        params={**ALWAYS, **best.params},
        rounds=best.user_attrs["rounds"],
        trials=len(counted),
        pruned=sum(trial.state == TrialState.PRUNED for trial in counted),
        seconds=round(seconds_spent(counted), 3),
        best_loss=float(study.best_value),
        history=[_row(trial) for trial in counted],
    )


def difference(tuned: FrozenTrial, other: FrozenTrial) -> Difference:
    """Of two complete trials that were judged on the same folds."""
    ours, theirs = tuned.user_attrs["fold_losses"], other.user_attrs["fold_losses"]
    return paired([ours[number] - theirs[number] for number in sorted(ours, key=int)])


def paired(differences: Sequence[float]) -> Difference:
    """The mean of `differences`, one a fold (at least two), with Student's interval."""
    mean = float(np.mean(differences))
    error = float(np.std(differences, ddof=1)) / len(differences) ** 0.5
    reach = float(stats.t.ppf(0.975, len(differences) - 1)) * error
    return Difference(list(differences), mean, mean - reach, mean + reach)


def _row(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "origin": trial.user_attrs.get("origin", "sampler"),
        "loss": trial.value if trial.state == TrialState.COMPLETE else None,
        "folds": len(trial.intermediate_values),
        "rounds": trial.user_attrs.get("rounds"),
        "seconds": round(trial.duration.total_seconds(), 3) if trial.duration else None,
        **trial.params,
    }


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
