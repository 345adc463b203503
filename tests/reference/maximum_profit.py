"""Expected maximum profit by its definition: every threshold at every rate of acceptance, integrated numerically."""

from __future__ import annotations

import numpy as np
from scipy.integrate import trapezoid
from scipy.stats import beta as beta_distribution

from pipelines.settings.models import EmpcConfig


def expected_maximum_profit(
    labels: np.ndarray, scores: np.ndarray, config: EmpcConfig, steps: int = 8_001
) -> tuple[float, float]:
    """Money a customer and the share to contact; no hull, no incomplete beta function."""
    rates = np.linspace(0.0, 1.0, steps)
    best, share = np.zeros(steps), np.zeros(steps)
    for threshold in np.unique(scores):
        contacted = scores >= threshold
        churners = float((contacted & (labels == 1)).mean())
        stayers = float((contacted & (labels == 0)).mean())
        kept = rates * (config.customer_value - config.incentive) - config.contact_cost
        profit = kept * churners - (config.incentive + config.contact_cost) * stayers
        better = profit > best
        best[better], share[better] = profit[better], churners + stayers
    density = beta_distribution.pdf(rates, config.alpha, config.beta)
    return float(trapezoid(best * density, rates)), float(trapezoid(share * density, rates))
