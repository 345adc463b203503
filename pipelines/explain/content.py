"""What the page and the card show, as their templates name it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from pipelines.explain import making, money, wording
from pipelines.explain.alarms import EASILY_TOLD_APART, judged, raised, time_shift, warned
from pipelines.explain.answers import OWN, better_worse_undecided, names_of
from pipelines.explain.calibration import newest_error, usability, worst_calibrated
from pipelines.explain.figures import SEED, Drawn
from pipelines.explain.glossary import GLOSSARY
from pipelines.explain.limits import words_for
from pipelines.explain.material import Material
from pipelines.explain.plots.comparisons import interaction_image, over_time_image, stability_image
from pipelines.explain.plots.quality import calibration_image, per_snapshot_image, profit_image, snapshots_image
from pipelines.explain.plots.reasons import beeswarm_image, dependence_image

_DEPENDENCE, _LISTED, _LINES_FROM = 6, 20, 3
_BASE = "base_rate"


def page_content(
    material: Material, figures: Mapping[str, Any], drawn: Drawn, made_on: date, commit: str | None
) -> dict[str, Any]:
    """What the templates name, from the figures of `report.json` and what the plots are drawn from.

    `made_on` is today in UTC, `commit` that of the code, where it is known.
    """
    config, evaluation = material.config, figures["evaluation"]
    scores = {item["name"]: item for item in evaluation["models"]}
    meanings = {item.feature: item.meaning for item in drawn.ranked}
    better, worse, undecided = better_worse_undecided(evaluation)
    error = newest_error(evaluation, OWN)
    return {
        "title": config.name.replace("_", " ").capitalize(), "description": config.description, "owner": config.owner,
        "kind": config.label.kind, "words": words_for(config.label), "workspace": material.workspace,
        "figures": figures, "evaluation": evaluation, "own": scores[OWN], "base": scores[_BASE],
        "names": names_of(evaluation), "better": better, "worse": worse, "undecided": undecided,
        "verdict": [_claim(sentence) for sentence in evaluation["verdict_sentences"]],
        "data_start": wording.day(material.dataset.manifest.data_start),
        "data_end": wording.day(material.dataset.manifest.data_end), "snapshots": figures["snapshots"],
        "test_days": ", ".join(item["day"] for item in figures["snapshots"] if item["part"] == "test"),
        "differences": _differences(evaluation), "sampling": _sampling(figures), **_doubts(figures),
        **_money(evaluation),
        "error": error, "usability": usability(error, config.gates.calibration_error_over_noise),
        "worst_calibrated": worst_calibrated(evaluation), "when": figures["times"],
        "per_snapshot": _times(evaluation),
        "slices": _slices(evaluation), "worst": evaluation.get("worst_slice"),
        "tuning_gain": making.tuning_gain(evaluation, material.tuning), "truth": evaluation.get("truth"),
        "champion_comparison": evaluation.get("champion_comparison"),
        "importances": drawn.ranked[:_LISTED], "feature_count": len(drawn.ranked),
        "widest": max(drawn.ranked[0].mean_contribution, 1e-12), "meanings": meanings,
        "groups": [item for item in figures["groups"] if item["mean_contribution"] > 0], "glossary": GLOSSARY,
        "monotone": material.training.get("monotone", {}), "notes_of_ablation": _notes(figures["ablation"]),
        "cohorts": [_shaded(item) for item in figures["cohorts"]],
        "examples": [_for_page(item) for item in figures["examples"]],
        "tuning": making.tuning_words(material.tuning), "made": making.made(material),
        "identity": making.identity(material, made_on, commit),
        "gates": making.gates(material, error, raised(figures["leakage"])),
        **_images(figures, drawn, scores[OWN]),
    }  # fmt: skip


def _doubts(figures: Mapping[str, Any]) -> dict[str, Any]:
    leakage, shift = figures["leakage"], time_shift(figures["leakage"])
    return {
        "raised": raised(leakage), "warned": warned(leakage), "time_shift": shift,
        "checks_judged": sum(judged(item) for item in leakage["alarms"]) if leakage else 0, "judged": judged,
        "easily_told_apart": shift is not None and shift > EASILY_TOLD_APART,
    }  # fmt: skip


def _money(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    profit = evaluation.get("profit")
    return {
        "profit": profit, "profit_differences": _profit_differences(evaluation), "illustration": money.ILLUSTRATION,
        "profit_gain": money.gain_over_all(profit, OWN) if profit else "",
        "profit_settings": money.settings_words(profit["settings"]) if profit else "",
    }  # fmt: skip


def _notes(ablation: Mapping[str, Any] | None) -> list[str]:
    """Notes without the options of the command line, which are for the terminal."""
    return [re.sub(r"; --rows [\d,]+ takes all", "", note) for note in (ablation or {}).get("notes", ())]


def _claim(sentence: str) -> tuple[str, str, str]:
    """A claim, a colon where numbers follow, and the numbers, with true minus signs."""
    claim, colon, numbers = sentence.partition(": ")
    numbers = wording.true_minus(numbers)
    return claim, colon, numbers[:1].upper() + numbers[1:] if numbers.startswith("difference") else numbers


def _images(figures: Mapping[str, Any], drawn: Drawn, own: Mapping[str, Any]) -> dict[str, Any]:
    evaluation = figures["evaluation"]
    names, test_days = names_of(evaluation), {item["day"] for item in figures["snapshots"] if item["part"] == "test"}
    moving = [item for item in drawn.ranked if item.mean_contribution > 0]
    times = evaluation.get("per_snapshot") or []
    has_pair = drawn.interactions is not None and drawn.interactions.pairs
    return {
        "snapshots_image": snapshots_image(figures["snapshots"], figures["times"]),
        "calibration_image": calibration_image(
            own["curve"], own["calibration_error"], own["calibration_noise_floor"]
        ),
        "profit_image": profit_image(evaluation["profit"], names, OWN) if evaluation.get("profit") else None,
        "per_snapshot_image": per_snapshot_image(times, names, OWN)
        if len(times) >= _LINES_FROM else None,
        "beeswarm_image": beeswarm_image(drawn.explained, figures["times"]["row"], seed=SEED) if moving else None,
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
    shown, available, rows = figures["rows_explained"], figures["rows_available"], figures["times"]["rows"]
    if shown == available:
        return f"The figures rest on all {available:,} {rows} of the test."
    return (
        f"The figures rest on {shown:,} of {available:,} {rows} of the test, drawn at random with a fixed seed: "
        "enough for means over them, and quick to make again."
    )


def _times(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each test snapshot with the tuned model's scores and the base rate's log-loss."""
    made = []
    for item in evaluation.get("per_snapshot") or []:
        scores = {model["name"]: model for model in item["models"]}
        made.append({**item, "own": scores[OWN], "base_log_loss": scores.get(_BASE, {}).get("log_loss")})
    return made


def _profit_differences(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    by_model: dict[str, dict[str, Any]] = {}
    for item in (evaluation.get("profit") or {}).get("differences", ()):
        name = {"all": "Acting on all", "none": "Acting on none"}.get(item["against"])
        against = name or names_of(evaluation).get(item["against"], item["against"])
        by_model.setdefault(item["against"], {"against": against})[item.get("metric", "profit")] = item
    return list(by_model.values())


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
