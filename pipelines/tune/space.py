"""Where parameters are searched: TabArena's LightGBM space (Erickson et al. 2025), without categoricals.

Its `cat_smooth`, `cat_l2`, `min_data_per_group` and `max_cat_to_onehot` are left out: no feature is
declared categorical, so they would change nothing and cost the sampler four dimensions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(0.005, 0.1, log=True),
    "num_leaves": IntDistribution(2, 200, log=True),
    "min_data_in_leaf": IntDistribution(1, 64, log=True),
    "feature_fraction": FloatDistribution(0.4, 1.0),
    "bagging_fraction": FloatDistribution(0.7, 1.0),
    "lambda_l1": FloatDistribution(1e-4, 1.0),
    "lambda_l2": FloatDistribution(1e-4, 2.0),
    "extra_trees": CategoricalDistribution([False, True]),
}

# Rows are drawn anew for every tree, else `bagging_fraction` has no effect.
ALWAYS: dict[str, Any] = {"bagging_freq": 1}

# LightGBM's own defaults; its zero penalties stand at the edge of the space.
DEFAULTS: dict[str, Any] = {
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    "feature_fraction": 1.0,
    "bagging_fraction": 1.0,
    "lambda_l1": 1e-4,
    "lambda_l2": 1e-4,
    "extra_trees": False,
}


def inside(candidate: Mapping[str, Any]) -> dict[str, Any]:
    """What of `candidate` lies in the space; the rest is for the sampler to choose."""
    return {name: value for name, value in candidate.items() if name in SPACE and _holds(SPACE[name], value)}


def space_hash() -> str:
    """Eight hex digits that change when the space does."""
    text = "".join(f"{name}{distribution_to_json(SPACE[name])}" for name in sorted(SPACE))
    return hashlib.sha256((text + repr(sorted(ALWAYS.items()))).encode()).hexdigest()[:8]


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if isinstance(distribution, (FloatDistribution, IntDistribution)):
        return distribution.low <= value <= distribution.high
    return False
