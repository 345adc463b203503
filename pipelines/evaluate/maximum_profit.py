"""EMPC: what a retention campaign would bring with the best threshold at every rate of acceptance."""

from __future__ import annotations

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import betainc

from pipelines.scoring.metrics import Array
from pipelines.settings.models import EmpcConfig


def expected_maximum_profit(
    labels: Array, scores: Array, config: EmpcConfig, weights: Array | None = None
) -> tuple[float, float]:
    r"""EMPC and the share of customers to contact for it (Verbraken, Verbeke & Baesens 2013, TKDE 25(5), eq. 12-17).

    A contacted churner accepts with the chance g and then stays, worth CLV less the incentive d; a contact costs f.
    One who would have stayed takes the incentive in any case. With U and D the shares of all customers that are
    churners and stayers among the contacted, the profit a customer is

        P(t; g) = CLV (g (1 - delta) - phi) U(t) - CLV (delta + phi) D(t),   delta = d / CLV, phi = f / CLV,

    and EMPC is the mean over g ~ Beta(alpha, beta) of its maximum over the threshold t:

        EMPC = \int_0^1 max_t P(t; g) h(g) dg.

    Only corners of the convex hull of the ROC curve can be best. From corner i to the next, (U, D) grows by (u, v),
    which pays from g = (phi u + (delta + phi) v) / ((1 - delta) u) on; between two such values of g the corner
    is the same, and the integral is a difference of incomplete beta functions. As `empChurn` of CRAN's EMP does.
    The best threshold is found on the labels themselves, so this judges the ranking, at its best; `Stakes.threshold`
    is what one can act by.

    Args:
        labels: 0 or 1 (churns), shape (rows,).
        scores: higher is likelier, shape (rows,); ties are contacted together.
        config: money and Beta parameters.
        weights: of the rows, shape (rows,); absent: 1 each.

    Returns:
        Money a customer, and a share in [0, 1]. Both are 0 where the incentive is worth as much as the customer.
    """
    return Ranking(labels, scores).best(config, np.ones(len(labels)) if weights is None else weights)


class Ranking:
    """Rows from the highest score down, groups of equal scores together; ordered once for many resamples."""

    def __init__(self, labels: Array, scores: Array) -> None:
        self._order = np.argsort(-scores, kind="stable")
        self._starts = np.flatnonzero(np.diff(scores[self._order], prepend=np.inf))
        self._positive = labels[self._order]

    def best(self, config: EmpcConfig, weights: Array) -> tuple[float, float]:
        """As `expected_maximum_profit`."""
        ordered = weights[self._order]
        each = ordered if len(self._starts) == len(ordered) else np.add.reduceat(ordered, self._starts)
        ups = ordered * self._positive
        ups = ups if len(self._starts) == len(ordered) else np.add.reduceat(ups, self._starts)
        drawn = each > 0
        return _integrated(*_hull(ups[drawn], each[drawn]), config)


def _hull(ups: Array, each: Array) -> tuple[Array, Array]:
    """Corners of the hull from (0, 0): shares of all rows that are positive, and negative, among the best ranked.

    The hull of a ROC curve is the isotonic regression of the labels (Fawcett & Niculescu-Mizil 2007).
    """
    found = isotonic_regression(ups / each, weights=each, increasing=False)
    ends = found.blocks[1:] - 1
    total = each.sum()
    contacted, positive = np.cumsum(each)[ends] / total, np.cumsum(ups)[ends] / total
    return np.concatenate([[0.0], positive]), np.concatenate([[0.0], contacted - positive])


def _integrated(positive: Array, negative: Array, config: EmpcConfig) -> tuple[float, float]:
    value, alpha, beta = config.customer_value, config.alpha, config.beta
    delta, phi = config.incentive / value, config.contact_cost / value
    if delta >= 1.0:
        return 0.0, 0.0
    more, further = np.diff(positive), np.diff(negative)
    with np.errstate(divide="ignore", invalid="ignore"):
        pays_from = np.where(more > 0, (phi * more + (delta + phi) * further) / ((1.0 - delta) * more), np.inf)
    bounds = np.concatenate([[0.0], np.clip(pays_from, 0.0, 1.0), [1.0]])
    chance = np.diff(betainc(alpha, beta, bounds))
    accepted = alpha / (alpha + beta) * np.diff(betainc(alpha + 1.0, beta, bounds))
    gained = value * (1.0 - delta) * positive * accepted
    spent = value * (phi * positive + (delta + phi) * negative) * chance
    return float((gained - spent).sum()), float(((positive + negative) * chance).sum())
