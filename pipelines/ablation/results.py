"""What was found by taking a model apart: a row an ingredient, and what it says in words."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.scoring.bootstrap import Interval

FOR_THE_READER = (
    "These rows are for the reader. They are judged on the test, so the model is not chosen by them, and of many "
    "intervals one in twenty misses 0 by chance."
)


@dataclass(frozen=True, slots=True)
class Reference:
    """The whole model, made in the same way as every row: log-loss in nats and AUC on the test part."""

    log_loss: Interval
    auc: Interval
    out_of_fold_log_loss: float
    columns: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Row:
    """The model without one ingredient, or with one that it lacks (`adds`).

    `difference` is its log-loss minus the reference's, over the same resamples of customers: above 0 where it is worse.
    """

    name: str
    meaning: str
    ingredient: str
    adds: bool
    log_loss: Interval
    auc: Interval
    difference: Interval
    out_of_fold_log_loss: float
    columns: int
    rounds: int
    verdict: str


@dataclass(frozen=True, slots=True)
class Ablation:
    """All of `ablation.json`. `sampled`: trained on part of the rows; the test is always whole."""

    model: str
    dataset_hash: str
    model_hash: str
    reference: Reference
    rows: tuple[Row, ...]
    train_rows: int
    sampled: bool
    folds: int
    notes: tuple[str, ...]
    seconds: float

    def text(self) -> str:
        """The summary for a person: the table, then a sentence a row."""
        cells = [
            ("", "log-loss", "AUC", "minus the whole, log-loss", "out of fold"),
            (
                "the whole", _interval(self.reference.log_loss), _interval(self.reference.auc), "-",
                f"{self.reference.out_of_fold_log_loss:.4f}",
            ),
        ]  # fmt: skip
        cells += [
            (
                row.name, _interval(row.log_loss), _interval(row.auc), _interval(row.difference, "+", 4),
                f"{row.out_of_fold_log_loss:.4f}",
            )
            for row in self.rows
        ]  # fmt: skip
        widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
        heading = (
            f"What the ingredients of {self.model} buy: trained on {self.train_rows:,} rows"
            f"{', a sample' if self.sampled else ''}, in {self.seconds:.1f} s"
        )
        sentences = [row.verdict for row in self.rows]
        return "\n".join(
            [heading, *(f"  {line}".rstrip() for line in (*table, *sentences, *self.notes, FOR_THE_READER))]
        )


def sentence(ingredient: str, adds: bool, difference: Interval) -> str:
    """What a difference says of its ingredient, honest about an interval that holds 0."""
    subject = ingredient[0].upper() + ingredient[1:]
    if difference.estimate is None or difference.low is None or difference.high is None:
        return f"{subject}: cannot be compared, as a log-loss is undefined."
    low, high = difference.low, difference.high
    numbers = f"({difference.estimate:+.4f} nats, 95 % interval [{low:+.4f}, {high:+.4f}])"
    if low <= 0.0 <= high:
        if low == high == 0.0:
            return f"{subject}: no difference at all {numbers}."
        would = "would help" if adds else "helps"
        return f"{subject}: this test cannot tell whether this {would}; the interval holds 0 {numbers}."
    worse = low > 0.0
    if adds:
        return f"{subject}: with this the model would be {'worse' if worse else 'better'} {numbers}."
    found = "this helps; without it the model is worse" if worse else "this harms; without it the model is better"
    return f"{subject}: {found} {numbers}."


def _interval(interval: Interval, sign: str = "", digits: int = 3) -> str:
    if interval.estimate is None or interval.low is None or interval.high is None:
        return "-"
    estimate, low, high = (f"{value:{sign}.{digits}f}" for value in (interval.estimate, interval.low, interval.high))
    return f"{estimate} [{low}, {high}]"
