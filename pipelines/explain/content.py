"""What the page shows, as its template names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightgbm
import numpy as np

from feature_repo.reasons import format_value
from pipelines.artefacts import DatasetManifest
from pipelines.explain import wording
from pipelines.explain.contributions import Explained, Importance
from pipelines.explain.plots import beeswarm_image, calibration_image, dependence_image, snapshots_image
from pipelines.settings.models import ModelConfig

_DEPENDENCE, _LISTED, _SEED = 6, 20, 0
_OWN, _BASE = "lightgbm_tuned", "base_rate"
_NAMES = {
    _BASE: "Base rate", "logistic": "Logistic regression", "bg_nbd": "BG/NBD",
    "bg_nbd_calibrated": "BG/NBD, calibrated", "lightgbm_default": "Default LightGBM",
    _OWN: "Tuned LightGBM", "champion": "Present champion",
}  # fmt: skip


def page_content(
    workspace: str, config: ModelConfig, manifest: DatasetManifest, figures: Mapping[str, Any],
    explained: Explained, ranked: tuple[Importance, ...], tuning: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """What the template names, from the figures of `report.json` and what the plots are drawn from."""
    evaluation = figures["evaluation"]
    scores = {item["name"]: item for item in evaluation["models"]}
    own = scores[_OWN]
    moving = [item for item in ranked if item.mean_contribution > 0]
    meanings = {item.feature: item.meaning for item in ranked}
    return {
        "title": config.name.replace("_", " ").capitalize(), "description": config.description,
        "workspace": workspace, "evaluation": evaluation, "own": own, "base": scores[_BASE],
        "names": _NAMES, "outcomes": wording.OUTCOMES,
        "verdict": [sentence.partition(": ") for sentence in evaluation["verdict_sentences"]],
        "definition": figures["definition"], "left_out": figures["left_out"],
        "data_start": wording.day(manifest.data_start),
        "data_end": wording.day(manifest.data_end), "snapshots": figures["snapshots"],
        "test_days": ", ".join(item["day"] for item in figures["snapshots"] if item["part"] == "test"),
        "differences": _differences(evaluation), "reach": figures["reach"], "sampling": _sampling(figures),
        "importances": ranked[:_LISTED], "feature_count": len(ranked),
        "widest": max(ranked[0].mean_contribution, 1e-12),
        "examples": [_for_page(item, meanings) for item in figures["examples"]],
        "not_for": wording.NOT_FOR, "caveats": wording.CAVEATS, "gap": figures["worst_additivity_gap"],
        "tuning": _tuning_words(tuning), "made": _made(manifest, tuning),
        "snapshots_image": snapshots_image(figures["snapshots"]),
        "calibration_image": calibration_image(own["curve"], own["calibration_error"], own["calibration_noise_floor"]),
        "beeswarm_image": beeswarm_image(explained, seed=_SEED),
        "dependence_images": [dependence_image(explained, item) for item in moving[:_DEPENDENCE]],
    }  # fmt: skip


def _differences(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    by_model: dict[str, dict[str, Any]] = {}
    for item in evaluation["differences"]:
        by_model.setdefault(item["against"], {"against": item["against"]})[item["metric"]] = item
    return list(by_model.values())


def _sampling(figures: Mapping[str, Any]) -> str:
    shown, available = figures["rows_explained"], figures["rows_available"]
    if shown == available:
        return f"The figures rest on all {available:,} test rows."
    return f"The figures rest on {shown:,} of {available:,} test rows, drawn at random with a fixed seed."


def _for_page(example: Mapping[str, Any], meanings: Mapping[str, str]) -> dict[str, Any]:
    reasons = [
        {**reason, "meaning": meanings[reason["feature"]],
         "shown_value": format_value(np.nan if reason["value"] is None else reason["value"])}
        for reason in example["reasons"]
    ]  # fmt: skip
    widest = max((abs(reason["contribution"]) for reason in reasons), default=1.0)
    return {**example, "reasons": reasons, "widest": widest}


def _tuning_words(tuning: Mapping[str, Any]) -> str:
    if not tuning:
        return "The parameters were not tuned."
    default = tuning.get("default_loss")
    before = f" against {default:.4f} of the defaults" if default is not None else ""
    return (
        f"Optuna tried {tuning['trials']} sets of parameters in {tuning['seconds']:.0f} s and gave up "
        f"{tuning['pruned']} of them early. The best had a cross-validated log-loss of "
        f"{tuning['best_loss']:.4f}{before}. What that is worth out of time stands in the tables above."
    )


def _made(manifest: DatasetManifest, tuning: Mapping[str, Any]) -> list[tuple[str, str]]:
    parameters = ", ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
                           for key, value in tuning.get("params", {}).items())  # fmt: skip
    return [
        ("Feature service", manifest.feature_service), ("Features", str(len(manifest.features))),
        ("Lake version", str(manifest.lake_version)), ("Identity version", str(manifest.identity_version)),
        ("Dataset", manifest.dataset_hash),
        ("Feature spec", manifest.spec_hash), ("Configuration", manifest.config_hash),
        ("LightGBM parameters", f"{parameters}, rounds={tuning['rounds']}" if tuning else "defaults"),
        ("LightGBM", lightgbm.__version__),
    ]  # fmt: skip
