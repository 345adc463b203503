"""How well the expected value and its interval hold out of time, beside simple models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from pipelines.artefacts import Dataset
from pipelines.boosting import Floats
from pipelines.companions.history import fit_bg_nbd, fit_gamma_gamma, read_histories
from pipelines.companions.mean_value import deviances
from pipelines.companions.resampling import (
    Figure,
    interval_text,
    mean_of,
    rank_correlation,
    ratio_of,
    resample,
    root_mean_of,
    share_at_top,
)
from pipelines.companions.results import (
    CHAMPION_TITLE,
    OWN,
    CompanionEvaluation,
    Metric,
    coverage_sentence,
    figures_of,
    gain_sentences,
    gains_of,
)
from pipelines.companions.storage import PresentCompanion
from pipelines.companions.value_baselines import Predicted, buy_till_you_die, historical_rate, train_mean
from pipelines.companions.value_model import ValueModel
from pipelines.scoring.bootstrap import Interval, resamples_for
from pipelines.settings.models import CompanionConfig
from pipelines.tracking import CHAMPION

SIMPLEST = "train_mean"
TITLES = {
    SIMPLEST: "Mean of the train part",
    "historical_rate": "Historical rate × horizon",
    "bg_nbd_gamma_gamma": "BG/NBD × Gamma-Gamma",
    "bg_nbd_gamma_gamma_scaled": "BG/NBD × Gamma-Gamma, scaled",
    CHAMPION: CHAMPION_TITLE,
    OWN: "LightGBM",
}
JUDGED_BY = Metric("deviance", "Tweedie deviance", "lower")
METRICS = (
    Metric("total", "predicted / actual", "", 3, 1.0),
    JUDGED_BY,
    Metric("mae", "MAE", "lower", 0),
    Metric("rmse", "RMSE", "lower", 0),
    Metric("spearman", "Spearman", "higher"),
    Metric("top_decile", "value in top 10 %", "higher"),
    Metric("coverage", "coverage", "", 3),
    Metric("width", "mean width", "", 0),
    Metric("interval_score", "interval score", "lower", 0),
)
NOTES = (
    "All money is in minor units. Tweedie's deviance (power 1.5) and RMSE are least for the true expectation; MAE is "
    "least for the median, which for many customers is 0, so a low MAE alone recommends nothing.",
    "The interval score (Gneiting & Raftery 2007) is the width, plus 2 / (1 - level) times what lies outside.",
    "BG/NBD and Gamma-Gamma read purchase histories at the newest training snapshot and no label; scaled, their totals "
    "are made to agree with the labels of that snapshot. Their intervals are of 1,000 simulated futures a customer.",
    "The interval of LightGBM keeps its level among exchangeable customers (conformal). That the months of the test "
    "are exchangeable with those of training is an assumption: the coverage here is what came out of it.",
)


def evaluate_value(
    dataset: Dataset,
    config: CompanionConfig,
    model: ValueModel,
    model_hash: str,
    champion: PresentCompanion,
) -> tuple[CompanionEvaluation, pd.DataFrame]:
    """The evaluation, and the predictions of every model for each test row."""
    train, test = dataset.part("train"), dataset.part("test")
    outcomes = test["label"].to_numpy(dtype=np.float64)
    predicted, parametric = _predictions(dataset, config, model, champion)
    customers = pd.factorize(test["customer_id"])[0].astype(np.int64)
    mean = float(np.maximum(train["label"].to_numpy(dtype=np.float64), 0.0).mean())
    figures = {name: _figures(outcomes, found, config.interval, mean) for name, found in predicted.items()}
    resampled = resample(figures, customers)
    models = figures_of(TITLES, resampled)
    gains = gains_of(resampled, METRICS)
    own = models[-1].figures
    deciles = _deciles(outcomes, predicted)
    sentences = (
        *gain_sentences(gains, JUDGED_BY, TITLES),
        _total_sentence(own["total"]),
        coverage_sentence(config.interval, own["coverage"]),
        _tenths_sentence(deciles[OWN], float((predicted[OWN].lower > 0).mean())),
        *champion.sentences,
    )
    evaluation = CompanionEvaluation(
        model=config.name, kind=config.label.kind, test_rows=len(test), test_customers=int(customers.max()) + 1,
        train_rows=len(train), resamples=resamples_for(len(test)), metrics=METRICS, models=models, gains=gains,
        judged_by=JUDGED_BY.name, simplest=SIMPLEST, level=config.interval,
        coverage=float(own["coverage"].estimate or 0.0),
        more={
            **parametric, "deciles": deciles,
            "test_mean": float(outcomes.mean()), "train_mean": float(train["label"].mean()),
        },
        notes=(*NOTES, *champion.notes, *_assumption(parametric)),
        verdict_sentences=sentences, verdict=" ".join(sentences),
        dataset_hash=dataset.manifest.dataset_hash, model_hash=model_hash,
        champion_version=champion.version,
    )  # fmt: skip
    return evaluation, _table(test, predicted)


def _predictions(
    dataset: Dataset, config: CompanionConfig, model: ValueModel, champion: PresentCompanion
) -> tuple[dict[str, Predicted], dict[str, Any]]:
    train, test = dataset.part("train"), dataset.part("test")
    buying = fit_bg_nbd(train, config)
    spending, correlation = fit_gamma_gamma(train, config)
    found = read_histories(test, config)
    plain, scaled = (buy_till_you_die(train, config, buying, spending, scaled) for scaled in (False, True))
    rate = historical_rate(test, config)
    nowhere = np.full(len(test), np.nan)
    predicted = {
        SIMPLEST: train_mean(train, test, config.interval),
        "historical_rate": Predicted(rate, nowhere, nowhere),
        "bg_nbd_gamma_gamma": plain.predict(found, config.interval),
        "bg_nbd_gamma_gamma_scaled": scaled.predict(found, config.interval),
    }
    for name, fitted in ((CHAMPION, champion.held), (OWN, model)):
        if isinstance(fitted, ValueModel):
            own = fitted.predict(dataset.features("test"))
            predicted[name] = Predicted(*(own[column].to_numpy() for column in ("value", "lower", "upper")))
    parametric = {
        "bg_nbd": asdict(buying), "gamma_gamma": asdict(spending), "scale": scaled.scale,
        "frequency_value_correlation": correlation,
    }  # fmt: skip
    return predicted, parametric


def _figures(outcomes: Floats, found: Predicted, level: float, mean: float) -> dict[str, Figure]:
    missed = found.value - outcomes
    figures = {
        "total": ratio_of(found.value, outcomes),
        "deviance": mean_of(deviances(outcomes, found.value, mean)),
        "mae": mean_of(np.abs(missed)),
        "rmse": root_mean_of(missed**2),
        "spearman": rank_correlation(found.value, outcomes),
        "top_decile": share_at_top(found.value, outcomes),
    }
    if np.isnan(found.lower).any():
        return figures
    below, above = np.maximum(found.lower - outcomes, 0.0), np.maximum(outcomes - found.upper, 0.0)
    width = found.upper - found.lower
    return figures | {
        "coverage": mean_of(_covered(outcomes, found)),
        "width": mean_of(width),
        "interval_score": mean_of(width + 2.0 / (1.0 - level) * (below + above)),
    }


def _covered(outcomes: Floats, found: Predicted) -> Floats:
    """1 where the interval holds what came."""
    return ((found.lower <= outcomes) & (outcomes <= found.upper)).astype(np.float64)


def _deciles(outcomes: Floats, predicted: Mapping[str, Predicted]) -> dict[str, list[dict[str, float]]]:
    """Tenths of the rows by prediction: mean predicted and actual value, 1.96 standard errors of it, and coverage."""
    curves = {}
    for name in ("bg_nbd_gamma_gamma_scaled", OWN):
        groups = [rows for rows in np.array_split(np.argsort(predicted[name].value, kind="stable"), 10) if len(rows)]
        curves[name] = [
            {
                "rows": float(len(rows)), "predicted": float(predicted[name].value[rows].mean()),
                "actual": float(outcomes[rows].mean()),
                "error": float(1.96 * outcomes[rows].std() / np.sqrt(len(rows))),
                "covered": float(_covered(outcomes, predicted[name])[rows].mean()),
            }
            for rows in groups
        ]  # fmt: skip
    return curves


def _total_sentence(total: Interval) -> str:
    if total.low is None or total.high is None:
        return "The total of the test part is 0, so totals cannot be compared."
    if total.low <= 1 <= total.high:
        return f"The total that LightGBM predicts agrees with what came: {interval_text(total)} of it."
    side = "less" if total.high < 1 else "more"
    return f"LightGBM predicts {side} in total than came: {interval_text(total)} of it."


def _tenths_sentence(tenths: Sequence[Mapping[str, float]], above_zero: float) -> str:
    """Coverage over everyone hides who pays for it."""
    shares = [tenth["covered"] for tenth in tenths]
    return (
        f"Among tenths of customers by predicted value it held from {min(shares):.2f} to {max(shares):.2f}, "
        f"{shares[-1]:.2f} of the highest; its lower end is above 0 for {above_zero:.0%} of customers."
    )


def _assumption(parametric: Mapping[str, Any]) -> tuple[str, ...]:
    correlation = parametric["frequency_value_correlation"]
    if correlation is None:
        return ("Whether frequency and value are unrelated, as Gamma-Gamma assumes, cannot be told here.",)
    return (
        f"Gamma-Gamma assumes that frequency and value are unrelated; their rank correlation is {correlation:+.2f}.",
    )


def _table(test: pd.DataFrame, predicted: Mapping[str, Predicted]) -> pd.DataFrame:
    columns: dict[str, Floats] = {}
    for name, found in predicted.items():
        columns[name] = found.value
        if not np.isnan(found.lower).any():
            columns |= {f"{name}_lower": found.lower, f"{name}_upper": found.upper}
    return test[["customer_id", "as_of", "label"]].assign(**columns)
