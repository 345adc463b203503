"""Why a model gave one customer its probability: signed contributions of the features, in words.

Contributions are SHAP values in log-odds, as `Booster.predict(pred_contrib=True)` gives them: one a
feature, in the order of the model, then the base value. They sum to the log-odds of the
prediction. The report and the service both read them here, so they say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

ADDITIVITY = 1e-9


class AdditivityError(ArithmeticError):
    """Contributions do not sum to the score they should explain: they must not be shown."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One feature's part in one prediction; `meaning` is the feature in words, its name where it has none.

    `value` is None where the feature is empty. `contribution` is in log-odds, above 0 where it
    raises the probability p. `change_in_probability` is p - sigmoid(log-odds - contribution): what
    p would lose if this contribution alone were taken away. These changes do not add up over features,
    since the sigmoid bends; the contributions do.
    """

    feature: str
    meaning: str
    value: float | None
    contribution: float
    change_in_probability: float
    sentence: str


def sigmoid(log_odds: ArrayLike) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)) without overflow; any shape, float64."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(log_odds, dtype=np.float64))))


def check_additive(contributions: ArrayLike, scores: ArrayLike) -> None:
    """Check that contributions, shape (rows, features + 1) or (features + 1,), sum to `scores` in log-odds.

    Raises:
        AdditivityError: a row is off by more than 1e-9, or is not finite.
    """
    gaps = np.abs(np.asarray(contributions, dtype=np.float64).sum(axis=-1) - np.asarray(scores, dtype=np.float64))
    worst = float(np.max(gaps, initial=0.0))
    if not worst <= ADDITIVITY:  # also true of NaN
        raise AdditivityError(f"contributions miss the score by {worst:.3g} log-odds, more than {ADDITIVITY:g}")


def reason_codes(
    contributions: NDArray[np.float64],
    values: ArrayLike,
    names: Sequence[str],
    top: int = 5,
    meanings: Mapping[str, str] | None = None,
) -> tuple[Reason, ...]:
    """The `top` features that moved one prediction most, the strongest first.

    Args:
        contributions: shape (features + 1,), log-odds, base value last.
        values: shape (features,), as the model read them, NaN where empty.
        names: feature names in the same order.
        top: how many reasons at most; features that contribute exactly 0 are left out.
        meanings: words for a feature's name; a feature without them is called by its name.

    Raises:
        ValueError: the shapes do not agree.
    """
    read = np.asarray(values, dtype=np.float64)
    if contributions.shape != (len(names) + 1,) or read.shape != (len(names),):
        raise ValueError(f"{len(names)} names, contributions {contributions.shape}, values {read.shape}")
    total = float(contributions.sum())
    parts = contributions[:-1]
    # A stable sort, so that ties fall in the order of the features.
    strongest = np.argsort(-np.abs(parts), kind="stable")[:top]
    changes = sigmoid(total) - sigmoid(total - parts[strongest])
    words = meanings or {}
    return tuple(
        _reason(names[index], words.get(names[index], names[index]), float(read[index]), float(parts[index]), change)
        for index, change in zip(strongest.tolist(), changes.tolist(), strict=True)
        if parts[index] != 0.0
    )


def _reason(name: str, words: str, value: float, contribution: float, change: float) -> Reason:
    verb = "raises" if contribution > 0 else "lowers"
    sentence = (
        f"{words} is {format_value(value)}: {verb} the probability by "
        f"{abs(change) * 100:.1f} percentage points ({contribution:+.2f} log-odds)"
    )
    return Reason(name, words, None if np.isnan(value) else value, contribution, change, sentence)


def format_value(value: float) -> str:
    """A feature's value for a person: `empty`, whole numbers in full, else about four digits."""
    if np.isnan(value):
        return "empty"
    if np.isfinite(value) and value == np.trunc(value):
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.4g}"
