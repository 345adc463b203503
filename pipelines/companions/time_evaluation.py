"""How well the distribution of the time to the next event holds out of time, beside simple ones."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.bg_nbd import BgNbd
from feature_repo.windows import DAY
from pipelines.artefacts import Dataset
from pipelines.bg_nbd import no_purchase_probability
from pipelines.boosting import Floats
from pipelines.companions.calibration import Calibration, calibration_of
from pipelines.companions.history import fit_bg_nbd, read_histories
from pipelines.companions.resampling import SEED, Figure, mean_of, median_of, resample
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
from pipelines.companions.survival import (
    Survival,
    crps,
    daily_grid,
    kaplan_meier,
    log_likelihoods,
    probability_integral,
    times_of,
)
from pipelines.companions.time_model import TimeModel
from pipelines.scoring.bootstrap import resamples_for
from pipelines.settings.labels import microseconds
from pipelines.settings.models import CompanionConfig
from pipelines.tracking import CHAMPION

SIMPLEST = "kaplan_meier"
TITLES = {SIMPLEST: "Kaplan–Meier curve of all", "bg_nbd": "BG/NBD", CHAMPION: CHAMPION_TITLE, OWN: "LightGBM hazard"}
DEADLINES = (7.0, 14.0, 30.0, 60.0)
NARROWER = 0.8
# Times its noise floor that a calibration error may be before a verdict says so.
_BEYOND_NOISE = 2.0
JUDGED_BY = Metric("crps", "CRPS, days", "lower")
NOTES = (
    "CRPS is the Brier score of «an order by day s», integrated over the horizon. Log-likelihood is that of the "
    "period in which the order fell, or of none, in nats.",
    "A central set of level c leaves (1 - c) / 2 of the distribution out at each end; that no order comes within the "
    "horizon is its upper end, drawn at random (randomised probability integral transform).",
    "The mean error of the median counts medians and times past the horizon as the horizon, so that it is defined for "
    "every row. The median error is of rows whose median and order both lie within the horizon, which are others for "
    "each model, so it is not compared.",
    "BG/NBD is fitted to purchase histories at the newest training snapshot and reads no label. Kaplan–Meier is of all "
    "training rows.",
    "ECE stands beside its noise floor: what exactly right probabilities would show on a test of this size.",
)


def evaluate_time(
    dataset: Dataset,
    config: CompanionConfig,
    model: TimeModel,
    model_hash: str,
    champion: PresentCompanion,
) -> tuple[CompanionEvaluation, pd.DataFrame]:
    """The evaluation, and each model's chances of an event by the deadlines for each test row."""
    train, test = dataset.part("train"), dataset.part("test")
    times = times_of(test["label"].to_numpy())
    curves, parameters = _curves(dataset, config, model, champion)
    deadlines = deadlines_within(model.edges[-1])
    customers = pd.factorize(test["customer_id"])[0].astype(np.int64)
    figures = {name: _figures(found, times, model.edges, config.interval) for name, found in curves.items()}
    resampled = resample(figures, customers)
    metrics = _metrics(config.interval)
    models, gains = figures_of(TITLES, resampled), gains_of(resampled, metrics)
    coverage = models[-1].figures["coverage"]
    calibrations = {
        name: [_calibration(found, times, day) for day in deadlines] for name, found in curves.items()
    }  # fmt: skip
    sentences = (
        *gain_sentences(gains, JUDGED_BY, TITLES), coverage_sentence(config.interval, coverage),
        _calibration_sentence(calibrations[OWN]), *champion.sentences,
    )  # fmt: skip
    evaluation = CompanionEvaluation(
        model=config.name, kind=config.label.kind, test_rows=len(test), test_customers=int(customers.max()) + 1,
        train_rows=len(train), resamples=resamples_for(len(test)), metrics=metrics, models=models, gains=gains,
        judged_by=JUDGED_BY.name, simplest=SIMPLEST, level=config.interval, coverage=float(coverage.estimate or 0.0),
        more={
            "bg_nbd": asdict(parameters), "test_with_event": float(np.isfinite(times).mean()),
            "train_with_event": float((train["label"] >= 0).mean()),
            "calibration": {name: [asdict(item) for item in items] for name, items in calibrations.items()},
            "integral": {name: _histogram(found, times) for name, found in curves.items()},
            "median_within_horizon": {
                name: float(np.isfinite(found.median()).mean()) for name, found in curves.items()
            },
        },
        notes=(*NOTES, *champion.notes), verdict_sentences=sentences, verdict=" ".join(sentences),
        dataset_hash=dataset.manifest.dataset_hash, model_hash=model_hash,
        champion_version=champion.version,
    )  # fmt: skip
    return evaluation, _table(test, curves, deadlines)


