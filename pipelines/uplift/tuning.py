"""A small search of LightGBM's parameters and number of trees for a learner of effects.

All learners are judged by one loss, the DR loss: the mean of (effect_a(x) - (psi_a - psi_0))² over rows and the actions
that each could get, of effects and pseudo-outcomes that other customers gave (see `doubly_robust`). Up to what is the
same for all effects, its expectation is the squared error of the effect, whatever made it. The loss of the outcome
would be less noisy, but what predicts a reward best is not what tells effects apart best; S and T are held to the same.
The boosters behind psi are the same for every learner and trial, so nobody chooses their own referee.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from pipelines.uplift.base import Fit
from pipelines.uplift.doubly_robust import cross_fitted_responses, pseudo_effects
from pipelines.uplift.learners import cross_fitted
from pipelines.uplift.rows import Array, TrialRows

# Effects are small beside what else moves a reward: few leaves of many rows, much shrunk.
CAUTIOUS: Mapping[str, Any] = {"learning_rate": 0.05, "num_leaves": 8, "min_data_in_leaf": 100}
CAUTIOUS_ROUNDS = 60
FEWEST_ROUNDS = 10

SPACE: dict[str, optuna.distributions.BaseDistribution] = {
    "learning_rate": optuna.distributions.FloatDistribution(0.01, 0.1, log=True),
    "num_leaves": optuna.distributions.IntDistribution(2, 32, log=True),
    "min_data_in_leaf": optuna.distributions.IntDistribution(10, 500, log=True),
    "feature_fraction": optuna.distributions.FloatDistribution(0.4, 1.0),
    "lambda_l2": optuna.distributions.FloatDistribution(1e-3, 100.0, log=True),
}


@dataclass(frozen=True, slots=True)
class TunedEffects:
    """The best parameters and number of trees, with DR losses in squared units of the reward, and what was spent.

    `default_loss` is that of `CAUTIOUS`, `constant_loss` that of one effect an action for everybody.
    """

    params: dict[str, Any]
    rounds: int
    best_loss: float
    default_loss: float
    constant_loss: float
    trials: int
    seconds: float


def dr_loss(effects: Array, pseudo: Array, eligible: NDArray[np.bool_] | None = None) -> float:
    """Mean of (effects - pseudo)², all (n, m), where `eligible`, else everywhere; in squared units of the reward."""
    return float(np.mean((effects - pseudo) ** 2, where=True if eligible is None else eligible))


def referee(rows: TrialRows, fold: NDArray[np.int64], seed: int, threads: int) -> Array:
    """psi_a - psi_0 for each row and action, shape (n, m), by boosters of other folds."""
    fit = Fit(CAUTIOUS, CAUTIOUS_ROUNDS, seed, threads)
    return pseudo_effects(rows, cross_fitted_responses(rows, fold, fit))


def tuned(
    learner: str,
    rows: TrialRows,
    fold: NDArray[np.int64],
    *,
    trials: int,
    seconds: float,
    rounds: int,
    seed: int,
    threads: int,
) -> TunedEffects:
    """`CAUTIOUS`, LightGBM's own defaults, then TPE, until `trials` or `seconds` are spent; none is broken off.

    `rounds` are the most trees a booster may have. The same seed and number of trials give the same parameters.

    Raises:
        UserError: as `cross_fitted`.
    """
    began = time.monotonic()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pseudo = referee(rows, fold, seed, threads)
    eligible = None if rows.eligible is None else rows.eligible[:, 1:]

    def loss(params: Mapping[str, Any], trees: int, of: str = learner) -> float:
        return dr_loss(cross_fitted(of, rows, fold, params, trees, seed, threads).effects, pseudo, eligible)

    default = loss(CAUTIOUS, min(CAUTIOUS_ROUNDS, rounds))
    found: list[tuple[float, dict[str, Any], int]] = [(default, dict(CAUTIOUS), min(CAUTIOUS_ROUNDS, rounds))]
    if trials > 1:
        found.append((loss({}, rounds), {}, rounds))
    fewest = min(FEWEST_ROUNDS, rounds)
    space = {**SPACE, "rounds": optuna.distributions.IntDistribution(fewest, rounds, log=True)}
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    while len(found) < trials and time.monotonic() - began < seconds:
        trial = study.ask(space)
        params = dict(trial.params)
        trees = int(params.pop("rounds"))
        found.append((loss(params, trees), params, trees))
        study.tell(trial, found[-1][0])
    best = min(found, key=lambda item: item[0])
    flat = loss({}, 1, of="constant")
    return TunedEffects(best[1], best[2], best[0], default, flat, len(found), round(time.monotonic() - began, 1))
