"""What an evaluation says: every model with its figures, gains over the others, and a verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.companions.resampling import Resampled, interval_text
from pipelines.scoring.bootstrap import Interval
from pipelines.tracking import CHAMPION

OWN = "lightgbm"
CHAMPION_TITLE = "Present champion"


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of the table. `better` is `lower` or `higher`, or empty where a figure is to be near `target`."""

    name: str
    title: str
    better: str
    digits: int = 3
    target: float | None = None


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """One model with its figures by the metric's name."""

    name: str
    title: str
    figures: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class Gain:
    """By how much the own model is better than `against`; above 0 is better, whichever way the metric goes."""

    against: str
    metric: str
    estimate: float | None
    low: float | None
    high: float | None

    @property
    def interval(self) -> Interval:
        return Interval(self.estimate, self.low, self.high)


@dataclass(frozen=True, slots=True)
class CompanionEvaluation:
    """All figures are on the test part, later than every training label; intervals are 95 %.

    `judged_by` is the metric that gates and verdict look at; `simplest` the baseline that has to be beaten;
    `coverage` of the own model's interval of `level`. `more` holds what only one kind of companion has.
    `champion_version` held the alias then; it is among `models` if it could be compared.
    """

    model: str
    kind: str
    test_rows: int
    test_customers: int
    train_rows: int
    resamples: int
    metrics: tuple[Metric, ...]
    models: tuple[ModelFigures, ...]
    gains: tuple[Gain, ...]
    judged_by: str
    simplest: str
    level: float
    coverage: float
    more: dict[str, Any]
    notes: tuple[str, ...]
    verdict_sentences: tuple[str, ...]
    verdict: str
    dataset_hash: str
    model_hash: str
    champion_version: str | None = None

    def text(self) -> str:
        """The table and the verdict, for a terminal."""
        heading = (
            f"Evaluation of {self.model}: {self.test_rows:,} test rows of {self.test_customers:,} customers, "
            f"95 % intervals over {self.resamples:,} resamples of customers"
        )
        lines = [*_aligned(model_table(self)), "", *_aligned(gain_table(self)), "", *self.verdict_sentences]
        return "\n".join([heading, *(f"  {line}".rstrip() for line in lines)])


def figures_of(titles: Mapping[str, str], resampled: Mapping[str, Mapping[str, Resampled]]) -> tuple[ModelFigures, ...]:
    """Every model's figures with their intervals."""
    return tuple(
        ModelFigures(name, titles[name], {metric: found.interval() for metric, found in own.items()})
        for name, own in resampled.items()
    )


def gains_of(resampled: Mapping[str, Mapping[str, Resampled]], metrics: Sequence[Metric]) -> tuple[Gain, ...]:
    """Of the own model over each other one, in each metric that both have and that has a better end."""
    gains = []
    for against, figures in resampled.items():
        for metric in metrics:
            if against == OWN or not metric.better or metric.name not in figures or metric.name not in resampled[OWN]:
                continue
            own, other = resampled[OWN][metric.name], figures[metric.name]
            found = (own.minus(other) if metric.better == "higher" else other.minus(own)).interval()
            gains.append(Gain(against, metric.name, found.estimate, found.low, found.high))
    return tuple(gains)


def gain_sentences(gains: Sequence[Gain], metric: Metric, titles: Mapping[str, str]) -> tuple[str, ...]:
    """What the paired differences say, the bad news too."""
    sentences, rivals = [], []
    for gain in gains:
        if gain.metric != metric.name:
            continue
        rival, figures = (
            _in_words(titles[gain.against]),
            f"gain {interval_text(gain.interval, metric.digits, '+')} in {metric.title}",
        )
        if gain.low is not None and gain.low > 0:
            sentences.append(f"LightGBM is better than {rival}: {figures}.")
            continue
        if gain.against != CHAMPION:
            rivals.append(rival)
        if gain.high is not None and gain.high < 0:
            sentences.append(f"LightGBM is worse than {rival}: {figures}.")
        else:
            sentences.append(f"As far as this test can tell, {rival} is not worse than LightGBM: {figures}.")
    if rivals:
        sentences.append(f"So this test gives no reason to prefer LightGBM to the simpler {' or '.join(rivals)}.")
    return tuple(sentences)


def _in_words(title: str) -> str:
    """The title as it stands in a sentence."""
    if title.startswith("BG/NBD"):
        return title
    return f"the {title}" if title.startswith("Kaplan") else f"the {title[0].lower()}{title[1:]}"


def coverage_sentence(level: float, coverage: Interval) -> str:
    """How often the interval held what came."""
    off = "" if coverage.low is not None and coverage.high is not None and coverage.low <= level <= coverage.high else (
        ", so it does not keep its level here"
    )  # fmt: skip
    return f"The {level:.0%} interval of LightGBM held {interval_text(coverage)} of the outcomes out of time{off}."


def model_table(evaluation: CompanionEvaluation) -> list[list[str]]:
    """A line a metric and a column a model; the first line and column say which."""
    rows = [["", *(model.title for model in evaluation.models)]]
    for metric in evaluation.metrics:
        found = (model.figures.get(metric.name) for model in evaluation.models)
        rows.append([_titled(metric), *("-" if item is None else interval_text(item, metric.digits) for item in found)])
    return rows


def gain_table(evaluation: CompanionEvaluation) -> list[list[str]]:
    """Gains of the own model: a line a metric and a column a model."""
    titles = {model.name: model.title for model in evaluation.models}
    found = {(gain.against, gain.metric): gain.interval for gain in evaluation.gains}
    rivals = list(dict.fromkeys(gain.against for gain in evaluation.gains))
    rows = [["LightGBM gains (above 0: better)", *(f"over {titles[rival]}" for rival in rivals)]]
    for metric in evaluation.metrics:
        if metric.better:
            cells = (found.get((rival, metric.name)) for rival in rivals)
            rows.append(
                [metric.title, *("-" if item is None else interval_text(item, metric.digits, "+") for item in cells)]
            )
    return rows


def evaluation_from_json(raw: Mapping[str, Any]) -> CompanionEvaluation:
    """What stands in `evaluation.json`.

    Raises:
        KeyError, TypeError: it is something else.
    """
    metrics = tuple(Metric(**item) for item in raw["metrics"])
    models = tuple(
        ModelFigures(
            item["name"], item["title"], {name: Interval(**figure) for name, figure in item["figures"].items()}
        )
        for item in raw["models"]
    )
    lists = {name: tuple(raw[name]) for name in ("notes", "verdict_sentences")}
    gains = tuple(Gain(**item) for item in raw["gains"])
    return CompanionEvaluation(**{**raw, **lists, "metrics": metrics, "models": models, "gains": gains})


def _titled(metric: Metric) -> str:
    if metric.target is not None:
        return f"{metric.title} (→ {metric.target:g})"
    return f"{metric.title} ({'↓' if metric.better == 'lower' else '↑'})" if metric.better else metric.title


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines
