"""What a model should not be used for and how its reasons are to be read, worded for its kind of label."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.settings.labels import ChurnLabel, ConversionLabel


@dataclass(frozen=True, slots=True)
class Words:
    """`outcomes` are of label 0 and 1. `welcome` is the label one hopes for. `use` is what the model is made for."""

    outcomes: tuple[str, str]
    welcome: int
    use: tuple[str, ...]
    not_for: tuple[str, ...]
    caveats: tuple[str, ...]


def words_for(label: ChurnLabel | ConversionLabel) -> Words:
    """The words of a model with this label."""
    every = (_NOT_LEGAL, _NOT_FOR_LONG)
    if isinstance(label, ChurnLabel):
        not_for = (_NOT_CAUSES, _CHURN_CHOICE, _CHURN_OTHERS, *every)
        return Words(("came back", "did not come back"), 0, _CHURN_USE, not_for, _CAVEATS)
    not_for = (_NOT_CAUSES, _CONVERSION_CHOICE, _CONVERSION_OTHERS, *every)
    return Words(("did not convert", "converted"), 1, _CONVERSION_USE, not_for, _CAVEATS)


_CHURN_USE = (
    "To rank active customers by the chance that they fall silent, and to plan how many will.",
    "As one input of decisions that also know what an action brings and costs.",
)
_CONVERSION_USE = (
    "To rank open opportunities by the chance that they end in the goal, and to forecast how many will.",
    "As one input of decisions that also know what an action brings and costs.",
)
_NOT_CAUSES = (
    "To say that changing a feature would change what a customer does. Contributions describe the model, "
    "not causes; what an action brings is measured by a randomised trial."
)
_CHURN_CHOICE = (
    "To choose whom to give an offer by risk alone. "
    "The customers likeliest to leave are often not those an offer keeps."
)
_CONVERSION_CHOICE = (
    "To choose whom to contact by the chance of conversion alone. "
    "The likeliest to convert often do so without being asked."
)
_CHURN_OTHERS = (
    "For customers outside the definition above, such as those who have been silent for longer, or who are new since."
)
_CONVERSION_OTHERS = "For customers without an open opportunity as defined above, or for goals other than this one."
_NOT_LEGAL = "To decide on prices, credit, employment, or anything else with legal or similar effect on a person."
_NOT_FOR_LONG = (
    "Long after the newest as-of instant, or after a change of shop, channel or tracking, without a new evaluation."
)

_CAVEATS = (
    "Contributions are path-dependent TreeSHAP values (LightGBM's pred_contrib): what is unknown is averaged "
    "over the training rows that took the same paths through the trees. They are exact for the model, in log-odds.",
    "They share credit among features that move together, and how they share it is partly accident. "
    "Read groups of related features as one; a small bar does not prove that a feature does not matter.",
    "They start from the mean score of the training rows, so “raises” and “lowers” are against that mean, not "
    "against the same customer yesterday.",
    "A change in probability is p − sigmoid(log-odds − contribution): what p would lose if that contribution alone "
    "were taken away. These changes do not add up over features; contributions do.",
    "Amounts of money in features are in minor units, such as pence or satang.",
)
