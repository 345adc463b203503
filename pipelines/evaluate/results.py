"""What an evaluation says: all of `evaluation.json`."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.evaluate.champion import ChampionComparison
from pipelines.evaluate.profit import Profit
from pipelines.evaluate.slices import Band, WorstBand
from pipelines.evaluate.snapshots import Drift, OnSnapshot
from pipelines.evaluate.truth import AgainstTruth
from pipelines.scoring.bootstrap import Interval

TUNED, DEFAULT, RANDOM = "lightgbm_tuned", "lightgbm_default", "lightgbm_random"
NAMES = {
    "base_rate": "Base rate",
    "logistic": "Logistic regression",
    "bg_nbd": "BG/NBD",
    "bg_nbd_calibrated": "BG/NBD, calibrated",
    DEFAULT: "Default LightGBM",
    RANDOM: "Random-search LightGBM",
    TUNED: "Tuned LightGBM",
    "champion": "Present champion",
}
# From the simplest on: of two that are as good, the earlier is to be preferred.
SIMPLE = ("base_rate", "logistic", "bg_nbd", "bg_nbd_calibrated")
# Those of them that can be registered and served.
SERVABLE = ("logistic", "bg_nbd_calibrated")


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of a calibration curve; `low` to `high` holds 95 % of what exact probabilities would give."""

    rows: int
    mean_probability: float
    positive_rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ModelScores:
    """One model on the test part. None where a value is undefined, such as the slope of a constant."""

    name: str
    log_loss: Interval
    auc: Interval
    brier: Interval
    calibration_error: float
    calibration_error_interval: Interval
    calibration_noise_floor: float
    calibration_intercept: Interval
    calibration_slope: float | None
    calibration_slope_interval: Interval
    curve: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """`model` minus `against` on the same resamples of customers; negative log-loss is better."""

    model: str
    against: str
    metric: str
    estimate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class SearchCost:
    """What a search took: wall-clock in seconds, and trials."""

    seconds: float
    trials: int


@dataclass(frozen=True, slots=True)
class TuningGain:
    """Tuned minus default, and minus what random search of the same wall-clock found: log-loss out of time, nats."""

    default: Interval
    random: Interval | None
    tuned_search: SearchCost | None
    random_search: SearchCost | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gates look at beside the scores, of one candidate."""

    differences: tuple[Difference, ...]
    worst_slice: WorstBand | None
    champion_comparison: ChampionComparison | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All of `evaluation.json`.

    `model_hash` and `champion_hash` say which files were judged. `differences`, `slices`, `worst_slice` and
    `champion_comparison` are of the tuned model; `candidates` has them, but for the slices, of each simple model that
    could be served.
    """

    model: str
    label_kind: str
    test_rows: int
    test_customers: int
    test_as_of: tuple[int, ...]
    train_rows: int
    positive_rate: float
    train_positive_rate: float
    base_rate_drift: Drift
    resamples: int
    seed: int
    names: dict[str, str]
    models: tuple[ModelScores, ...]
    differences: tuple[Difference, ...]
    tuning_gain: TuningGain
    per_snapshot: tuple[OnSnapshot, ...]
    profit: Profit | None
    slices: tuple[Band, ...]
    worst_slice: WorstBand | None
    champion_comparison: ChampionComparison | None
    candidates: dict[str, Judgement]
    truth: AgainstTruth | None
    bg_nbd: dict[str, float]
    notes: tuple[str, ...]
    verdict: str
    verdict_sentences: tuple[str, ...]
    dataset_hash: str
    model_hash: str
    champion_hash: str | None
    seconds: float

    def text(self) -> str:
        """The summary for a person."""
        from pipelines.evaluate.table import text_of

        return text_of(self)
