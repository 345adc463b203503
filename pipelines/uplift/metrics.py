"""How good a ranking of customers is for one action against the control: Qini, AUUC, uplift@k and DR gain@k.

n rows, sorted by score, the highest first. w_i = (1 / p_i) over its mean in the row's arm, with p_i the chance of the
row's own arm: 1 for all where every customer had the same chances. Over the first k rows, T_k and C_k are the sums of w
of the treated and of the control's, Y^T_k and Y^C_k those of w times the reward; phi = k / n is the share that is acted
on. All are in units of the reward:

- Qini curve Q(k) = (Y^T_k - Y^C_k T_k / C_k) / n: what the treated among the first k brought more, a row of the trial
  (Radcliffe 2007). The Qini coefficient is its area over phi from 0 to 1 minus that of the straight line to its end,
  Q(n) / 2. It is 0 for a random ranking, and not divided by that of a perfect one.
- Uplift curve U(k) = (Y^T_k / T_k - Y^C_k / C_k) k / n: what acting on the first k brings, a customer. AUUC is its area
  over phi; a random ranking has half of the mean effect, U(n) / 2.
- uplift@k = Y^T_k / T_k - Y^C_k / C_k: the mean effect among the first k.
- DR gain@k = sum over the first k of psi_1 - psi_0, over n (see `doubly_robust`): what acting on the first k, and on
  nobody else, brings more than acting on nobody, a customer of all n.

Packages differ by a factor of 2 on one ranking, since some take the Qini from U: where half is treated, U is about 2 Q.
This Qini is that of Peter-A-P/intervention-targeting-engine (`qini_coefficient`), but for ties.

Rows of equal score are acted on in equal parts: curves are straight over them, and the result does not depend on the
order of rows. A constant score is a random ranking exactly. Where none of the control's is among the first k, Q is
Y^T_k / n; where either arm is missing, U is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.scoring.bootstrap import Interval, customer_weights, interval_of
from pipelines.uplift.rows import Array

METRICS = ("qini", "auuc", "uplift", "dr_gain")


@dataclass(frozen=True, slots=True)
class OneAction:
    """Rows of one action and the control. All (n,).

    reward: float64. treated: bool. propensity: the chance of the row's own arm, among these two or all that could be
    drawn. pseudo_effect: psi_1 - psi_0, in units of the reward. cluster: int64, one number a customer.
    """

    reward: Array
    treated: NDArray[np.bool_]
    propensity: Array
    pseudo_effect: Array
    cluster: NDArray[np.int64]

    def weights(self) -> Array:
        """w, shape (n,)."""
        inverse = 1.0 / self.propensity
        for arm in (self.treated, ~self.treated):
            inverse[arm] /= inverse[arm].mean()
        return inverse


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows in the order of a score, ready for resamples. `columns` (n, 6) hold what is summed over the first k rows."""

    order: NDArray[np.int64]
    group_ends: NDArray[np.int64]
    columns: Array
    share: float

    def metrics(self, counts: Array) -> Array:
        """METRICS of resamples, shape (metrics, resamples), in which row i counts `counts[:, i]` times."""
        taken = counts[:, self.order]
        rows, treated, of_treated, control, of_control, effects = (
            _from_zero(np.cumsum(taken * column, axis=1)[:, self.group_ends]) for column in self.columns.T
        )
        size = rows[:, -1:]
        share = rows / size
        with np.errstate(invalid="ignore", divide="ignore"):
            qini = (of_treated - np.where(control > 0, of_control * treated / control, 0.0)) / size
            uplift = np.where((treated > 0) & (control > 0), (of_treated / treated - of_control / control) * share, 0.0)
            means = [
                _at(self.share, share, reward) / _at(self.share, share, weight)
                for reward, weight in ((of_treated, treated), (of_control, control))
            ]
        area = np.trapezoid(qini, share, axis=1) - qini[:, -1] / 2.0
        gain = _at(self.share, share, effects) / size[:, 0]
        return np.stack([area, np.trapezoid(uplift, share, axis=1), means[0] - means[1], gain])


@dataclass(frozen=True, slots=True)
class Ranked:
    """METRICS of a score: of the rows, shape (metrics,), and of resamples of customers, (metrics, resamples)."""

    estimates: Array
    draws: Array

    def interval(self, metric: str) -> Interval:
        """The metric with its 95 % interval."""
        at = METRICS.index(metric)
        return interval_of(float(self.estimates[at]), self.draws[at])

    def difference(self, other: Ranked, metric: str) -> Interval:
        """This minus `other`, on the same resamples."""
        at = METRICS.index(metric)
        return interval_of(float(self.estimates[at] - other.estimates[at]), self.draws[at] - other.draws[at])


def ranking(rows: OneAction, scores: Array, share: float) -> Ranking:
    """The rows by `scores` (n,), the highest first, with uplift and gain at the first `share` of them, in (0, 1].

    Raises:
        ValueError: a score is NaN, an arm is empty, or the share is none.
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share: expected above 0, up to 1, got {share}")
    if np.isnan(scores).any():
        raise ValueError(f"scores: {int(np.isnan(scores).sum())} of {len(scores)} are NaN")
    if rows.treated.all() or not rows.treated.any():
        raise ValueError(f"treated: expected rows of both arms, got {int(rows.treated.sum())} of {len(rows.treated)}")
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    weights = rows.weights()
    treated, control = weights * rows.treated, weights * ~rows.treated
    columns = [np.ones(len(order)), treated, treated * rows.reward, control, control * rows.reward, rows.pseudo_effect]
    return Ranking(order, ends, np.column_stack(columns)[order], share)


def ranked(
    rows: OneAction, scores: Mapping[str, Array], share: float = 0.2, resamples: int = 1000, seed: int = 0
) -> dict[str, Ranked]:
    """METRICS of every score by name, all on the same resamples of whole customers.

    Raises:
        ValueError: as `ranking`.
    """
    rankings = {name: ranking(rows, values, share) for name, values in scores.items()}
    draws: dict[str, list[Array]] = {name: [] for name in rankings}
    customers = np.unique(rows.cluster, return_inverse=True)[1]
    for counts in customer_weights(customers, resamples, seed):
        for name, prepared in rankings.items():
            draws[name].append(prepared.metrics(counts))
    once = np.ones((1, len(rows.reward)))
    return {
        name: Ranked(prepared.metrics(once)[:, 0], np.concatenate(draws[name], axis=1))
        for name, prepared in rankings.items()
    }


def _from_zero(sums: Array) -> Array:
    return np.hstack([np.zeros((len(sums), 1)), sums])


def _at(share: float, shares: Array, sums: Array) -> Array:
    """`sums` (resamples, ends) over the first `share` of the rows, straight between ends: shape (resamples,)."""
    after = np.minimum((shares < share).sum(axis=1), shares.shape[1] - 1)
    rows = np.arange(len(shares))
    before = np.maximum(after - 1, 0)
    width = shares[rows, after] - shares[rows, before]
    part = np.where(width > 0, (share - shares[rows, before]) / np.where(width > 0, width, 1.0), 1.0)
    low = sums[rows, before]
    return np.asarray(low + np.minimum(part, 1.0) * (sums[rows, after] - low))
