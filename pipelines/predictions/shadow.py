"""A champion and those who answered in its shadow, over the same served predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.predictions.firsts import Logged, customer_numbers, firsts, logged_of, model_of
from pipelines.predictions.happened import what_happened
from pipelines.predictions.outcomes import told
from pipelines.predictions.query import iso
from pipelines.scoring.bootstrap import Interval, resample, resamples_for
from pipelines.scoring.metrics import known
from pipelines.settings import Settings

_CHAMPION, _CHALLENGER = "champion", "challenger"


@dataclass(frozen=True, slots=True)
class Against:
    """Both against what happened, on the same rows and resamples of customers; differences are the challenger's minus
    the champion's. Log-loss in nats: below 0 the challenger is better."""

    rows: int
    champion_log_loss: Interval
    challenger_log_loss: Interval
    log_loss_difference: Interval
    champion_auc: Interval
    challenger_auc: Interval
    auc_difference: Interval


@dataclass(frozen=True, slots=True)
class Pair:
    """One version in the shadow of another. `mean_difference` is the challenger's probability minus the champion's.

    `correlation` is None where one of both says the same of all. `change_side` counts those whom only one of both puts
    at or above the threshold. `against` is None where nothing matured.
    """

    champion_version: str
    challenger: str
    challenger_version: str
    predictions: int
    mean_difference: float
    correlation: float | None
    change_side: int
    against: Against | None


@dataclass(frozen=True, slots=True)
class ShadowComparison:
    """All pairs of versions in the log; `first_known` says how far events have to reach for the first outcome."""

    model: str
    threshold: float
    pairs: tuple[Pair, ...]
    first_known: str | None

    def text(self) -> str:
        """The result for a person."""
        return "\n".join(line for pair in self.pairs for line in self._lines(pair))

    def _lines(self, pair: Pair) -> list[str]:
        correlation = "undefined" if pair.correlation is None else f"{pair.correlation:.4f}"
        lines = [
            f"{self.model} version {pair.champion_version}, in its shadow {pair.challenger} version"
            f" {pair.challenger_version}: {pair.predictions:,} predictions",
            f"  mean difference {pair.mean_difference:+.4f}, correlation {correlation},"
            f" {pair.change_side:,} change side of {self.threshold:g}",
        ]
        if pair.against is None:
            return [*lines, f"  nothing has matured yet: the first will when events reach {self.first_known}"]
        of = pair.against
        return [
            *lines,
            f"  {of.rows:,} matured: log-loss {told(of.champion_log_loss)} and {told(of.challenger_log_loss)},"
            f" difference {told(of.log_loss_difference)}",
            f"  AUC {told(of.champion_auc)} and {told(of.challenger_auc)}, difference {told(of.auc_difference)}",
        ]


def compare_shadows(settings: Settings, model: str, threshold: float = 0.5) -> ShadowComparison:
    """The champion's answers and those in its shadow; outcomes are of the first prediction of a customer and day.

    Raises:
        UserError: there is no such model, nothing was logged, or nobody answered in its shadow.
    """
    config = model_of(settings, model)
    logged = [one for one in logged_of(settings, model) if one.shadow]
    if not logged:
        problem = Problem("shadow", "logged predictions with shadow scores", "none", "score a challenger in shadow")
        raise UserError(f"nobody answered in the shadow of {model}", [problem])
    rows = firsts(logged)
    happened = what_happened(settings, config.label, [(one.customer_id, one.as_of) for one in rows])
    matured = [(rows[at], label) for at, label in happened.labels.items()]
    keys = sorted({(one.version, *challenger) for one in logged for challenger in one.shadow})
    pairs = tuple(_pair(key, logged, matured, threshold) for key in keys)
    first = happened.first_known
    return ShadowComparison(model, threshold, pairs, None if first is None else iso(first))


def _pair(
    key: tuple[str, str, str], logged: Sequence[Logged], matured: Sequence[tuple[Logged, int]], threshold: float
) -> Pair:
    version, challenger = key[0], (key[1], key[2])
    both = np.array([
        (one.probability, one.shadow[challenger])
        for one in logged
        if one.version == version and challenger in one.shadow
    ])  # fmt: skip
    champion, other = both[:, 0], both[:, 1]
    varies = len(both) > 1 and np.std(champion) > 0 and np.std(other) > 0
    return Pair(
        *key,
        predictions=len(both),
        mean_difference=float(np.mean(other - champion)),
        correlation=known(float(np.corrcoef(champion, other)[0, 1])) if varies else None,
        change_side=int(np.sum((champion >= threshold) != (other >= threshold))),
        against=_against(version, challenger, matured),
    )


def _against(version: str, challenger: tuple[str, str], matured: Sequence[tuple[Logged, int]]) -> Against | None:
    both = [(one, label) for one, label in matured if one.version == version and challenger in one.shadow]
    if not both:
        return None
    labels = np.array([label for _, label in both], dtype=np.float64)
    of_each = {
        _CHAMPION: np.array([one.probability for one, _ in both]),
        _CHALLENGER: np.array([one.shadow[challenger] for one, _ in both]),
    }
    customers = customer_numbers(one for one, _ in both)
    drawn = resample(labels, of_each, customers, resamples_for(len(both)))
    champion, other = drawn[_CHAMPION], drawn[_CHALLENGER]
    losses = (champion.interval("log_loss"), other.interval("log_loss"), other.difference(champion, "log_loss"))
    areas = (champion.interval("auc"), other.interval("auc"), other.difference(champion, "auc"))
    return Against(len(both), *losses, *areas)
