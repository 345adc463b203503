"""Logged decisions and policies as plain arrays: where policies and estimators meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Logged:
    """n decisions among k actions, as they were logged.

    action: int64 (n,), 0 to k - 1, what was chosen. reward: float64 (n,), what came of it, in the unit of the value
    that is asked for. propensity: float64 (n,), the chance with which the logging policy chose it; above 0. eligible:
    bool (n, k), what a policy may choose. cluster: int64 (n,), rows of one customer have one number; intervals take
    whole customers.
    """

    action: NDArray[np.int64]
    reward: Array
    propensity: Array
    eligible: NDArray[np.bool_]
    cluster: NDArray[np.int64]

    @property
    def rows(self) -> int:
        return len(self.action)

    @property
    def actions(self) -> int:
        return self.eligible.shape[1]


# A policy is the chances with which it would choose, float64 (n, k), rows summing to 1, 0 where not eligible.
# A reward model is what it expects under each action, float64 (n, k), in the unit of the reward.
Policy: TypeAlias = Array
Expected: TypeAlias = Array


@dataclass(frozen=True, slots=True)
class Estimate:
    """The value of a policy, a mean reward a decision, with a 95 % interval (low, high) over customers.

    `effective_sample_size` is (sum w)² / sum w² of the importance weights, in decisions; `warnings` say what there is
    no support for.
    """

    estimator: str
    value: float
    low: float
    high: float
    standard_error: float
    effective_sample_size: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gain:
    """How much more one policy brings than another on the same decisions, with a 95 % interval, paired by row."""

    estimator: str
    value: float
    low: float
    high: float

    @property
    def is_shown(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low > 0
