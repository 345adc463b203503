"""What an evaluation says: values of every model, differences, and the verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.scoring.bootstrap import Interval

TUNED = "lightgbm_tuned"
NAMES = {
    "base_rate": "Base rate",
    "logistic": "Logistic regression",
    "bg_nbd": "BG/NBD",
    "bg_nbd_calibrated": "BG/NBD, calibrated",
    "lightgbm_default": "Default LightGBM",
    TUNED: "Tuned LightGBM",
    "champion": "Present champion",
}
# From the simplest on: of two that are as good, the earlier is to be preferred.
SIMPLE = ("base_rate", "logistic", "bg_nbd", "bg_nbd_calibrated")


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
class Evaluation:
    """All of `evaluation.json`. `model_hash` and `champion_hash` say which files were judged.

    `candidates` has, by name, of each simple model that could be served what stands here of the tuned one.
    """

    model: str
    test_rows: int
    test_customers: int
    test_as_of: tuple[int, ...]
    train_rows: int
    positive_rate: float
    train_positive_rate: float
    resamples: int
    seed: int
    models: tuple[ModelScores, ...]
    differences: tuple[Difference, ...]
    candidates: dict[str, dict[str, tuple[Difference, ...]]]
    bg_nbd: dict[str, float]
    notes: tuple[str, ...]
    verdict: str
    verdict_sentences: tuple[str, ...]
    dataset_hash: str
    model_hash: str
    champion_hash: str | None
    seconds: float

    def text(self) -> str:
        """The summary for a person: the table of all models, then the verdict, a sentence a line."""
        heading = (
            f"Evaluation of {self.model}: {self.test_rows:,} test rows, {self.positive_rate:.1%} positive "
            f"(train {self.train_positive_rate:.1%}), 95 % intervals over {self.resamples:,} resamples"
        )
        return "\n".join([heading, *(f"  {line}" for line in (*table_lines(self), *self.verdict_sentences))])


def verdict_sentences(differences: Sequence[Difference]) -> tuple[str, ...]:
    """What the paired log-loss differences of the tuned model say, in plain words, the bad news too."""
    losses = [item for item in differences if item.metric == "log_loss"]
    sentences = [_sentence(item) for item in losses]
    rivals = [item for name in SIMPLE for item in losses if item.against == name and not _better(item)]
    if rivals:
        simplest = _the(NAMES[rivals[0].against], False)
        sentences.append(
            f"So this test gives no reason to prefer the tuned LightGBM to the simplest of these, {simplest}."
        )
    return tuple(sentences)


def _better(item: Difference) -> bool:
    return item.high is not None and item.high < 0


def _sentence(item: Difference) -> str:
    model, against = NAMES[item.model], NAMES[item.against]
    if item.estimate is None or item.low is None or item.high is None:
        return f"{model} and {against} cannot be compared: a log-loss is undefined."
    numbers = f"difference in log-loss {item.estimate:+.4f} nats, 95 % interval [{item.low:+.4f}, {item.high:+.4f}]"
    if item.high < 0:
        return f"{_the(model)} is better than {_the(against, False)}: {numbers}."
    if item.against == "lightgbm_default":
        bought = "tuning made it worse" if item.low > 0 else "so tuning bought nothing that this test can show"
        return f"{_the(model)} is not better than {_the(against, False)}, {bought}: {numbers}."
    if item.low > 0:
        return f"{_the(against)} is better than {_the(model, False)}: {numbers}."
    return f"As far as this test can tell, {_the(against, False)} is not worse than {_the(model, False)}: {numbers}."


def _the(name: str, opens: bool = True) -> str:
    """The name as it stands in a sentence."""
    if name == NAMES["bg_nbd"]:
        return name
    if name == NAMES["bg_nbd_calibrated"]:
        return f"{'C' if opens else 'c'}alibrated BG/NBD"
    article = "The" if opens else "the"
    return f"{article} {name[0].lower()}{name[1:]}"


def table_lines(evaluation: Evaluation) -> list[str]:
    """The table of all models for a terminal, one string a line, columns aligned.

    Log-loss in nats and Brier score: lower is better. ECE stands beside what exact calibration would show.
    """
    header = ["model", "log-loss", "AUC", "Brier", "ECE (noise floor)", "slope", "tuned minus this, log-loss"]
    against = {item.against: item for item in evaluation.differences if item.metric == "log_loss"}
    rows = [header]
    for item in evaluation.models:
        rows.append([
            NAMES[item.name], format_interval(item.log_loss), format_interval(item.auc), format_interval(item.brier),
            f"{item.calibration_error:.3f} ({item.calibration_noise_floor:.3f})",
            "-" if item.calibration_slope is None else f"{item.calibration_slope:.2f}",
            format_interval(against.get(item.name), signed=True, digits=4),
        ])  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def format_interval(interval: Interval | Difference | None, signed: bool = False, digits: int = 3) -> str:
    """`0.532 [0.520, 0.545]`, or `-` where there is none."""
    if interval is None or interval.estimate is None or interval.low is None or interval.high is None:
        return "-"
    sign = "+" if signed else ""
    numbers = [f"{value:{sign}.{digits}f}" for value in (interval.estimate, interval.low, interval.high)]
    return f"{numbers[0]} [{numbers[1]}, {numbers[2]}]"
