"""How the model was made, what it is known by, and what it must show before it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import lightgbm

from pipelines.explain.calibration import CalibrationError
from pipelines.explain.material import Material
from pipelines.explain.wording import number

OWN = "lightgbm_tuned"
_FROM_CONFIGURATION = "not kept in the artefacts"


def identity(material: Material, made_on: date, commit: str | None) -> Sequence[tuple[str, str]]:
    """What tells this model from every other one."""
    manifest, evaluation = material.dataset.manifest, material.evaluation
    return [
        ("Owner", material.config.owner), ("Page made on", f"{made_on:%Y-%m-%d} (UTC)"),
        ("Model", evaluation["model_hash"]), ("Dataset", manifest.dataset_hash),
        ("Lake version", str(manifest.lake_version)), ("Identity version", str(manifest.identity_version)),
        ("Git commit", commit or "unknown"),
    ]  # fmt: skip


def made(material: Material) -> Sequence[tuple[str, str]]:
    """What the model was fitted from and with; `training.json` says it of the model, `tuning.json` of the search."""
    manifest, config = material.dataset.manifest, material.config
    fitted = material.training or material.tuning
    monotone = material.training.get("monotone", {})
    directions = ", ".join(f"{name} {way}" for name, way in monotone.items())
    unread = [name for name in manifest.features if name not in manifest.inputs.direct]
    return [
        ("Feature service", manifest.feature_service), ("Features", str(len(manifest.features))),
        ("Columns of the model", str(len(manifest.inputs.names))),
        ("Read by computed columns, baselines and checks alone", ", ".join(unread) or "none"),
        ("Feature spec", manifest.spec_hash), ("Configuration", manifest.config_hash),
        ("LightGBM parameters", _parameters(fitted.get("params", {}))),
        ("Trees", _trees(fitted, material.training)),
        ("Calibration", _calibration(material.training.get("calibration"))),
        ("Directions imposed", directions or ("none" if material.training or not config.fit.monotone else "unknown")),
        ("LightGBM", lightgbm.__version__),
    ]  # fmt: skip


def _parameters(params: Mapping[str, Any]) -> str:
    told = [f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in params.items()]
    return ", ".join(told) or "defaults"


def _trees(fitted: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    if "rounds" not in fitted:
        return _FROM_CONFIGURATION
    seeds = training.get("seeds", ())
    if len(seeds) < 2:
        return f"{fitted['rounds']} rounds, one seed"
    return f"{fitted['rounds']} rounds × {len(seeds)} seeds ({', '.join(map(str, seeds))}), averaged"


def _calibration(line: Mapping[str, Any] | None) -> str:
    if not line:
        return _FROM_CONFIGURATION
    days = ", ".join(line.get("snapshots", ()))
    note = f"; {line['note']}" if line.get("note") else ""
    return (
        f"Platt's line, slope {number(line['slope'])}, intercept {number(line['intercept'], 3, True)}, on "
        f"{line['rows']:,} out-of-fold rows{f' of {days}' if days else ''}{note}"
    )


def tuning_words(tuning: Mapping[str, Any]) -> str:
    """What the search took and found."""
    if not tuning:
        return "The parameters were not tuned."
    default = tuning.get("default_loss")
    before = f" against {default:.4f} of the defaults" if default is not None else ""
    return (
        f"Optuna tried {tuning['trials']} sets of parameters in {tuning['seconds']:.0f} s and gave up "
        f"{tuning['pruned']} of them early. The best had a cross-validated log-loss of "
        f"{tuning['best_loss']:.4f}{before}. What that is worth out of time stands in the tables above."
    )


def tuning_gain(evaluation: Mapping[str, Any], tuning: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tuned minus default, and minus what random search found, out of time and cross-validated."""
    gain, validated = evaluation.get("tuning_gain") or {}, tuning.get("differences") or {}
    rows = []
    for key, name in (("default", "the default parameters"), ("random", "random search of the same wall-clock")):
        if gain.get(key):
            took = gain.get("random_search") if key == "random" else None
            took_words = f" ({took['trials']} trials in {took['seconds']:.0f} s)" if took else ""
            folds = validated.get(key)
            cross = {"estimate": folds["mean"], "low": folds["low"], "high": folds["high"]} if folds else None
            rows.append({**gain[key], "against": name + took_words, "cross_validated": cross})
    return rows


def gates(material: Material, error: CalibrationError, alarms: Sequence[str] | None) -> list[dict[str, Any]]:
    """What the configuration asks of a champion beside the figures of this page; nothing is decided here."""
    asked, evaluation = material.config.gates, material.evaluation
    scores = next(item for item in evaluation["models"] if item["name"] == OWN)
    over_base = next(
        (item for item in evaluation["differences"] if item.get("model", OWN) == OWN
         and (item["against"], item["metric"]) == ("base_rate", "log_loss")), {"high": None},
    )  # fmt: skip
    gained = None if over_base["high"] is None else -over_base["high"]
    worst = (evaluation.get("worst_slice") or {}).get("log_loss_over_base_rate", {}).get("low")
    champion = evaluation.get("champion_comparison") or {}
    lost = (champion.get("log_loss") or {}).get("high")
    rows = [
        ("Rows of the test, at least", f"{evaluation['test_rows']:,}", f"{asked.minimum_test_rows:,}"),
        ("Log-loss gained on the base rate, lower bound, more than", number(gained), number(asked.beats_base_rate_by)),
        ("AUC, at least", number(scores["auc"]["estimate"]), number(asked.minimum_auc)),
        ("Calibration error on the newest test snapshot over noise, at most",
         number(error.over_noise, 2), number(asked.calibration_error_over_noise, 2)),
        ("Log-loss of the worst slice over its own base rate, lower bound, at most",
         number(worst), number(asked.worst_slice_loss_over_base_rate)),
        ("Log-loss lost to the champion, upper bound, at most",
         number(lost) if champion else "no champion", number(asked.maximum_loss_against_champion)),
    ]  # fmt: skip
    if asked.leakage:
        rows.append(("Blocking leakage alarms, at most", "not looked for" if alarms is None else str(len(alarms)), "0"))
    if asked.maximum_profit_lost_to_champion is not None:
        lost = (champion.get("profit") or {}).get("high")
        limit = number(asked.maximum_profit_lost_to_champion, 2)
        rows.append(("Profit a row lost to the champion, upper bound, at most", number(lost, 2), limit))
    return [{"gate": gate, "figure": figure, "threshold": threshold} for gate, figure, threshold in rows]
