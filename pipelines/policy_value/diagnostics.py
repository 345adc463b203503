"""How far a log can tell what a policy is worth: overlap, effective sample size, and what was never tried."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipelines.policy_value.intervals import standard_error
from pipelines.policy_value.logged import Array, Logged, Policy

ASSOCIATIONAL = (
    "associational: nobody drew these actions, their chances are estimated; "
    "what decided and is not in the log biases every figure"
)
FEW_DECISIONS = 100.0
SMALL_SHARE = 0.01
LARGEST = 5
# A mean weight further off 1 than by this many standard errors is no chance.
FAR_OFF = 4.0


@dataclass(frozen=True, slots=True)
class Support:
    """What the log says of a policy's choices.

    `effective_sample_size` is (sum w)² / sum w² in decisions, `effective_share` the same over all decisions.
    `overlap` is the share of decisions whose action the policy could choose too. `mass_never_logged` is the share of
    the policy's choices that fall on actions the log never chose. `mean_weight` is 1 where propensities are right and
    everything that the policy chooses was tried; `mean_weight_error` is its standard error over customers.
    `largest_weights` are in falling order; `largest_share` is what the largest is of their sum.
    """

    effective_sample_size: float
    effective_share: float
    overlap: float
    mass_never_logged: float
    mean_weight: float
    mean_weight_error: float
    largest_weights: tuple[float, ...]
    largest_share: float

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on what there is no, or little, support for; none where all is well."""
        found = []
        if self.mass_never_logged > 0:
            share = f"{self.mass_never_logged:.1%}"
            found.append(f"no support: {share} of what the policy chooses was never chosen in the log")
        if self.overlap == 0:
            found.append("no support: the policy agrees with no decision of the log; only DM says anything")
        elif self.effective_sample_size < FEW_DECISIONS or self.effective_share < SMALL_SHARE:
            size = f"{self.effective_sample_size:,.0f} decisions ({self.effective_share:.1%})"
            found.append(f"little support: the effective sample size is {size}, so intervals may be too narrow")
        if abs(self.mean_weight - 1) > max(FAR_OFF * self.mean_weight_error, 1e-6):
            found.append(
                f"the mean weight is {self.mean_weight:.2f} ± {self.mean_weight_error:.2f}, not 1: "
                "propensities are wrong, or the policy chooses what was never tried in such a situation"
            )
        return tuple(found)


def importance_weights(logged: Logged, policy: Policy) -> Array:
    """policy(a | x) over the propensity, of the action that was chosen, shape (n,)."""
    return np.asarray(policy[np.arange(logged.rows), logged.action] / logged.propensity, dtype=np.float64)


def effective_sample_size(weights: Array) -> float:
    """(sum w)² / sum w², Kish (1965); 0 where all weights are 0."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def support_of(logged: Logged, policy: Policy) -> Support:
    """What the log, which has been checked, says of the policy's choices."""
    weights = importance_weights(logged, policy)
    size = effective_sample_size(weights)
    never = np.bincount(logged.action, minlength=logged.actions) == 0
    largest = np.sort(weights)[::-1][:LARGEST]
    error = standard_error(weights, logged.cluster)
    return Support(
        effective_sample_size=size,
        effective_share=size / logged.rows,
        overlap=float((weights > 0).mean()),
        mass_never_logged=float(policy[:, never].sum() / logged.rows),
        mean_weight=float(weights.mean()),
        mean_weight_error=0.0 if math.isnan(error) else error,
        largest_weights=tuple(map(float, largest)),
        largest_share=float(largest[0] / weights.sum()) if weights.any() else 0.0,
    )
