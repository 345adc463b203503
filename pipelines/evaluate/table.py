"""An evaluation for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.evaluate.profit import ProfitDifference
from pipelines.evaluate.results import TUNED, Difference, Evaluation
from pipelines.scoring.bootstrap import Interval


def text_of(evaluation: Evaluation) -> str:
    """Heading, table, what the model is worth and where it is worst, truth if it is known, and the verdict."""
    heading = (
        f"Evaluation of {evaluation.model}: {evaluation.test_rows:,} test rows, "
        f"{evaluation.positive_rate:.1%} positive (train {evaluation.train_positive_rate:.1%}), "
        f"95 % intervals over {evaluation.resamples:,} resamples"
    )
    lines = [
        *table_lines(evaluation), *snapshot_lines(evaluation), *profit_lines(evaluation), *slice_lines(evaluation),
        *champion_lines(evaluation), *truth_lines(evaluation), *evaluation.verdict_sentences,
    ]  # fmt: skip
    return "\n".join([heading, *(f"  {line}" for line in lines)])


def table_lines(evaluation: Evaluation) -> list[str]:
    """The table of all models, one string a line, columns aligned.

    Log-loss in nats and Brier score: lower is better. ECE stands beside what exact calibration would show.
    """
    header = ["model", "log-loss", "AUC", "Brier", "ECE (noise floor)", "slope", "tuned minus this, log-loss"]
    against = {item.against: item for item in evaluation.differences if item.metric == "log_loss"}
    rows = [
        [
            evaluation.names[item.name], format_interval(item.log_loss), format_interval(item.auc),
            format_interval(item.brier), f"{item.calibration_error:.3f} ({item.calibration_noise_floor:.3f})",
            _number(item.calibration_slope, 2), format_interval(against.get(item.name), signed=True, digits=4),
        ]
        for item in evaluation.models
    ]  # fmt: skip
    return aligned([header, *rows])


def snapshot_lines(evaluation: Evaluation) -> list[str]:
    """The tuned model on each test snapshot, where there are several, and the drift of the base rate."""
    moved = f"Base rate since training: {format_interval(evaluation.base_rate_drift.difference, signed=True)}"
    if len(evaluation.per_snapshot) < 2:
        return [moved]
    rows = [["test snapshot", "rows", "positive", "log-loss", "AUC", "ECE (noise floor)"]]
    for item in evaluation.per_snapshot:
        own = next(model for model in item.models if model.name == TUNED)
        rows.append([
            item.day, f"{item.rows:,}", f"{item.positive_rate:.1%}", f"{own.log_loss:.3f}", _number(own.auc),
            f"{own.calibration_error:.3f} ({own.noise_floor:.3f})",
        ])  # fmt: skip
    return [*aligned(rows), moved]


def profit_lines(evaluation: Evaluation) -> list[str]:
    """Profit of the tuned model beside acting on all and on nobody."""
    profit = evaluation.profit
    if profit is None:
        return []
    own = next(item for item in profit.models if item.name == TUNED)
    against_all = next(item for item in profit.differences if (item.against, item.metric) == ("all", "profit"))
    best = max(profit.models, key=lambda item: item.profit.estimate or 0.0)
    lines = [
        f"Profit a row, acting on {own.share:.0%} above {own.threshold:.3f}: {format_interval(own.profit, digits=2)} "
        f"(expected {own.expected_profit:.2f}); on all {format_interval(profit.all, digits=2)}, on nobody 0; "
        f"more than on all by {format_interval(against_all, signed=True, digits=2)}"
    ]
    if own.empc is not None and own.empc_share is not None:
        lines.append(
            f"Expected maximum profit (EMPC): {format_interval(own.empc, digits=2)} a customer, "
            f"contacting {own.empc_share:.0%}"
        )
    if best.name != TUNED:
        lines.append(f"Most profit a row: {evaluation.names[best.name]}, {format_interval(best.profit, digits=2)}")
    return lines


def slice_lines(evaluation: Evaluation) -> list[str]:
    """The worst kind of customers, and how many were looked at."""
    worst = evaluation.worst_slice
    if worst is None:
        return []
    judged = sum(band.judged for band in evaluation.slices)
    return [
        f"Worst of {judged} kinds of customers: {worst.slice}: {worst.band} ({worst.rows:,} rows), log-loss over its "
        f"own base rate {format_interval(worst.log_loss_over_base_rate, signed=True, digits=4)}"
    ]


def champion_lines(evaluation: Evaluation) -> list[str]:
    """The tuned model against the champion on the newest test snapshot."""
    found = evaluation.champion_comparison
    if found is None:
        return []
    parts = [
        f"log-loss {format_interval(found.log_loss, signed=True, digits=4)}",
        f"ECE {format_interval(found.calibration_error, signed=True, digits=4)}",
    ]
    if found.profit is not None:
        parts.append(f"profit a row lost {format_interval(found.profit, signed=True, digits=2)}")
    if found.worst_slice is not None:
        worst = found.worst_slice
        parts.append(f"worst kind {worst.slice}: {worst.band} {format_interval(worst.log_loss, signed=True, digits=4)}")
    return [f"Against the champion on the newest {found.rows:,} rows: {'; '.join(parts)}"]


def truth_lines(evaluation: Evaluation) -> list[str]:
    """Every model against the true probabilities."""
    truth = evaluation.truth
    if truth is None:
        return []
    rows = [["against the truth", "calibration error (noise floor)", "root mean squared error", "correlation"]]
    rows += [
        [evaluation.names[item.name], f"{item.calibration_error:.4f} ({item.noise_floor:.4f})",
         f"{item.root_mean_squared_error:.4f}", _number(item.correlation)] for item in truth.models
    ]  # fmt: skip
    best = f"log-loss {truth.best_log_loss:.3f}, AUC {_number(truth.best_auc)}"
    return [
        *aligned(rows),
        f"Truth is known of {truth.matched_share:.1%} of the rows; who saw the hidden states would have {best}",
    ]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table with a rule under its first row."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def format_interval(
    interval: Interval | Difference | ProfitDifference | None, signed: bool = False, digits: int = 3
) -> str:
    """`0.532 [0.520, 0.545]`, or `-` where there is none."""
    if interval is None or interval.estimate is None or interval.low is None or interval.high is None:
        return "-"
    sign = "+" if signed else ""
    numbers = [f"{value:{sign}.{digits}f}" for value in (interval.estimate, interval.low, interval.high)]
    return f"{numbers[0]} [{numbers[1]}, {numbers[2]}]"


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
