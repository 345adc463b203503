"""What a model is worth in money: acting on rows by their probability, and what comes of it on the test.

Acting on a row brings `gain` where its label is 1 and costs `loss` where it is 0. With calibrated probabilities p
the expected profit of acting is `p gain - (1 - p) loss`, which is above 0 where p is above `loss / (gain + loss)`:
the threshold follows from the probabilities and the money alone (Elkan 2001). It is never chosen on test labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import betainc

from pipelines.scoring.bootstrap import Customers, Interval, customer_weights, interval_of, resample_sums
from pipelines.scoring.metrics import Array
from pipelines.settings.models import CostsConfig, EmpcConfig

SHARES = tuple(step / 20 for step in range(21))
ALL, NONE = "all", "none"


@dataclass(frozen=True, slots=True)
class Stakes:
    """Money a row that is acted on: `gain` where the label is 1, `loss` where it is 0."""

    gain: float
    loss: float

    @property
    def threshold(self) -> float:
        """The probability above which acting is expected to bring more than it costs; above 1: never."""
        return self.loss / (self.gain + self.loss)

    def acts(self, probabilities: Array) -> Array:
        """1.0 for each row that is acted on, else 0.0."""
        return (probabilities > self.threshold).astype(np.float64)

    def profits(self, labels: Array, acted: Array) -> Array:
        """Realised profit of each row; `acted` is 0 or 1, or a chance of being acted on."""
        return acted * np.where(labels == 1, self.gain, -self.loss)

    def expected(self, probabilities: Array) -> Array:
        """Profit that acting on each row is expected to bring."""
        return probabilities * self.gain - (1.0 - probabilities) * self.loss


def stakes_of(config: EmpcConfig | CostsConfig) -> Stakes:
    """Of `empc`, a churner accepts with the mean chance alpha / (alpha + beta)."""
    if isinstance(config, CostsConfig):
        return Stakes(config.value - config.action_cost, config.action_cost)
    accepts = config.alpha / (config.alpha + config.beta)
    gain = accepts * (config.customer_value - config.incentive) - config.contact_cost
    return Stakes(gain, config.incentive + config.contact_cost)


# Expected maximum profit ---------------------------------------------------------------------------------------


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
    return _Ranking(labels, scores).best(config, np.ones(len(labels)) if weights is None else weights)


class _Ranking:
    """Rows from the highest score down, groups of equal scores together."""

    def __init__(self, labels: Array, scores: Array) -> None:
        self._order = np.argsort(-scores, kind="stable")
        self._starts = np.flatnonzero(np.diff(scores[self._order], prepend=np.inf))
        self._positive = labels[self._order]

    def best(self, config: EmpcConfig, weights: Array) -> tuple[float, float]:
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


# The whole of it -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelProfit:
    """One model. Money is a row of the test, acted on or not; `share` is acted on at `threshold`.

    `profit` is what acting above the threshold brought on the test labels, `expected_profit` what the probabilities
    said it would. `empc` and the share it contacts are of the kind `empc` only.
    """

    name: str
    profit: Interval
    expected_profit: float
    threshold: float
    share: float
    empc: Interval | None
    empc_share: float | None


@dataclass(frozen=True, slots=True)
class ProfitDifference:
    """`model` minus `against` on the same resamples, in money a row; `metric` is `profit` or `empc`."""

    model: str
    against: str
    metric: str
    estimate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Realised profit a row of acting on the `share` of rows each model ranks highest, ties by chance."""

    share: float
    profit: dict[str, float]


@dataclass(frozen=True, slots=True)
class Profit:
    """`profit` of `evaluation.json`; `all` and `none` are acting on everybody and on nobody."""

    kind: str
    settings: dict[str, Any]
    gain: float
    loss: float
    models: tuple[ModelProfit, ...]
    all: Interval
    none: Interval
    curve: tuple[CurvePoint, ...]
    differences: tuple[ProfitDifference, ...]


