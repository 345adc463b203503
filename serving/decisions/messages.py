"""What the customer is told: the text and the template of a variant, in their language."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.catalogue import Catalogue
from pipelines.decisions.ledger_event import Message
from pipelines.decisions.situation import Decision

FALLBACK = "en"


def message_of(catalogue: Catalogue, decision: Decision, language: str | None) -> Message | None:
    """None where nothing is to be told. `language` is the customer's, such as `th` or `th-TH`; empty where unknown."""
    if decision.variant is None:
        return None
    variants = {variant.id: variant for variant in catalogue.action(decision.action).variants}
    variant = variants[decision.variant]
    spoken = spoken_in({**variant.templates, **variant.texts}, language)
    if spoken is None:
        return None
    return Message(spoken, variant.texts.get(spoken), variant.templates.get(spoken))


def spoken_in(known: Mapping[str, str], language: str | None) -> str | None:
    """Of the languages in `known` the customer's, without its region where need be; else English, else the first."""
    wanted = (language or "").replace("_", "-").lower()
    for name in (wanted, wanted.split("-")[0], FALLBACK):
        if name in known:
            return name
    return next(iter(known), None)
