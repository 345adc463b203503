"""A small real effect model, with boosters that read the columns alone and one that also reads the action."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from feature_repo.effect_model import FILE, Combination, EffectModel, Term, with_action
from feature_repo.model_inputs import ModelInputs
from pipelines.artefacts import write_json
from pipelines.model_store import effect_booster_file
from pipelines.uplift.rows import FittedEffects

ACTIONS = ("email_coupon", "line_coupon")
CONTROL = "no_action"


def fitted_effects(inputs: ModelInputs, seed: int = 7) -> FittedEffects:
    """An effect of each action in another form: an S-learner's difference, and a weighted sum of two boosters."""
    generator = np.random.default_rng(seed)
    columns = generator.exponential(2.0, (400, len(inputs.names)))
    columns[generator.random(columns.shape) < 0.2] = np.nan
    reward = np.nan_to_num(columns[:, 0]) + generator.normal(0, 1, 400)
    asked = with_action(columns, ACTIONS, ACTIONS[0])
    asked[::2, -2:] = 0.0
    boosters = {
        "first": _booster(columns, reward, list(inputs.names), seed),
        "second": _booster(columns, -0.3 * reward**2, list(inputs.names), seed + 1),
        "joint": _booster(asked, reward * (1 + asked[:, -2]), [*inputs.names, *ACTIONS], seed),
    }
    s_learner = Combination(0.0, (Term("joint", 1.0, ACTIONS[0]), Term("joint", -1.0, CONTROL)))
    weighted = Combination(0.125, (Term("first", 0.7), Term("second", 0.3)))
    responses = (Combination(0.0, (Term("joint", 1.0, ACTIONS[0]),)), Combination(0.5, (Term("second", 2.0),)))
    none = Combination(0.0, (Term("joint", 1.0, CONTROL),))
    model = EffectModel("x", CONTROL, ACTIONS, inputs, (s_learner, weighted), responses, none)
    return FittedEffects(model, boosters)


def in_units_of(unit: float, fitted: FittedEffects) -> FittedEffects:
    """The same effects of a reward that is `unit` times as large."""

    def larger(part: Combination) -> Combination:
        terms = tuple(replace(term, weight=unit * term.weight) for term in part.terms)
        return Combination(unit * part.intercept, terms)

    model = fitted.model
    effects, responses = (tuple(map(larger, parts)) for parts in (model.effects, model.responses))
    made = replace(model, effects=effects, responses=responses, control_response=larger(model.control_response))
    return FittedEffects(made, fitted.boosters)


def write_effects(folder: Path, fitted: FittedEffects) -> None:
    """As the champion's files lie in the model store, but for the manifest."""
    write_json(folder / FILE, fitted.model.to_json())
    for at, name in enumerate(fitted.model.boosters):
        fitted.boosters[name].save_model(folder / effect_booster_file(at))


def _booster(columns: NDArray[np.float64], reward: NDArray[np.float64], names: list[str], seed: int) -> lgb.Booster:
    options = {"objective": "regression", "num_leaves": 15, "min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1}
    return lgb.train({**options, "seed": seed}, lgb.Dataset(columns, reward, feature_name=names), num_boost_round=30)
