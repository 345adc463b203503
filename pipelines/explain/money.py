"""What acting by the model is worth, in sentences, and on which assumptions that stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.explain.wording import number

ILLUSTRATION = (
    "This is an illustration: it supposes that those who are acted on respond as the configuration says, and acts on "
    "the highest probabilities, which is the very use that “not to be used for” warns of. What an action brings "
    "only a randomised trial can show."
)


def gain_over_all(profit: Mapping[str, Any], model: str) -> str:
    """What choosing by the model brings over acting on everybody."""
    item = _against(profit, model, "all")
    if item is None or item["low"] is None:
        return "What it gains over acting on everybody is not known."
    shown = "" if item["low"] > 0 else ": not shown to be a gain" if item["high"] >= 0 else ": a loss"
    return f"Against acting on everybody, choosing by this model changes profit by {_interval(item)} a row{shown}."


def not_shown_to_pay(profit: Mapping[str, Any] | None, model: str) -> str:
    """A sentence where acting by the model is not shown to bring more than acting on nobody; empty where it is."""
    item = _against(profit, model, "none") if profit else None
    if item is None or (item["low"] is not None and item["low"] > 0):
        return ""
    numbers = f" ({_interval(item)} a row)" if item["low"] is not None else ""
    return f"Acting by it is not shown to bring more than acting on nobody{numbers}."


def settings_words(settings: Mapping[str, Any]) -> str:
    """The money of the configuration; of a campaign also what its chance of acceptance means."""
    told = {key: item for key, item in settings.items() if key not in ("kind", "alpha", "beta")}
    words = [f"{key.replace('_', ' ')} {item:,g}" for key, item in told.items()]
    if settings.get("kind") == "empc":
        alpha, beta = settings["alpha"], settings["beta"]
        words.append(
            f"chance that a contacted leaver accepts the incentive Beta-distributed (alpha {alpha:g}, beta {beta:g}): "
            f"acceptance averages {100 * alpha / (alpha + beta):.0f} %"
        )
    return ", ".join(words)


def _against(profit: Mapping[str, Any], model: str, rival: str) -> Mapping[str, Any] | None:
    found = (
        item for item in profit.get("differences", ())
        if item["against"] == rival and item["model"] == model and item.get("metric", "profit") == "profit"
    )  # fmt: skip
    return next(found, None)


def _interval(item: Mapping[str, Any]) -> str:
    estimate, low, high = (number(item[key], 2, True) for key in ("estimate", "low", "high"))
    return f"{estimate} [{low}, {high}]"
