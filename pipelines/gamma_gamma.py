"""The Gamma-Gamma model of money a purchase (Fader & Hardie 2013, "The Gamma-Gamma Model of Monetary Value").

A customer's purchases are worth z ~ Gamma(p, rate nu), with nu ~ Gamma(q, rate gamma) over customers. Of n purchases
the mean m is known. How often somebody buys is taken to say nothing of how much; `frequency_value_correlation`
looks whether that holds. Values must be above 0: others say nothing here and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gammaln
from scipy.stats import spearmanr

from feature_repo.bg_nbd import Array

# Logarithms of p, q - 1 and gamma, in units of the mean value: wider is flat in likelihood.
_WIDEST = 7.0
_STARTS = ((0.5, 0.5, 0.5), (1.5, 1.0, 0.0), (-0.5, 2.0, 2.0))


@dataclass(frozen=True, slots=True)
class GammaGamma:
    """Parameters; `gamma` in the unit of the values. `q` is above 1, so that the mean exists."""

    p: float
    q: float
    gamma: float

    @property
    def mean(self) -> float:
        """Expected value of a purchase of a customer nothing is known of."""
        return self.p * self.gamma / (self.q - 1.0)


def log_likelihood(model: GammaGamma, purchases: Array, mean_value: Array) -> Array:
    """Log-density of each customer's mean value, shape (customers,); equation 1a of the note."""
    p, q, gamma = model.p, model.q, model.gamma
    shape = p * purchases
    return np.asarray(
        gammaln(shape + q) - gammaln(shape) - gammaln(q)
        + q * np.log(gamma) + (shape - 1.0) * np.log(mean_value) + shape * np.log(purchases)
        - (shape + q) * np.log(gamma + purchases * mean_value)
    )  # fmt: skip


def known(purchases: Array, mean_value: Array) -> NDArray[np.bool_]:
    """Customers the model can say something of: at least one purchase, worth more than 0 on average."""
    return np.asarray(np.isfinite(purchases) & np.isfinite(mean_value) & (purchases >= 1.0) & (mean_value > 0.0))


def fit(purchases: Array, mean_value: Array) -> GammaGamma:
    """Maximum likelihood over customers with a purchase worth something.

    Raises:
        ValueError: there are none, or no finite maximum was found.
    """
    there = known(purchases, mean_value)
    if not there.any():
        raise ValueError("Gamma-Gamma needs customers with a purchase worth more than 0")
    purchases, mean_value = purchases[there], mean_value[there]
    unit = float(np.mean(mean_value))

    def loss(logarithms: Array) -> float:
        mean = float(np.mean(log_likelihood(_model(logarithms), purchases, mean_value / unit)))
        return -mean if np.isfinite(mean) else 1e6

    runs = [minimize(loss, start, method="L-BFGS-B", bounds=[(-_WIDEST, _WIDEST)] * 3) for start in _STARTS]
    best = min(runs, key=lambda run: float(run.fun))
    if not best.fun < 1e6:
        raise ValueError("Gamma-Gamma found no finite likelihood")
    found = _model(best.x)
    return GammaGamma(found.p, found.q, found.gamma * unit)


def _model(logarithms: Array) -> GammaGamma:
    p, above_one, gamma = np.exp(logarithms).tolist()
    return GammaGamma(p, 1.0 + above_one, gamma)


def expected_value(model: GammaGamma, purchases: Array, mean_value: Array) -> Array:
    """Expected value of a later purchase, shape (customers,); equation 5 of the note, the mean of all where unknown."""
    there = known(purchases, mean_value)
    n, m = np.where(there, purchases, 0.0), np.where(there, mean_value, 0.0)
    return np.asarray(model.p * (model.gamma + n * m) / (model.p * n + model.q - 1.0))


def simulate_totals(
    model: GammaGamma, purchases: Array, mean_value: Array, later: NDArray[np.int64], seed: int
) -> Array:
    """What `later` purchases, shape (customers, draws), are worth together, drawn from the posterior; same shape."""
    generator = np.random.default_rng(seed)
    there = known(purchases, mean_value)
    n, m = np.where(there, purchases, 0.0), np.where(there, mean_value, 0.0)
    rates = generator.gamma((model.p * n + model.q)[:, None], 1.0 / (model.gamma + n * m)[:, None], later.shape)
    return np.where(later > 0, generator.gamma(np.maximum(model.p * later, 1e-9)) / np.maximum(rates, 1e-300), 0.0)


def frequency_value_correlation(purchases: Array, mean_value: Array) -> float | None:
    """Spearman's correlation of number and mean value over customers with two purchases or more; None if undefined.

    The model assumes 0.
    """
    there = known(purchases, mean_value) & (purchases >= 2.0)
    n, m = purchases[there], mean_value[there]
    if len(n) < 3 or np.ptp(n) == 0.0 or np.ptp(m) == 0.0:
        return None
    return float(spearmanr(n, m).statistic)
