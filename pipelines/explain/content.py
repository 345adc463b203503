"""What the page and the card show, as their templates name it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightgbm

from pipelines.artefacts import DatasetManifest
from pipelines.explain import wording
from pipelines.explain.answers import OWN, better_worse_undecided, names_of, raised
from pipelines.explain.figures import SEED, Drawn
from pipelines.explain.limits import words_for
from pipelines.explain.material import Material
from pipelines.explain.plots.comparisons import interaction_image, over_time_image, stability_image
from pipelines.explain.plots.quality import calibration_image, per_snapshot_image, profit_image, snapshots_image
from pipelines.explain.plots.reasons import beeswarm_image, dependence_image

_DEPENDENCE, _LISTED = 6, 20
_BASE = "base_rate"


def page_content(material: Material, figures: Mapping[str, Any], drawn: Drawn) -> dict[str, Any]:
    """What the templates name, from the figures of `report.json` and what the plots are drawn from."""
    config, evaluation = material.config, figures["evaluation"]
    scores = {item["name"]: item for item in evaluation["models"]}
    meanings = {item.feature: item.meaning for item in drawn.ranked}
    better, worse, undecided = better_worse_undecided(evaluation)
    return {
        "title": config.name.replace("_", " ").capitalize(), "description": config.description, "owner": config.owner,
        "kind": config.label.kind, "words": words_for(config.label), "workspace": material.workspace,
        "figures": figures, "evaluation": evaluation, "own": scores[OWN], "base": scores[_BASE],
        "names": names_of(evaluation), "better": better, "worse": worse, "undecided": undecided,
        "verdict": [sentence.partition(": ") for sentence in evaluation["verdict_sentences"]],
        "data_start": wording.day(material.dataset.manifest.data_start),
        "data_end": wording.day(material.dataset.manifest.data_end), "snapshots": figures["snapshots"],
        "test_days": ", ".join(item["day"] for item in figures["snapshots"] if item["part"] == "test"),
        "differences": _differences(evaluation), "sampling": _sampling(figures), "raised": raised(figures["leakage"]),
        "profit": evaluation.get("profit"), "per_snapshot": _times(evaluation),
        "slices": _slices(evaluation), "worst": evaluation.get("worst_slice"),
        "tuning_gain": _tuning_gain(evaluation), "truth": evaluation.get("truth"),
        "champion_comparison": evaluation.get("champion_comparison"),
        "importances": drawn.ranked[:_LISTED], "feature_count": len(drawn.ranked),
        "widest": max(drawn.ranked[0].mean_contribution, 1e-12), "meanings": meanings,
        "groups": [item for item in figures["groups"] if len(item["features"]) > 1],
        "cohorts": [_shaded(item) for item in figures["cohorts"]],
        "examples": [_for_page(item) for item in figures["examples"]],
        "tuning": _tuning_words(material.tuning), "made": _made(material.dataset.manifest, material.tuning),
        **_images(figures, drawn, scores[OWN]),
    }  # fmt: skip


def _images(figures: Mapping[str, Any], drawn: Drawn, own: Mapping[str, Any]) -> dict[str, Any]:
    evaluation = figures["evaluation"]
    names, test_days = names_of(evaluation), {item["day"] for item in figures["snapshots"] if item["part"] == "test"}
    moving = [item for item in drawn.ranked if item.mean_contribution > 0]
    times = evaluation.get("per_snapshot") or []
    has_pair = drawn.interactions is not None and drawn.interactions.pairs
    return {
        "snapshots_image": snapshots_image(figures["snapshots"]),
        "calibration_image": calibration_image(
            own["curve"], own["calibration_error"], own["calibration_noise_floor"]
        ),
        "profit_image": profit_image(evaluation["profit"], names, OWN) if evaluation.get("profit") else None,
        "per_snapshot_image": per_snapshot_image(times, names, OWN) if len(times) > 1 else None,
        "beeswarm_image": beeswarm_image(drawn.explained, seed=SEED) if moving else None,
        "dependence_images": [dependence_image(drawn.explained, item) for item in moving[:_DEPENDENCE]],
        "interaction_image": interaction_image(drawn.interactions, drawn.explained.names)
        if drawn.interactions and has_pair else None,
        "over_time_image": over_time_image(drawn.over_time, test_days) if moving else None,
        "stability_image": stability_image(drawn.stability) if drawn.stability else None,
    }  # fmt: skip


def _differences(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    by_model: dict[str, dict[str, Any]] = {}
    for item in evaluation["differences"]:
        if item.get("model", OWN) == OWN:
            by_model.setdefault(item["against"], {"against": item["against"]})[item["metric"]] = item
    return list(by_model.values())


def _sampling(figures: Mapping[str, Any]) -> str:
    shown, available = figures["rows_explained"], figures["rows_available"]
    if shown == available:
        return f"The figures rest on all {available:,} test rows."
    return (
        f"The figures rest on {shown:,} of {available:,} test rows, drawn at random with a fixed seed: enough for "
        "means over rows, and quick to make again."
    )


def _times(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each test snapshot with the tuned model's scores and the base rate's log-loss."""
    made = []
    for item in evaluation.get("per_snapshot") or []:
        scores = {model["name"]: model for model in item["models"]}
        made.append({**item, "own": scores[OWN], "base_log_loss": scores.get(_BASE, {}).get("log_loss")})
    return made


