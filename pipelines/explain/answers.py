"""The seven questions of a reviewer, answered from the figures of the report, each with a link to its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.explain.alarms import raised, warned
from pipelines.explain.calibration import worst_calibrated
from pipelines.explain.limits import Words
from pipelines.explain.money import not_shown_to_pay
from pipelines.explain.when import span_words
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
        Answer("How good is it, against what?", _good(figures), "good"),
        Answer("For whom is it worst?", _worst(figures["evaluation"]), "worst"),
        Answer("What drives it?", _drives(figures), "groups"),
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
    rows, rates, when = sum(item["customers"] for item in train), figures["rates"], figures["times"]
    what = when["rows"] if when["at"] == "opening" else "rows of customers"
    return (
        f"{rows:,} {what} {when['within']} {len(train)} {when['snapshots']} "
        f"({span_words(when['parts']['train'])} UTC) to learn from; {figures['rows_available']:,} later {when['rows']} "
        f"({span_words(when['parts']['test'])} UTC) to judge it on. "
        f"{100 * rates['train']:.1f} % had label 1 in training, {100 * rates['test']:.1f} % in the test."
    )


def _good(figures: Mapping[str, Any]) -> str:
    evaluation, rates = figures["evaluation"], figures["rates"]
    scores = {item["name"]: item for item in evaluation["models"]}
    own, base = scores[OWN], scores["base_rate"]
    text = [
        f"Log-loss {number(own['log_loss']['estimate'])} against {number(base['log_loss']['estimate'])} of the base "
        f"rate, AUC {number(own['auc']['estimate'])}, on rows of a later time. Probabilities are off by "
        f"{number(own['calibration_error'])} on average, where chance alone gives "
        f"{number(own['calibration_noise_floor'])}: it said {100 * rates['predicted']:.1f} % on the mean, and "
        f"{100 * rates['test']:.1f} % had label 1."
    ]
    better, worse, undecided = better_worse_undecided(evaluation)
    if worse:
        text.append(f"It is worse than {listed(worse)}.")
    if undecided:
        text.append(f"It is not shown to be better than {listed(undecided)}.")
    if better:
        text.append(f"It is better than {listed(better)}.")
    text.append(not_shown_to_pay(evaluation.get("profit"), OWN))
    return " ".join(item for item in text if item)


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
        f"[{low}, {high}] over that.{_furthest_off(evaluation)}"
    )


def _furthest_off(evaluation: Mapping[str, Any]) -> str:
    band = worst_calibrated(evaluation)
    if band is None:
        return ""
    return (
        f" Its probabilities are furthest off for {band['slice']}: {band['band']}: it said "
        f"{100 * band['mean_probability']:.1f} % on the mean, {100 * band['positive_rate']:.1f} % had label 1, and the "
        f"calibration error is {number(band['over_noise'], 1)} times what chance alone gives."
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
        own, pairs = stable["own_folds"], stable["folds"]
        text.append(
            f"Fitted again without a fold of customers, its {stable['top']} strongest features are {_alike(own)}: "
            f"model against refits on the newest snapshot {number(own, 2)} (Jaccard), refits against each other "
            f"{number(pairs, 2)}; with other seeds {number(stable['own_seeds'], 2)} and {number(stable['seeds'], 2)}."
        )
    alarms = raised(figures["leakage"])
    if alarms is None:
        text.append("Leakage was not looked for in this run.")
    elif alarms:
        text.append(f"But leakage alarms were raised: {listed(alarms)}.")
    else:
        text.append("No blocking leakage alarm speaks against it.")
    if warnings := warned(figures["leakage"]):
        text.append(f"Warning: {listed(warnings)}.")
    text.append("As causes, no.")
    return " ".join(text)


def _alike(agreement: float) -> str:
    if agreement > 0.99:
        return "the same"
    return "nearly the same" if agreement >= 0.8 else "mostly the same" if agreement >= 0.6 else "often others"


def listed(items: list[str], between: str = ", ") -> str:
    """`a, b and c`."""
    if len(items) < 2 or between != ", ":
        return between.join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