def deadlines_within(horizon: float) -> tuple[float, ...]:
    """Days by which an event is asked for: a week, two, a month, two, as far as they lie within the horizon, and it."""
    return (*(day for day in DEADLINES if day < horizon), float(horizon))


def bg_nbd_curves(buying: BgNbd, rows: pd.DataFrame, config: CompanionConfig, unknown: Survival) -> Survival:
    """Chance of no purchase until each point of `unknown`, whose curve stands for rows without a purchase."""
    found, gap = read_histories(rows, config), microseconds(config.label.gap) / DAY
    values = np.repeat(unknown.values[:1], len(rows), axis=0)
    histories = (found.x[found.known], found.t_x[found.known], found.age[found.known])
    for at, day in enumerate(unknown.grid):
        values[found.known, at] = no_purchase_probability(buying, *histories, float(day), gap) if day > 0 else 1.0
    return Survival(unknown.grid, values)


def _curves(
    dataset: Dataset, config: CompanionConfig, model: TimeModel, champion: PresentCompanion
) -> tuple[dict[str, Survival], BgNbd]:
    """All models on one daily grid."""
    train, test = dataset.part("train"), dataset.part("test")
    grid = daily_grid(float(model.edges[-1]))
    together = kaplan_meier(times_of(train["label"].to_numpy()), grid)
    one = Survival(grid, together[None, :])
    everyone = Survival(grid, np.repeat(together[None, :], len(test), axis=0))
    buying = fit_bg_nbd(train, config)
    found = {SIMPLEST: everyone, "bg_nbd": bg_nbd_curves(buying, test, config, one)}
    for name, fitted in ((CHAMPION, champion.held), (OWN, model)):
        if isinstance(fitted, TimeModel):
            found[name] = fitted.predict(dataset.features("test")).on(grid)
    return found, buying


def _metrics(level: float) -> tuple[Metric, ...]:
    return (
        JUDGED_BY,
        Metric("log_likelihood", "log-likelihood", "higher"),
        Metric("capped_error", "mean error of the median, days", "lower", 1),
        Metric("median_error", "median error where both within", "", 1),
        Metric("narrower", f"coverage of {NARROWER:.0%}", "", 3, NARROWER),
        Metric("coverage", f"coverage of {level:.0%}", "", 3, level),
    )


def _figures(curves: Survival, times: Floats, edges: Floats, level: float) -> dict[str, Figure]:
    integral = probability_integral(curves, times, SEED)
    horizon = curves.horizon
    medians = curves.median()
    missed = np.abs(np.nan_to_num(medians, nan=horizon) - np.nan_to_num(times, nan=horizon))
    both = np.isfinite(medians) & np.isfinite(times)

    def central(share: float) -> Figure:
        tail = (1.0 - share) / 2.0
        return mean_of(((integral >= tail) & (integral <= 1.0 - tail)).astype(np.float64))

    return {
        "crps": mean_of(crps(curves, times)),
        "log_likelihood": mean_of(log_likelihoods(curves, times, edges)),
        "capped_error": mean_of(missed),
        "median_error": median_of(missed, both),
        "narrower": central(NARROWER),
        "coverage": central(level),
    }


def _calibration(curves: Survival, times: Floats, day: float) -> Calibration:
    came = np.where(np.isfinite(times), times, np.inf) < day
    return calibration_of(day, 1.0 - curves.at(day), came.astype(np.float64))


def _histogram(curves: Survival, times: Floats) -> list[float]:
    """Share of rows in tenths of the probability integral; a tenth each if the curves are right."""
    counts, _ = np.histogram(probability_integral(curves, times, SEED), bins=10, range=(0.0, 1.0))
    return [float(count) for count in counts / len(times)]


def _calibration_sentence(items: list[Calibration]) -> str:
    told = "; ".join(
        f"{item.days:g} days {item.predicted:.1%} predicted, {item.happened:.1%} came, "
        f"ECE {item.error:.3f} (noise floor {item.noise_floor:.3f})"
        for item in items
    )
    off = [f"{item.days:g}" for item in items if item.error > _BEYOND_NOISE * item.noise_floor]
    verdict = f" By {' and '.join(off)} days that is more than chance explains." if off else ""
    return f"Orders by a deadline, LightGBM: {told}.{verdict}"


def _table(test: pd.DataFrame, curves: dict[str, Survival], deadlines: tuple[float, ...]) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name, found in curves.items():
        columns |= {f"{name}_by_{day:g}_days": 1.0 - found.at(day) for day in deadlines}
        columns[f"{name}_median_days"] = found.median()
    return test[["customer_id", "as_of", "label"]].assign(**columns)
