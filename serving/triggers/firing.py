"""A trigger fires: predictions of the models it asks, a decision where it wants one, and the messages for it.

What cannot be had, such as a model that is not served, is said in the message; it holds nothing up. What may come back
in a moment is raised, and the trigger fires then: the decision's id follows from the episode, so it is decided once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from feature_repo.state.read import FeatureValue
from pipelines.catalogue import NO_ACTION, Catalogue
from pipelines.identity.desk import OpenFiles
from pipelines.outbox.edges import Edge
from pipelines.outbox.messages import Message, decision_id, message_id
from pipelines.settings.webhooks import Endpoint
from pipelines.twin.rules import Trigger
from serving.api import request_id
from serving.api.answers import reasons_of
from serving.api.errors import ApiError
from serving.bootstrap import Wiring
from serving.decisions.desk import Asked, Decided
from serving.served_log import ServedLog, now
from serving.triggers.payload import content_of, decision_told, no_decision, payload_of
from serving.triggers.reading import Clock

# A decision of before, on an action that the catalogue of now does not have.
_NOT_OFFERED = "action_not_offered_any_more"
# Of a decision these say that it can be had in a moment; all else stays as it is.
_PASSING = ("state_unavailable", "state_missing", "state_mismatch", "state_ahead", "identity_unavailable")
# Of a prediction: states may lack for one model alone, and for long, which is to hold nobody up.
_PASSING_OF_ONE = ("state_unavailable", "prediction_not_logged")


class Decides(Protocol):
    """The part of the desk that is needed."""

    def decide(self, asked: Asked, files: OpenFiles) -> Decided: ...


@dataclass(frozen=True, slots=True)
class Moment:
    """What was seen of a customer when a trigger fired."""

    customer_id: str
    as_of: int
    features: Mapping[str, FeatureValue]
    evidence: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Firing:
    """Makes the messages of what fires. `wall` is when they are made, and what `not_before` is measured with."""

    endpoints: Sequence[Endpoint]
    wiring: Callable[[], Wiring]
    catalogue: Callable[[], Catalogue]
    desk: Decides
    files: Callable[[], OpenFiles]
    served: ServedLog
    wall: Clock

    def messages(self, trigger: Trigger, edge: Edge, seen: Moment) -> list[Message]:
        """One for each endpoint that takes the trigger; one that is kept where none does.

        Raises:
            ApiError: 503, states cannot be read now. LedgerUnavailable, JournalUnavailable, StateUnavailable,
                StatesBusy, ErasureRuns, sqlite3.Error: nothing can be kept now. Try again.
        """
        name = trigger.rule.name
        request_id.current.set(message_id(edge.customer_id, name, edge.began_at, None))
        predictions = [self._prediction(model, seen.customer_id) for model in trigger.predictions]
        decided = self._decision(trigger, edge, seen.customer_id) if trigger.decide else None
        told, purpose, not_before = _told(decided, self._catalogue())
        content = content_of(
            trigger, edge, seen.customer_id, seen.as_of, seen.features, seen.evidence, predictions, told
        )
        takers: list[str | None] = [endpoint.name for endpoint in self.endpoints if endpoint.takes(name)]
        made = self.wall()
        return [self._message(edge, endpoint, content, made, purpose, not_before) for endpoint in takers or [None]]

    def _message(
        self,
        edge: Edge,
        endpoint: str | None,
        content: Mapping[str, Any],
        made: int,
        purpose: str | None,
        not_before: int | None,
    ) -> Message:
        name = message_id(edge.customer_id, edge.trigger, edge.began_at, endpoint)
        return Message(
            id=name,
            customer_id=edge.customer_id,
            trigger=edge.trigger,
            began_at=edge.began_at,
            endpoint=endpoint,
            created_at=made,
            payload=payload_of(content, name, made),
            purpose=purpose,
            not_before=not_before,
            state="waiting" if endpoint else "kept",
            next_attempt_at=max(made, not_before or 0),
        )

    def _prediction(self, model: str, customer_id: str) -> dict[str, Any]:
        nothing: dict[str, Any] = {"model": model, "model_version": None, "probability": None, "reasons": None}
        try:
            predictor = self.wiring().predictor(model)
            began = now()
            as_of, prediction = predictor.one(customer_id, reasons=True)
            written = self.served.add(predictor.champion, began, as_of, [prediction])
            if written is not None:
                written.result()
        except ApiError as error:
            if error.code in _PASSING_OF_ONE:
                raise
            return nothing | {"problem": error.code}
        reasons = reasons_of(prediction)
        return nothing | {
            "model_version": predictor.champion.version,
            "probability": prediction.probability,
            "reasons": None if reasons is None else [reason.sentence for reason in reasons],
            "problem": None if prediction.probability is not None else "unknown_customer",
        }

    def _decision(self, trigger: Trigger, edge: Edge, customer_id: str) -> Decided | str:
        name = decision_id(edge.customer_id, edge.trigger, edge.began_at)
        try:
            return self.desk.decide(Asked(customer_id, name, offer=trigger.offer), self.files())
        except ApiError as error:
            if error.code in _PASSING:
                raise
            return error.code

    def _catalogue(self) -> Catalogue | None:
        try:
            return self.catalogue()
        except ApiError:
            return None


def _told(
    decided: Decided | str | None, catalogue: Catalogue | None
) -> tuple[dict[str, Any] | None, str | None, int | None]:
    """The decision as it is told, the purpose that it needs, and the instant before which nothing is to be sent."""
    if decided is None:
        return None, None, None
    if isinstance(decided, str):
        return no_decision(decided), None, None
    decision = decided.recorded.decision
    if decision.action == NO_ACTION:
        return decision_told(decided.recorded), None, decision.send_at
    purposes = {action.id: action.purpose for action in catalogue.actions} if catalogue is not None else {}
    if decision.action not in purposes:
        # Nobody could tell whether the customer still allows it.
        return no_decision(_NOT_OFFERED), None, decision.send_at
    return decision_told(decided.recorded), purposes[decision.action], decision.send_at
