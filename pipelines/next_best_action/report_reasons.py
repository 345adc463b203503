"""Why a model of actions expects an effect: contributions of its inputs to the effect, and to the response beside it.

Both are SHAP values in units of the reward, over one sample of rows, so that a reader sees the difference between who
buys (the response) and who is changed by an action (the effect).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from feature_repo.effect_model import check_adds_up
from feature_repo.reasons import format_value
from pipelines.uplift.rows import FittedEffects

Array = NDArray[np.float64]
_BLOCK = 250


@dataclass(frozen=True, slots=True)
class Explained:
    """Contributions of k inputs to `scores`, (n,), of n rows: shape (n, k), with the base value they start from."""

    contributions: Array
    base: float
    scores: Array

    @property
    def sizes(self) -> Array:
        """Mean absolute contribution of each input, shape (k,)."""
        return np.abs(self.contributions).mean(axis=0)


@dataclass(frozen=True, slots=True)
class InputWeight:
    """How much one input moves the effect of an action, and the response to it; units of the reward.

    `direction` is Spearman's correlation of value and contribution to the effect, None where undefined. Ranks count
    from 1; an input that moves nothing has none.
    """

    feature: str
    meaning: str
    effect: float
    effect_rank: int | None
    response: float
    response_rank: int | None
    direction: float | None


@dataclass(frozen=True, slots=True)
class ActionReasons:
    """The effect and the response of one action over the same rows, and the inputs by their weight in the effect."""

    action: str
    effect: Explained
    response: Explained
    inputs: tuple[InputWeight, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """One row: where its expected effect stands among those explained, and what moved it most, the strongest first."""

    role: str
    action: str
    effect: float
    response: float
    base: float
    reasons: tuple[str, ...]


def explain_action(
    fitted: FittedEffects,
    action: str,
    columns: Array,
    meanings: Mapping[str, str],
    advance: Callable[[float], None] = lambda rows: None,
) -> ActionReasons:
    """Explain `action` on the rows of `columns`, shape (n, k).

    Raises:
        AdditivityError: a row's contributions miss its effect or its response by more than 1e-9 of their size.
    """
    at = fitted.model.actions.index(action)
    effect = _explained(fitted, action, columns, fitted.effect(columns)[:, at], advance)
    # The same sum of boosters with the responses in the place of the effects.
    responding = FittedEffects(replace(fitted.model, effects=fitted.model.responses), fitted.boosters)
    response = _explained(responding, action, columns, fitted.response(columns)[:, at + 1], advance)
    return ActionReasons(action, effect, response, _weights(fitted, columns, effect, response, meanings))


def examples_of(reasons: ActionReasons, columns: Array, names: tuple[str, ...], meanings: Mapping[str, str],
                unit: str, top: int = 5) -> tuple[Example, ...]:  # fmt: skip
    """Rows with the lowest, the median and the highest effect, and what moved each; `unit` is that of the reward."""
    ranked = np.argsort(reasons.effect.scores, kind="stable")
    places = (("largest effect", -1), ("median effect", len(ranked) // 2), ("smallest effect", 0))
    return tuple(_example(reasons, columns, names, meanings, unit, role, int(ranked[at]), top) for role, at in places)


def _explained(
    fitted: FittedEffects, action: str, columns: Array, scores: Array, advance: Callable[[float], None]
) -> Explained:
    blocks = []
    for begin in range(0, len(columns), _BLOCK):
        blocks.append(fitted.contributions(action, columns[begin : begin + _BLOCK]))
        advance(len(blocks[-1]))
    found = np.concatenate(blocks)
    check_adds_up(found, scores)
    return Explained(found[:, :-1], float(found[0, -1]), scores)


def _weights(
    fitted: FittedEffects, columns: Array, effect: Explained, response: Explained, meanings: Mapping[str, str]
) -> tuple[InputWeight, ...]:
    names = fitted.model.inputs.names
    ranks = [_ranks(effect.sizes), _ranks(response.sizes)]
    made = [
        InputWeight(
            name, meanings.get(name, name), float(effect.sizes[at]), ranks[0][at], float(response.sizes[at]),
            ranks[1][at], _direction(columns[:, at], effect.contributions[:, at]),
        )
        for at, name in enumerate(names)
    ]  # fmt: skip
    return tuple(sorted(made, key=lambda item: (-item.effect, -item.response)))


def _ranks(sizes: Array) -> list[int | None]:
    order = np.argsort(-sizes, kind="stable").tolist()
    place = {at: rank for rank, at in enumerate(order, 1)}
    return [place[at] if sizes[at] > 0 else None for at in range(len(sizes))]


def _direction(values: Array, parts: Array) -> float | None:
    known = np.isfinite(values)
    if known.sum() < 3 or np.ptp(values[known]) == 0 or np.ptp(parts[known]) == 0:
        return None
    return float(spearmanr(values[known], parts[known]).statistic)


def _example(reasons: ActionReasons, columns: Array, names: tuple[str, ...], meanings: Mapping[str, str],
             unit: str, role: str, row: int, top: int) -> Example:  # fmt: skip
    parts = reasons.effect.contributions[row]
    strongest = [at for at in np.argsort(-np.abs(parts), kind="stable")[:top].tolist() if parts[at] != 0]
    told = tuple(
        f"{meanings.get(names[at], names[at])} is {format_value(float(columns[row, at]))}: "
        f"{'raises' if parts[at] > 0 else 'lowers'} the effect by {abs(parts[at]):.4g} {unit}"
        for at in strongest
    )
    scores = float(reasons.effect.scores[row]), float(reasons.response.scores[row])
    return Example(role, reasons.action, *scores, reasons.effect.base, told)
