"""What a message says: `type`, `timestamp` and `data`, as Standard Webhooks suggests. Money is in minor units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from feature_repo.state.read import FeatureValue
from pipelines.decisions.ledger_event import Recorded
from pipelines.outbox.edges import Edge
from pipelines.twin.rules import Trigger
from serving.api.answers import iso

_ENCODER = msgspec.json.Encoder()


def content_of(
    trigger: Trigger,
    edge: Edge,
    customer_id: str,
    as_of: int,
    features: Mapping[str, FeatureValue],
    evidence: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
    decision: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What is told of a firing, the same for every endpoint."""
    return {
        "trigger": trigger.rule.name,
        "description": trigger.rule.description,
        "customer_id": customer_id,
        "began_at": iso(edge.began_at),
        "as_of": iso(as_of),
        "rule": trigger.rule.when.text,
        "features": {name: features.get(name) for name in trigger.rule.when.names},
        "evidence": list(evidence),
        "predictions": list(predictions),
        "decision": None if decision is None else dict(decision),
    }


def payload_of(content: Mapping[str, Any], name: str, created_at: int) -> str:
    """The body of the message with the id `name`."""
    body = {
        "type": f"trigger.{content['trigger']}",
        "timestamp": iso(created_at),
        "data": {"message_id": name, **content},
    }
    return _ENCODER.encode(body).decode()


def decision_told(made: Recorded) -> dict[str, Any]:
    """A decision in the words of `POST /v1/decide`, as far as a receiver acts on it; `no_action` says so."""
    decision, of = made.decision, made.origin
    message = of.message
    return {
        "decision_id": decision.decision_id,
        "action": decision.action,
        "variant": decision.variant,
        "language": message.language if message else None,
        "text": message.text if message else None,
        "template": message.template if message else None,
        "channel": decision.channel,
        "send_at": None if decision.send_at is None else iso(decision.send_at),
        "propensity": decision.propensity,
        "expected_value": decision.expected_value,
        "cost": decision.cost,
        "currency": of.currency,
        "basis": decision.basis,
        "holdout": decision.holdout,
        "explored": decision.explored,
        "reasons": [{"code": reason.code, "sentence": reason.sentence} for reason in decision.reasons],
        "problem": None,
    }


def no_decision(code: str) -> dict[str, Any]:
    """There is none, and why."""
    return {"decision_id": None, "action": None, "problem": code}