def _tuning_gain(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tuned minus default, and minus what random search found, with what each search took."""
    gain = evaluation.get("tuning_gain") or {}
    made = []
    for key, name in (("default", "the default parameters"), ("random", "random search of the same wall-clock")):
        if gain.get(key):
            took = gain.get("random_search") if key == "random" else None
            took_words = f" ({took['trials']} trials in {took['seconds']:.0f} s)" if took else ""
            made.append({**gain[key], "against": name + took_words})
    return made


def _slices(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each band with the places of its interval on a common axis, in percent of its width."""
    bands = [{"noise_floor": item.get("calibration_noise_floor"), **item} for item in evaluation.get("slices") or []]
    known = [item["log_loss_over_base_rate"] for item in bands if item["log_loss_over_base_rate"]]
    edges = [0.0, *(item[side] for item in known for side in ("low", "high") if item[side] is not None)]
    low, wide = min(edges), max(max(edges) - min(edges), 1e-12)

    def place(value: float) -> float:
        return 100 * (value - low) / wide

    return [
        {**item, "zero": place(0.0), **{side: place(loss[side]) for side in ("estimate", "low", "high")}}
        if (loss := item["log_loss_over_base_rate"]) and loss["low"] is not None
        else {**item, "zero": place(0.0), "estimate": None}
        for item in bands
    ]  # fmt: skip


def _shaded(cohorts: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of features by columns of bands, each cell with its shade from 0 to 1."""
    bands = cohorts["bands"]
    widest = max((size for band in bands for size in band["mean_contributions"]), default=0.0) or 1.0
    rows = [
        (feature, [(band["mean_contributions"][at], band["mean_contributions"][at] / widest) for band in bands])
        for at, feature in enumerate(cohorts["features"])
    ]
    return {**cohorts, "rows": rows}


def _for_page(example: Mapping[str, Any]) -> dict[str, Any]:
    return {**example, "widest": max((abs(item["contribution"]) for item in example["reasons"]), default=1.0)}


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


def _made(manifest: DatasetManifest, tuning: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    parameters = ", ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
                           for key, value in tuning.get("params", {}).items())  # fmt: skip
    return [
        ("Feature service", manifest.feature_service), ("Features", str(len(manifest.features))),
        ("Columns of the model", str(len(manifest.inputs.names))),
        ("Lake version", str(manifest.lake_version)), ("Identity version", str(manifest.identity_version)),
        ("Dataset", manifest.dataset_hash),
        ("Feature spec", manifest.spec_hash), ("Configuration", manifest.config_hash),
        ("LightGBM parameters", f"{parameters}, rounds={tuning['rounds']}" if tuning else "defaults"),
        ("LightGBM", lightgbm.__version__),
    ]  # fmt: skip
