"""The seven questions of a reviewer, answered from the figures of the report, each with a link to its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.explain.limits import Words
from pipelines.explain.wording import number
from pipelines.settings.models import ModelConfig

OWN = "lightgbm_tuned"
NAMES = {
    "base_rate": "Base rate", "logistic": "Logistic regression", "bg_nbd": "BG/NBD",
    "bg_nbd_calibrated": "BG/NBD, calibrated", "lightgbm_default": "Default LightGBM", OWN: "Tuned LightGBM",
    "lightgbm_random": "Random search LightGBM", "champion": "Present champion",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """`anchor` is the part of the page that shows it."""

    question: str
    text: str
    anchor: str


def answers(figures: Mapping[str, Any], config: ModelConfig, words: Words) -> tuple[Answer, ...]:
    """Answers to the seven questions, in order."""
    return (
        Answer("What does it predict?", f"{config.description.rstrip('.')}. Label 1: {words.outcomes[1]}; "
               f"label 0: {words.outcomes[0]}.", "predicts"),
        Answer("On what data?", _data(figures), "data"),
        Answer("How good is it, against what?", _good(figures["evaluation"]), "good"),
        Answer("For whom is it worst?", _worst(figures["evaluation"]), "worst"),
        Answer("What drives it?", _drives(figures), "moves"),
        Answer("Can I trust the reasons?", _trust(figures), "trust"),
        Answer("What should it not be used for?", " ".join(item.partition(". ")[0].rstrip(".") + "."
                                                          for item in words.not_for[:3]), "limits"),
    )  # fmt: skip


def names_of(evaluation: Mapping[str, Any]) -> dict[str, str]:
    """Names of the models for people, those of the evaluation first."""
    return {**NAMES, **evaluation.get("names", {})}


def better_worse_undecided(evaluation: Mapping[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """Models that the tuned one is better than, worse than, or not told apart from, by the interval of log-loss."""
    better: list[str] = []
    worse: list[str] = []
    undecided: list[str] = []
    names = names_of(evaluation)
    for item in evaluation["differences"]:
        if item["metric"] != "log_loss" or item.get("model", OWN) != OWN:
            continue
        low, high = item["low"], item["high"]
        place = undecided if low is None or low <= 0 <= high else better if high < 0 else worse
        place.append(_spoken(names.get(item["against"], item["against"])))
    return better, worse, undecided


def _spoken(name: str) -> str:
    """A model's name as it stands in a sentence."""
    head, comma, tail = name.partition(", ")
    name = f"{tail} {head}" if comma else name
    proper = name[:2].isupper() or "/" in name.split(" ")[0]
    return name if proper or comma else f"the {name[0].lower()}{name[1:]}"


def _data(figures: Mapping[str, Any]) -> str:
    train = [item for item in figures["snapshots"] if item["part"] == "train"]
    test = [item for item in figures["snapshots"] if item["part"] == "test"]
    rows, rates = sum(item["customers"] for item in train), figures["rates"]
    days = _span([item["day"] for item in train])
    return (
        f"{rows:,} rows of customers at {len(train)} as-of days ({days}) to learn from; "
        f"{figures['rows_available']:,} later rows ({_span([item['day'] for item in test])}) to judge it on. "
        f"{100 * rates['train']:.1f} % had label 1 in training, {100 * rates['test']:.1f} % in the test."
    )


def _span(days: list[str]) -> str:
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _good(evaluation: Mapping[str, Any]) -> str:
    scores = {item["name"]: item for item in evaluation["models"]}
    own, base = scores[OWN], scores["base_rate"]
    text = [
        f"Log-loss {number(own['log_loss']['estimate'])} against {number(base['log_loss']['estimate'])} of the base "
        f"rate, AUC {number(own['auc']['estimate'])}, on rows of a later time. Probabilities are off by "
        f"{number(own['calibration_error'])} on average, where chance alone gives "
        f"{number(own['calibration_noise_floor'])}."
    ]
    better, worse, undecided = better_worse_undecided(evaluation)
    if worse:
        text.append(f"It is worse than {listed(worse)}.")
    if undecided:
        text.append(f"It is not shown to be better than {listed(undecided)}.")
    if better:
        text.append(f"It is better than {listed(better)}.")
    return " ".join(text)


def _worst(evaluation: Mapping[str, Any]) -> str:
    worst = evaluation.get("worst_slice")
    if not worst:
        return "Not looked at: no slice of customers was judged on its own."
    loss = worst["log_loss_over_base_rate"]
    against = (
        "not shown to be better than one rate for all of them"
        if loss["high"] >= 0
        else "still better than one rate for all"
    )
    if loss["low"] > 0:
        against = "worse than one rate for all of them"
    estimate, low, high = (number(loss[key], 3, True) for key in ("estimate", "low", "high"))
    return (
        f"For {worst['slice']}: {worst['band']} ({worst['rows']:,} rows) it is {against}: log-loss {estimate} "
        f"[{low}, {high}] over that."
    )


def _drives(figures: Mapping[str, Any]) -> str:
    strongest = [item for item in figures["groups"] if item["mean_contribution"] > 0][:3]
    if not strongest:
        return "Nothing: no feature contributes to any prediction. The model says the same of everybody."
    parts = []
    for item in strongest:
        others = len(item["features"]) - 1
        with_others = f", with {others} that move with it" if others else ""
        parts.append(f"{item['meanings'][0]}{with_others} ({100 * item['share']:.0f} %)")
    return (
        f"Most of all {listed(parts, '; ')}. Shares are of the mean absolute contributions of groups of features that "
        "move together."
    )


def _trust(figures: Mapping[str, Any]) -> str:
    text = [
        f"As a description of the model, yes: contributions sum to the score within "
        f"{figures['worst_additivity_gap']:.0e} log-odds on every row."
    ]
    stable = figures["stability"]
    if stable:
        text.append(
            f"Fitted again without a fold of customers, its {stable['top']} strongest features are "
            f"{_alike(stable['folds'])} (Jaccard {number(stable['folds'], 2)}; {number(stable['seeds'], 2)} with other "
            "seeds)."
        )
    alarms = raised(figures["leakage"])
    if alarms is None:
        text.append("Leakage was not looked for in this run.")
    elif alarms:
        text.append(f"But leakage alarms were raised: {listed(alarms)}.")
    else:
        text.append("No leakage alarm was raised.")
    text.append("As causes, no.")
    return " ".join(text)


def _alike(agreement: float) -> str:
    if agreement > 0.99:
        return "the same"
    return "nearly the same" if agreement >= 0.8 else "mostly the same" if agreement >= 0.6 else "often others"


def raised(leakage: Mapping[str, Any] | None) -> list[str] | None:
    """Names of the alarms that were raised against this model; None where leakage was not looked for."""
    if not leakage:
        return None
    return [item["name"].replace("_", " ") for item in leakage["alarms"] if item["raised"] and item.get("blocks", True)]


def listed(items: list[str], between: str = ", ") -> str:
    """`a, b and c`."""
    if len(items) < 2 or between != ", ":
        return between.join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
