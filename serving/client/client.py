"""The service's calls as methods."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType

import httpx

from serving.api.decide_responses import ActionsResponse, DecideResponse
from serving.api.decision_replay_responses import DecisionReplayResponse
from serving.api.explain_responses import ExplainResponse
from serving.api.outbox_responses import OutboxResponse, State
from serving.api.responses import (
    ModelsResponse,
    PredictManyModelsResponse,
    PredictManyResponse,
    PredictModelsResponse,
    PredictResponse,
)
from serving.api.timeline_responses import TimelineResponse
from serving.api.twin_answer import TwinResponse
from serving.client.bodies import Context, Identifier, given, instant, listed, whom
from serving.client.event_calls import EventCalls
from serving.client.person_calls import PersonCalls
from serving.client.transport import Patience, Transport

DEFAULT_URL = "http://127.0.0.1:3000"
KEY_VARIABLE = "TWIN_API_KEY"
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)


class TwinClient(EventCalls, PersonCalls):
    """The service at `url`. Thread-safe; to be closed, or used with `with`.

    Every method raises `TwinError`. A call that is answered 429 or 503 is sent again as `patience` says. That is
    safe for all of them: what would count twice carries an id, which is made here where none is given.

        with TwinClient() as twin:
            print(twin.predict("17850", reasons=True).probability)
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        timeout: float | httpx.Timeout = _TIMEOUT,
        patience: Patience | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`key` defaults to the environment's TWIN_API_KEY; `timeout` in seconds; `transport` replaces the network."""
        key = key or os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        http = httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport, trust_env=False)
        self._calls = Transport(http, patience or Patience())

    def __enter__(self) -> TwinClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._calls.close()

    def predict(
        self, customer_id: str, model: str | None = None, *, reasons: bool = False, context: Context | None = None
    ) -> PredictResponse:
        """The probability of one customer, and on request the reasons for it."""
        body = given(customer_id=customer_id, model=model, reasons=reasons, context=context)
        return self._calls.post("/v1/predict", body, PredictResponse)

    def predict_models(
        self, customer_id: str, models: Sequence[str], *, reasons: bool = False, context: Context | None = None
    ) -> PredictModelsResponse:
        """What several models say of one customer at one instant; one that cannot answer is an item with an error."""
        body = given(customer_id=customer_id, models=list(models), reasons=reasons, context=context)
        return self._calls.post("/v1/predict", body, PredictModelsResponse)

    def predict_many(
        self,
        customer_ids: Sequence[str],
        model: str | None = None,
        *,
        reasons: bool = False,
        context: Context | None = None,
    ) -> PredictManyResponse:
        """Predictions of one instant, in the order asked for; an unknown customer is an item with an error."""
        body = given(customer_ids=list(customer_ids), model=model, reasons=reasons, context=context)
        return self._calls.post("/v1/predict_many", body, PredictManyResponse)

    def predict_many_models(
        self,
        customer_ids: Sequence[str],
        models: Sequence[str],
        *,
        reasons: bool = False,
        context: Context | None = None,
    ) -> PredictManyModelsResponse:
        """What several models say of each customer, all at one instant."""
        body = given(customer_ids=list(customer_ids), models=list(models), reasons=reasons, context=context)
        return self._calls.post("/v1/predict_many", body, PredictManyModelsResponse)

    def decide(
        self,
        customer_id: str,
        decision_id: str | None = None,
        *,
        reasons: bool = False,
        context: Context | None = None,
    ) -> DecideResponse:
        """The next best action. It counts: without a `decision_id` each call is a decision of its own."""
        one = decision_id or str(uuid.uuid4())
        body = given(customer_id=customer_id, decision_id=one, reasons=reasons, context=context)
        return self._calls.post("/v1/decide", body, DecideResponse)

    def twin(
        self,
        customer_id: str | None = None,
        *,
        identifier: Identifier | None = None,
        as_of: datetime | None = None,
        view: str | None = None,
        sections: Sequence[str] | None = None,
    ) -> TwinResponse:
        """One customer, now or `as_of` a past instant with an offset, whole or as `view` shows them."""
        wanted = given(as_of=instant(as_of), view=view, sections=listed(sections))
        return self._calls.post("/v1/twin", {**whom(customer_id, identifier), **wanted}, TwinResponse)

    def timeline(
        self,
        customer_id: str | None = None,
        *,
        identifier: Identifier | None = None,
        before: str | None = None,
        limit: int = 50,
        events: Sequence[str] | None = None,
    ) -> TimelineResponse:
        """A page of their events, newest first; `before` of the answer asks for the next one."""
        wanted = given(before=before, limit=limit, events=listed(events))
        return self._calls.post("/v1/timeline", {**whom(customer_id, identifier), **wanted}, TimelineResponse)

    def explain(
        self,
        customer_id: str | None = None,
        model: str | None = None,
        *,
        request_id: str | None = None,
        top: int | None = None,
        context: Context | None = None,
    ) -> ExplainResponse:
        """Every contribution to the prediction of now, or to the one that was served under `request_id`."""
        body = given(customer_id=customer_id, model=model, request_id=request_id, top=top, context=context)
        return self._calls.post("/v1/explain", body, ExplainResponse)

    def replay_decision(self, decision_id: str) -> DecisionReplayResponse:
        """A logged decision made again, and everything that comes out otherwise."""
        return self._calls.post("/v1/decisions/replay", {"decision_id": decision_id}, DecisionReplayResponse)

    def outbox(
        self,
        customer_id: str | None = None,
        *,
        state: State | None = None,
        trigger: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> OutboxResponse:
        """The messages that triggers set off, oldest first; `next` of the answer is to be asked `after`."""
        body = given(customer_id=customer_id, state=state, trigger=trigger, after=after, limit=limit)
        return self._calls.post("/v1/outbox", body, OutboxResponse)

    def models(self) -> ModelsResponse:
        """The configured models, and the champion that is served for each."""
        return self._calls.get("/v1/models", ModelsResponse)

    def actions(self) -> ActionsResponse:
        """The catalogue of actions that decides now."""
        return self._calls.get("/v1/actions", ActionsResponse)
