"""What the model would say if one feature alone were otherwise: not what would happen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

import lightgbm
import numpy as np

from feature_repo.model_inputs import ModelInputs
from pipelines.explain.contributions import Array

MOST_ROWS = 500
LABEL = "What the model would say, not what would happen: non-causal."


@dataclass(frozen=True, slots=True)
class Hint:
    """One actionable feature. `better` is the training quartile at which the mean probability is more welcome.

    Probabilities are means over the sampled rows: as they are, with the median, with the better quartile.
    """

    feature: str
    meaning: str
    median: float
    better: float
    which: str
    now: float
    at_median: float
    at_better: float


@dataclass(frozen=True, slots=True)
class CustomerHint:
    """The same of one customer, whose value is `value` (None where empty)."""

    feature: str
    meaning: str
    value: float | None
    better: float
    now: float
    at_median: float
    at_better: float


class Hints:
    """Actionable features of a model: those that match the patterns, and that a column of the model reads.

    A column that is computed from a changed feature changes with it.
    """

    def __init__(
        self, booster: lightgbm.Booster, inputs: ModelInputs, train: Array, patterns: Sequence[str],
        meanings: Mapping[str, str], lower_is_better: bool,
    ) -> None:  # fmt: skip
        self._booster, self._inputs, self._meanings = booster, inputs, meanings
        self._sign = 1.0 if lower_is_better else -1.0
        self._quartiles: dict[str, tuple[float, float, float]] = {}
        for name in actionable(inputs, patterns):
            known = train[:, inputs.features.index(name)]
            known = known[np.isfinite(known)]
            if len(known) and np.ptp(known) > 0:
                low, middle, high = (float(value) for value in np.quantile(known, (0.25, 0.5, 0.75)))
                self._quartiles[name] = (low, middle, high)

    def on_average(self, rows: Array) -> tuple[Hint, ...]:
        """Hints over `rows` (rows, features of the service), the most welcome change first.

        A feature whose better quartile is its median, as of one that is mostly 0, says nothing beyond the median.
        """
        now = float(self._probabilities(rows).mean())
        made = [hint for name in self._quartiles if (hint := self._hint(name, rows, now)).better != hint.median]
        return tuple(sorted(made, key=lambda hint: self._sign * (hint.at_better - hint.now)))

    def of_customer(self, row: Array, average: Sequence[Hint], most: int = 3) -> list[dict[str, Any]]:
        """The most welcome changes for one customer, `row` (features of the service,)."""
        if not average:
            return []
        changed = [row]
        for hint in average:
            changed += [self._with(row[None], hint.feature, value)[0] for value in (hint.median, hint.better)]
        now, *rest = self._probabilities(np.array(changed)).tolist()
        made = []
        for hint, at_median, at_better in zip(average, rest[::2], rest[1::2], strict=True):
            value = float(row[self._inputs.features.index(hint.feature)])
            made.append(CustomerHint(
                hint.feature, hint.meaning, None if np.isnan(value) else value, hint.better, now, at_median, at_better
            ))  # fmt: skip
        welcome = [item for item in made if self._sign * (item.at_better - item.now) < 0]
        welcome.sort(key=lambda item: self._sign * (item.at_better - item.now))
        return [asdict(item) for item in welcome[:most]]

    def _hint(self, name: str, rows: Array, now: float) -> Hint:
        low, middle, high = self._quartiles[name]
        at_low, at_median, at_high = (
            float(self._probabilities(self._with(rows, name, value)).mean()) for value in (low, middle, high)
        )
        lower = self._sign * (at_low - at_high) < 0
        better, which, at_better = (low, "lower", at_low) if lower else (high, "upper", at_high)
        return Hint(name, self._meanings.get(name, name), middle, better, which, now, at_median, at_better)

    def _with(self, rows: Array, name: str, value: float) -> Array:
        changed = rows.copy()
        changed[:, self._inputs.features.index(name)] = value
        return changed

    def _probabilities(self, rows: Array) -> Array:
        return np.asarray(self._booster.predict(self._inputs.matrix(rows)), dtype=np.float64)


def actionable(inputs: ModelInputs, patterns: Sequence[str]) -> tuple[str, ...]:
    """Features that match a pattern (`*` stands for any text) and change a column of the model."""
    rhythm = inputs.rhythm
    read = {*inputs.direct, *((rhythm.recency, rhythm.frequency, rhythm.age) if rhythm else ())}
    return tuple(
        name for name in inputs.features if name in read and any(fnmatchcase(name, pattern) for pattern in patterns)
    )
