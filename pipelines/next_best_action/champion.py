"""A registered model of actions, and its policy for the rows of a test."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pandas as pd

from pipelines.console import UserError
from pipelines.model_store import EFFECTS
from pipelines.next_best_action.policies import greedy
from pipelines.next_best_action.storage import load_effects
from pipelines.next_best_action.trial import Trial
from pipelines.policy_value.logged import Policy
from pipelines.tracking import RegisteredVersion
from pipelines.uplift.rows import FittedEffects

# Of a label what makes the question; another source of the same decisions does not.
QUESTION = ("reward", "horizon", "gap", "control")


def load_version(found: RegisteredVersion) -> FittedEffects:
    """The model in the files of a registered version.

    Raises:
        UserError: a file is missing, or its content is not what was written.
    """
    try:
        if found.kind != EFFECTS:
            raise ValueError(found.kind)
        return load_effects(found.file.parent)
    except (OSError, ValueError, KeyError, TypeError, lgb.basic.LightGBMError):
        raise UserError(f"{found.name} version {found.version} is not whole.") from None


def policy_of(fitted: FittedEffects, rows: pd.DataFrame, test: Trial) -> Policy:
    """Its choice among the arms of the test; it never chooses an arm that it does not know."""
    inputs = fitted.model.inputs
    columns = inputs.matrix(rows[list(inputs.features)].to_numpy(dtype=np.float64))
    own = {action: at for at, action in enumerate(fitted.model.actions)}
    effects = fitted.effect(columns)
    known = [own.get(action) for action in test.rows.actions]
    told = np.stack([np.zeros(len(columns)) if at is None else effects[:, at] for at in known], axis=1)
    return greedy(test.gains(told), test.eligible & np.array([True, *(at is not None for at in known)]))
