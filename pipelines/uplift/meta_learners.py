"""The learners of effects: S, T, X, DR and a constant, of several actions against one control.

S, T and X are of Künzel et al. 2019 (PNAS 116, 4156), DR of Kennedy 2023 (arXiv 2004.14497). Each gives weighted sums
of boosters (see `feature_repo.effect_model`). mu_a is a booster of the reward of rows of a, mu_0 of the control's.

What a changes is learned where a could be drawn: who could not get it may differ from all who could. The constant and
DR need no column that tells the two apart; S, T and X do, for they lean on a mu_0 of all that got the control.

- constant: mean reward of a minus that of the control, rows weighted by 1 / propensity; nobody differs from anybody.
- S: one booster that also reads which action: what it says with a, minus what it says with the control.
- T: mu_a - mu_0.
- X: boosters of Y - mu_0 among rows of a, and of mu_a - Y among the control's; the first weighs as the control's share
  of both, the second as that of a, so what leans on the larger arm's mu weighs more.
- DR: a booster of psi_a - psi_0 on the rows of any arm (see `doubly_robust`), mu of other customers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from feature_repo.effect_model import Combination, EffectModel, Term, with_action
from pipelines.uplift.base import (
    Fit,
    arm_boosters,
    customer_folds,
    predicted,
    response_name,
    with_responses,
)
from pipelines.uplift.doubly_robust import cross_fitted_responses, pseudo_effects
from pipelines.uplift.rows import FittedEffects, TrialRows

NUISANCE_FOLDS = 3


def constant(rows: TrialRows, fit: Fit) -> FittedEffects:
    """Hájek means an arm: sum of reward / propensity over sum of 1 / propensity. A response is control and effect."""
    weights = 1.0 / rows.propensity

    def mean(chosen: NDArray[np.bool_]) -> float:
        return float(np.average(rows.reward[chosen], weights=weights[chosen]))

    arms = _arms(rows)
    control = mean(arms[0])
    found = [mean(arms[arm]) - mean(arms[0] & rows.could_get(arm)) for arm in _numbers(rows)]
    effects = tuple(Combination(effect) for effect in found)
    responses = tuple(Combination(control + effect) for effect in found)
    model = EffectModel("constant", rows.control, rows.actions, rows.inputs, effects, responses, Combination(control))
    return FittedEffects(model, {})


def s_learner(rows: TrialRows, fit: Fit) -> FittedEffects:
    """One booster of all rows, which reads one column more an action."""
    name = "response"
    columns = np.empty((len(rows.reward), rows.columns.shape[1] + len(rows.actions)))
    for own, action in zip(_arms(rows), _names(rows), strict=True):
        columns[own] = with_action(rows.columns[own], rows.actions, action)
    booster = fit.booster(columns, rows.reward, [*rows.inputs.names, *(_action_column(i) for i in _numbers(rows))])
    control, *responses = (Combination(0.0, (Term(name, 1.0, asked_with=action),)) for action in _names(rows))
    effects = tuple(
        Combination(0.0, (*response.terms, Term(name, -1.0, asked_with=rows.control))) for response in responses
    )
    model = EffectModel("s", rows.control, rows.actions, rows.inputs, effects, tuple(responses), control)
    return FittedEffects(model, {name: booster})


def t_learner(rows: TrialRows, fit: Fit) -> FittedEffects:
    """One booster an arm."""
    boosters = {response_name(arm): booster for arm, booster in enumerate(arm_boosters(rows, fit))}
    effects = [
        Combination(0.0, (Term(response_name(arm), 1.0), Term(response_name(0), -1.0))) for arm in _numbers(rows)
    ]
    return with_responses("t", rows, effects, boosters)


def x_learner(rows: TrialRows, fit: Fit) -> FittedEffects:
    """Imputed effects of each arm by the other's booster, and two boosters of them an action."""
    arms, responses = _arms(rows), arm_boosters(rows, fit)
    boosters = {response_name(arm): booster for arm, booster in enumerate(responses)}
    effects = []
    for arm in _numbers(rows):
        treated, control = arms[arm], arms[0] & rows.could_get(arm)
        of_treated = rows.reward[treated] - predicted(responses[0], rows.columns[treated])
        of_control = predicted(responses[arm], rows.columns[control]) - rows.reward[control]
        names = f"effect_{arm}_of_treated", f"effect_{arm}_of_control"
        boosters[names[0]] = fit.booster(rows.columns[treated], of_treated, rows.inputs.names)
        boosters[names[1]] = fit.booster(rows.columns[control], of_control, rows.inputs.names)
        share = float(treated.sum() / (treated.sum() + control.sum()))
        effects.append(Combination(0.0, (Term(names[0], 1.0 - share), Term(names[1], share))))
    return with_responses("x", rows, effects, boosters)


def dr_learner(rows: TrialRows, fit: Fit) -> FittedEffects:
    """One booster of the doubly-robust effect an action, of all rows that could get it; mu of other customers."""
    fold = customer_folds(rows.cluster, NUISANCE_FOLDS, fit.seed)
    targets = pseudo_effects(rows, cross_fitted_responses(rows, fold, fit))
    boosters = {response_name(arm): booster for arm, booster in enumerate(arm_boosters(rows, fit))}
    effects = []
    for arm in _numbers(rows):
        name = f"effect_{arm}"
        own = rows.could_get(arm)
        boosters[name] = fit.booster(rows.columns[own], targets[own, arm - 1], rows.inputs.names)
        effects.append(Combination(0.0, (Term(name, 1.0),)))
    return with_responses("dr", rows, effects, boosters)


LEARNERS: Mapping[str, Callable[[TrialRows, Fit], FittedEffects]] = MappingProxyType(
    {"constant": constant, "s": s_learner, "t": t_learner, "x": x_learner, "dr": dr_learner}
)


def _names(rows: TrialRows) -> tuple[str, ...]:
    return (rows.control, *rows.actions)


def _numbers(rows: TrialRows) -> range:
    return range(1, len(rows.actions) + 1)


def _arms(rows: TrialRows) -> list[NDArray[np.bool_]]:
    return [rows.action == arm for arm in range(len(rows.actions) + 1)]


def _action_column(number: int) -> str:
    return f"action_{number}"
