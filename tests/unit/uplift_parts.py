"""Made-up trials whose true effects are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.model_inputs import ModelInputs
from pipelines.uplift.rows import TrialRows

NAMES = ("wants", "habit", "noise")
ACTIONS = ("coupon", "call")
GENTLE = {"num_leaves": 4, "min_data_in_leaf": 40, "learning_rate": 0.1}


@dataclass(frozen=True)
class Trial:
    """Rows with the true effect of each action, shape (n, 2)."""

    rows: TrialRows
    effects: np.ndarray


def made_up_trial(n: int = 4000, seed: int = 0, noise: float = 1.0, unit: float = 1.0) -> Trial:
    """A coupon helps those who want (+1) and harms others (-.5), a call brings .3 to all; two rows a customer.

    Those of a strong habit were more often left alone, so that means without propensities are wrong.
    """
    random = np.random.default_rng(seed)
    columns = random.normal(size=(n, len(NAMES)))
    columns[random.random(columns.shape) < 0.03] = np.nan
    wants, habit = np.nan_to_num(columns[:, 0]), np.nan_to_num(columns[:, 1])
    effects = np.stack([np.where(wants > 0, 1.0, -0.5), np.full(n, 0.3)], axis=1)
    chances = np.where(habit[:, None] > 0, [[0.5, 0.25, 0.25]], [[0.2, 0.4, 0.4]])
    action = (random.random(n)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    places = np.arange(n)
    of_action = np.where(action > 0, effects[places, np.maximum(action - 1, 0)], 0.0)
    reward = unit * (2.0 * (habit > 0) + of_action + noise * random.normal(size=n))
    inputs = ModelInputs(NAMES, NAMES)
    rows = TrialRows(columns, reward, action, chances[places, action], places // 2, ACTIONS, "no_action", inputs)
    return Trial(rows, unit * effects)
