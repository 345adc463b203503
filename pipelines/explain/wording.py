"""What a model predicts and how it may be used, in words for a reviewer."""

from __future__ import annotations

from datetime import UTC, datetime


def number(value: float | None, digits: int = 3, signed: bool = False) -> str:
    """Fixed digits with a true minus sign; a dash where there is no value."""
    if value is None:
        return "–"
    return f"{value:{'+' if signed else ''},.{digits}f}".replace("-", "−")


def day(instant: int) -> str:
    """Calendar day in UTC of int64 microseconds, as `2011-09-01`."""
    return datetime.fromtimestamp(instant / 1_000_000, UTC).strftime("%Y-%m-%d")


OUTCOMES = {0: "bought again (label 0)", 1: "did not buy (label 1)"}

NOT_FOR = (
    "To say that changing a feature would change what a customer does. Contributions describe the model, "
    "not causes; what an action brings is measured by a randomised trial.",
    "To choose whom to give an offer by risk alone. "
    "The customers likeliest to leave are often not those an offer keeps.",
    "For customers outside the definition above, such as those who have been silent for longer, or who are new since.",
    "To decide on prices, credit, employment, or anything else with legal or similar effect on a person.",
    "Long after the newest as-of instant, or after a change of shop, channel or tracking, without a new evaluation.",
)

CAVEATS = (
    "Contributions are path-dependent TreeSHAP values (LightGBM's pred_contrib): what is unknown is averaged "
    "over the training rows that took the same paths through the trees. They are exact for the model, in log-odds.",
    "They share credit among features that move together, and how they share it is partly accident. "
    "Read groups of related features as one; a small bar does not prove that a feature does not matter.",
    "They start from the mean score of the training rows, so “raises” and “lowers” are against that mean, not "
    "against the same customer yesterday.",
    "A change in probability is p − sigmoid(log-odds − contribution): what p would lose if that contribution alone "
    "were taken away. These changes do not add up over features; contributions do.",
    "Amounts of money are in minor units, such as pence or satang.",
)
