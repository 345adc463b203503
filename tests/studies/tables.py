"""What a study found, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.studies.run import Finding

Figures = Mapping[str, Any]


def section(finding: Finding) -> str:
    """All tables of one model."""
    title = f"### {finding.model} ({finding.study})"
    if finding.refused is not None:
        return f"{title}\n\nNothing was registered: {finding.refused}"
    parts = [title, *(part for part in _parts(finding) if part)]
    return "\n\n".join([*parts, f"Made in {finding.seconds:.0f} s."])


def headline(found: Sequence[Finding]) -> str:
    """One line a model of a probability."""
    rows = [_headline(finding) for finding in found if "models" in finding.artefacts.get("evaluation", {})]
    names = (
        "model",
        "data",
        "base rate",
        "log-loss: base rate",
        "logistic",
        "tuned",
        "tuned minus logistic",
        "AUC",
        "is",
    )
    return _table(names, [row for row in rows if row])


def _headline(finding: Finding) -> list[str]:
    evaluation = finding.artefacts["evaluation"]
    losses = {model["name"]: model for model in evaluation["models"]}
    if "lightgbm_tuned" not in losses:
        return []
    against = _difference(evaluation, "logistic")
    fate = finding.artefacts.get("registration", {}).get("alias", "not registered")
    return [
        finding.model, finding.study, f"{evaluation['positive_rate']:.1%}",
        _of(losses["base_rate"]["log_loss"]), _of(losses["logistic"]["log_loss"]),
        _of(losses["lightgbm_tuned"]["log_loss"]), _of(against, 4, True), _of(losses["lightgbm_tuned"]["auc"]), fate,
    ]  # fmt: skip


def _parts(finding: Finding) -> Iterator[str]:
    left = finding.artefacts
    evaluation = left.get("evaluation", {})
    if "lightgbm_tuned" not in {model["name"] for model in evaluation.get("models", ())}:
        yield evaluation.get("verdict", "")
        return
    yield _data(left["dataset"], evaluation)
    yield _models(evaluation)
    yield _snapshots(evaluation)
    yield " ".join(evaluation.get("verdict_sentences", ()))
    yield _profit(evaluation)
    yield _slices(evaluation)
    yield _truth(evaluation)
    yield _alarms(left.get("leakage"))
    yield _ablation(left.get("ablation"))
    yield _trust(left.get("report"))
    yield _gates(left.get("registration"))


def _data(dataset: Figures, evaluation: Figures) -> str:
    days = {part: [_day(s["as_of"]) for s in dataset["snapshots"] if s["part"] == part] for part in ("train", "test")}
    return (
        f"{evaluation['train_rows']:,} training rows at {len(days['train'])} snapshots from {min(days['train'])} to "
        f"{max(days['train'])}, {evaluation['train_positive_rate']:.1%} positive; "
        f"{evaluation['test_rows']:,} test rows of {evaluation['test_customers']:,} customers "
        f"at {', '.join(days['test'])}, {evaluation['positive_rate']:.1%} positive."
    )


def _models(evaluation: Figures) -> str:
    names = evaluation.get("names", {})
    rows = [
        [
            names.get(model["name"], model["name"]), _of(model["log_loss"]), _of(model["auc"]),
            f"{model['calibration_error']:.3f} ({model['calibration_noise_floor']:.3f})",
            _of(_difference(evaluation, model["name"]), 4, True),
        ]
        for model in evaluation["models"]
    ]  # fmt: skip
    return _table(("model", "log-loss", "AUC", "ECE (noise floor)", "tuned minus this, log-loss"), rows)


def _snapshots(evaluation: Figures) -> str:
    found = evaluation.get("per_snapshot", ())
    if len(found) < 2:
        return ""
    rows = [
        [snapshot["day"], f"{snapshot['rows']:,}", f"{snapshot['positive_rate']:.1%}",
         *(f"{model['log_loss']:.3f} / {model['auc']:.3f}" for model in snapshot["models"])]
        for snapshot in found
    ]  # fmt: skip
    names = evaluation.get("names", {})
    models = [names.get(model["name"], model["name"]) for model in found[0]["models"]]
    return _table(("test snapshot", "rows", "positive", *(f"{name}: log-loss / AUC" for name in models)), rows)


def _profit(evaluation: Figures) -> str:
    profit = evaluation.get("profit")
    if not profit:
        return ""
    names = evaluation.get("names", {})
    told = "; ".join(f"{names.get(m['name'], m['name'])} {_of(m['profit'], 2)}" for m in profit["models"])
    return f"Profit a row ({profit['kind']}): {told}."


def _slices(evaluation: Figures) -> str:
    found = [row for row in evaluation.get("slices", ()) if row["judged"]]
    rows = [
        [f"{row['slice']}: {row['band']}", f"{row['rows']:,}", f"{row['positive_rate']:.1%}", f"{row['log_loss']:.3f}",
         _of(row["log_loss_over_base_rate"], 3, True), _number(row["auc"]),
         f"{row['calibration_error']:.3f} ({row['calibration_noise_floor']:.3f})"]
        for row in found
    ]  # fmt: skip
    names = ("slice", "rows", "positive", "log-loss", "over the slice's base rate", "AUC", "ECE (noise floor)")
    return _table(names, rows) if rows else ""


def _truth(evaluation: Figures) -> str:
    truth = evaluation.get("truth")
    if not truth:
        return ""
    rows = [
        [evaluation["names"].get(m["name"], m["name"]), f"{m['calibration_error']:.4f} ({m['noise_floor']:.4f})",
         f"{m['root_mean_squared_error']:.3f}",
         _number(m["correlation"])]
        for m in truth["models"]
    ]  # fmt: skip
    best = f"The truth itself, which knows what no feature tells: log-loss {truth['best_log_loss']:.3f}, AUC "
    best += f"{_number(truth['best_auc'])}; {truth['matched_share']:.0%} of the test rows are known."
    return (
        best
        + "\n\n"
        + _table(
            ("model", "calibration error against the truth (by chance)", "root mean squared error", "correlation"), rows
        )
    )


def _alarms(leakage: Figures | None) -> str:
    rows = [
        [alarm["name"], _number(alarm["figure"]), _number(alarm["threshold"]), "ALARM" if alarm["raised"] else "quiet",
         alarm["meaning"]]
        for alarm in (leakage or {}).get("alarms", ())
    ]  # fmt: skip
    return _table(("leakage check", "figure", "threshold", "", "what it is"), rows) if rows else ""


def _ablation(ablation: Figures | None) -> str:
    rows = [
        [row["meaning"], _of(row["log_loss"]), _of(row["difference"], 4, True)]
        for row in (ablation or {}).get("rows", ())
    ]
    return _table(("variant", "log-loss", "minus the whole model"), rows) if rows else ""


def _trust(report: Figures | None) -> str:
    if not report:
        return ""
    told = f"Additivity: worst miss {report['worst_additivity_gap']:.1e} log-odds."
    stable = report.get("stability")
    if not stable:
        return told
    overlaps = ", ".join(f"{stable[key]:.2f} over {what}" for key, what in _OVER.items() if stable[key] is not None)
    return f"{told} Agreement of the {stable['top']} strongest features (mean Jaccard): {overlaps}."


_OVER = {"seeds": "5 seeds", "folds": "folds", "time": "snapshots"}


def _gates(registration: Figures | None) -> str:
    if not registration:
        return ""
    failed = [gate["name"] for gate in registration["gates"] if not gate["passed"]]
    why = f"; failed: {', '.join(failed)}" if failed else ", all gates passed"
    return f"Registered as {registration['alias']}{why}."


def _difference(evaluation: Figures, against: str) -> Figures | None:
    found = (d for d in evaluation["differences"] if d["against"] == against and d["metric"] == "log_loss")
    return next(found, None)


def _of(interval: Figures | None, digits: int = 3, signed: bool = False) -> str:
    if interval is None or interval["estimate"] is None:
        return "–"
    sign = "+" if signed else ""
    estimate, low, high = (f"{interval[key]:{sign}.{digits}f}" for key in ("estimate", "low", "high"))
    return f"{estimate} [{low}, {high}]".replace("-", "−")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _day(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1_000_000, UTC).strftime("%Y-%m-%d")


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (names, ["---"] * len(names), *rows)]
    return "\n".join(lines)
