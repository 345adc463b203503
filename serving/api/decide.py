"""Decisions, and the catalogue that decides, in the words of the API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pipelines.decisions.situation import Alternative, Reason
from serving.api import request_id
from serving.api.answers import iso, resolved
from serving.api.decide_responses import (
    ActionsResponse,
    AlternativeItem,
    DecideResponse,
    EffectReasons,
    FeatureReasonItem,
    ReasonItem,
)
from serving.decisions.catalogue_watch import Offered
from serving.decisions.desk import Decided
from serving.decisions.offered import no_catalogue


def decide_response(asked_for: str, decided: Decided) -> DecideResponse:
    """The answer to who asked for the customer by the id `asked_for`."""
    of, decision = decided.recorded.origin, decided.recorded.decision
    return DecideResponse(
        request_id=request_id.current.get(),
        decision_id=decision.decision_id,
        repeated=decided.is_known,
        customer_id=asked_for,
        resolved_customer_id=resolved(asked_for, decided.customer_id),
        as_of=iso(decision.as_of),
        action=decision.action,
        variant=decision.variant,
        language=of.message.language if of.message else None,
        text=of.message.text if of.message else None,
        template=of.message.template if of.message else None,
        channel=decision.channel,
        send_at=None if decision.send_at is None else iso(decision.send_at),
        hour=decision.hour,
        hour_confidence=decision.hour_confidence,
        hour_is_fallback=decision.hour_is_fallback,
        best_channel=decision.best_channel,
        best_channel_confidence=decision.best_channel_confidence,
        best_channel_is_fallback=decision.best_channel_is_fallback,
        propensity=decision.propensity,
        expected_value=decision.expected_value,
        cost=decision.cost,
        currency=of.currency,
        basis=decision.basis,
        holdout=decision.holdout,
        explored=decision.explored,
        stage=decision.stage,
        alternatives=[_alternative(item) for item in decision.alternatives if item.action != decision.action],
        reasons=_reasons(decision.reasons),
        effect_reasons=_effect_reasons(decided),
        catalogue=decision.catalogue,
        model=of.model,
        model_version=of.model_version,
    )


def _alternative(item: Alternative) -> AlternativeItem:
    return AlternativeItem(
        action=item.action,
        lost=item.lost,
        because=item.because,
        propensity=item.propensity,
        effect=item.effect,
        response=item.response,
        plain_value=item.plain_value,
        expected_value=item.expected_value,
    )


def _reasons(reasons: Iterable[Reason]) -> list[ReasonItem]:
    return [ReasonItem(code=item.code, sentence=item.sentence, names=list(item.names)) for item in reasons]


def _effect_reasons(decided: Decided) -> EffectReasons | None:
    told = decided.explained
    if told is None:
        return None
    items = [
        FeatureReasonItem(
            feature=item.feature,
            meaning=item.meaning,
            value=item.value,
            contribution=item.contribution,
            sentence=item.sentence,
        )
        for item in told.reasons
    ]
    return EffectReasons(action=told.action, reasons=items)


def actions_response(offered: Offered) -> ActionsResponse:
    """What decides now, and what is wrong with the files as they are."""
    catalogue, problems = offered.catalogue, offered.held_back
    state: Literal["current", "held_back", "none"] = "held_back" if problems else "current"
    return ActionsResponse(
        request_id=request_id.current.get(),
        state="none" if catalogue is None else state,
        catalogue=None if catalogue is None else catalogue.hash,
        model=None if catalogue is None else catalogue.model,
        actions=[] if catalogue is None else [action.id for action in catalogue.actions],
        held_back=no_catalogue(problems).item() if problems else None,
    )