def profit_of(
    config: EmpcConfig | CostsConfig, labels: Array, probabilities: Mapping[str, Array], customers: Customers,
    own: str, resamples: int, seed: int,
) -> Profit:  # fmt: skip
    """Profit of every model on the same resamples of customers, and of `own` against each other."""
    stakes = stakes_of(config)
    acted = {name: stakes.acts(values) for name, values in probabilities.items()}
    means = _realised(stakes, labels, acted | {ALL: np.ones(len(labels)), NONE: np.zeros(len(labels))}, customers,
                      resamples, seed)  # fmt: skip
    best, shares = _empc(config, labels, probabilities, customers, resamples, seed)
    models = tuple(
        ModelProfit(
            name, means[name].interval(), float((acted[name] * stakes.expected(values)).mean()), stakes.threshold,
            float(acted[name].mean()), best[name].interval() if best else None, shares.get(name),
        ) for name, values in probabilities.items()
    )  # fmt: skip
    curves = {name: profit_curve(labels, values, stakes) for name, values in probabilities.items()}
    return Profit(
        config.kind, config.model_dump(mode="json"), stakes.gain, stakes.loss, models,
        means[ALL].interval(), means[NONE].interval(),
        tuple(CurvePoint(share, {name: float(curve[at]) for name, curve in curves.items()})
              for at, share in enumerate(SHARES)),
        (*_differences(means, own, "profit"), *_differences(best, own, "empc")),
    )  # fmt: skip


def profit_lost(
    config: EmpcConfig | CostsConfig, labels: Array, new: Array, present: Array, customers: Customers,
    resamples: int, seed: int,
) -> Interval:  # fmt: skip
    """Realised profit a row by the `present` probabilities less that by the `new` ones, each above the threshold."""
    stakes = stakes_of(config)
    acted = {"new": stakes.acts(new), "present": stakes.acts(present)}
    lost = _differences(_realised(stakes, labels, acted, customers, resamples, seed), "present", "profit")[0]
    return Interval(lost.estimate, lost.low, lost.high)


def _realised(
    stakes: Stakes, labels: Array, acted: Mapping[str, Array], customers: Customers, resamples: int, seed: int
) -> dict[str, _Drawn]:
    columns = [np.ones(len(labels)), *(stakes.profits(labels, each) for each in acted.values())]
    sums = resample_sums(np.stack(columns, axis=1), customers, resamples, seed)
    return {
        name: _Drawn(sums.estimates[at] / sums.estimates[0], sums.draws[at] / sums.draws[0])
        for at, name in enumerate(acted, start=1)
    }


@dataclass(frozen=True, slots=True)
class _Drawn:
    estimate: float
    draws: Array

    def interval(self) -> Interval:
        return interval_of(self.estimate, self.draws)


def _empc(
    config: EmpcConfig | CostsConfig, labels: Array, probabilities: Mapping[str, Array], customers: Customers,
    resamples: int, seed: int,
) -> tuple[dict[str, _Drawn], dict[str, float]]:  # fmt: skip
    if not isinstance(config, EmpcConfig):
        return {}, {}
    rankings = {name: _Ranking(labels, values) for name, values in probabilities.items()}
    whole = {name: ranking.best(config, np.ones(len(labels))) for name, ranking in rankings.items()}
    draws: dict[str, list[float]] = {name: [] for name in rankings}
    for weights in customer_weights(customers, resamples, seed):
        for name, ranking in rankings.items():
            draws[name].extend(ranking.best(config, each)[0] for each in weights)
    drawn = {name: _Drawn(whole[name][0], np.array(values)) for name, values in draws.items()}
    return drawn, {name: share for name, (_, share) in whole.items()}


def _differences(drawn: Mapping[str, _Drawn], own: str, metric: str) -> Sequence[ProfitDifference]:
    found = []
    for name, other in drawn.items():
        if name != own:
            interval = interval_of(drawn[own].estimate - other.estimate, drawn[own].draws - other.draws)
            found.append(ProfitDifference(own, name, metric, interval.estimate, interval.low, interval.high))
    return found


def profit_curve(labels: Array, scores: Array, stakes: Stakes, shares: Sequence[float] = SHARES) -> Array:
    """Realised profit a row of acting on the highest ranked `shares` of rows, shape (shares,).

    Within a group of equal scores who is acted on is chance: its mean is what counts.
    """
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    profits = np.add.reduceat(stakes.profits(labels[order], np.ones(len(labels))), starts)
    ends = np.append(starts[1:], len(order))
    reached = np.concatenate([[0.0], np.cumsum(profits)])
    return np.asarray(np.interp(np.asarray(shares) * len(labels), np.concatenate([[0.0], ends]), reached) / len(labels))
