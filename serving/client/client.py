"""The service's calls as methods."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Literal

import httpx

from serving.api.consent_responses import ConsentReadResponse, ConsentResponse
from serving.api.decide_responses import ActionsResponse, DecideResponse
from serving.api.decision_replay_responses import DecisionReplayResponse
from serving.api.explain_responses import ExplainResponse
from serving.api.identity_responses import DecisionResponse, ResolveResponse, ReviewedPair, WaitingPairs
from serving.api.ingest_responses import IngestResponse
from serving.api.outbox_responses import OutboxResponse, State
from serving.api.privacy_responses import AccessResponse, EraseResponse
from serving.api.responses import ModelsResponse, PredictManyResponse, PredictResponse
from serving.api.timeline_responses import TimelineResponse
from serving.api.twin_answer import TwinResponse
from serving.client.events import Event, batches, identified, joined
from serving.client.transport import Patience, Transport

DEFAULT_URL = "http://127.0.0.1:3000"
KEY_VARIABLE = "TWIN_API_KEY"
# Seconds; an erasure or an access may take long, and begins to answer at once.
_TIMEOUT, _LONG_TIMEOUT = httpx.Timeout(30.0, connect=5.0), 600.0
_CLOUD_EVENTS = "application/cloudevents-batch+json"

Identifier = tuple[str, str]
Context = Mapping[str, int | str | None]


class TwinClient:
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
        body = _given(customer_id=customer_id, model=model, reasons=reasons, context=context)
        return self._calls.post("/v1/predict", body, PredictResponse)

    def predict_many(
        self,
        customer_ids: Sequence[str],
        model: str | None = None,
        *,
        reasons: bool = False,
        context: Context | None = None,
    ) -> PredictManyResponse:
        """Predictions of one instant, in the order asked for; an unknown customer is an item with an error."""
        body = _given(customer_ids=list(customer_ids), model=model, reasons=reasons, context=context)
        return self._calls.post("/v1/predict_many", body, PredictManyResponse)

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
        body = _given(customer_id=customer_id, decision_id=one, reasons=reasons, context=context)
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
        wanted = _given(as_of=_instant(as_of), view=view, sections=_listed(sections))
        return self._calls.post("/v1/twin", {**_whom(customer_id, identifier), **wanted}, TwinResponse)

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
        wanted = _given(before=before, limit=limit, events=_listed(events))
        return self._calls.post("/v1/timeline", {**_whom(customer_id, identifier), **wanted}, TimelineResponse)

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
        body = _given(customer_id=customer_id, model=model, request_id=request_id, top=top, context=context)
        return self._calls.post("/v1/explain", body, ExplainResponse)

    def replay_decision(self, decision_id: str) -> DecisionReplayResponse:
        """A logged decision made again, and everything that comes out otherwise."""
        return self._calls.post("/v1/decisions/replay", {"decision_id": decision_id}, DecisionReplayResponse)

    def send(self, events: Iterable[Event]) -> IngestResponse:
        """Send calls of Segment's protocol, each with its `type`, in as many batches as it takes.

        Places in the answer are those in `events`. Where a batch fails, those before it have been taken, and sending
        all again is safe if each has a `messageId`.
        """
        answers: list[tuple[int, IngestResponse]] = []
        first = 0
        for batch in batches(events):
            answers.append((first, self.batch(batch)))
            first += len(batch)
        return joined(answers)

    def batch(self, events: Sequence[Event]) -> IngestResponse:
        """The same in one call."""
        body = {"batch": [identified(event) for event in events]}
        return self._calls.post_packed("/v1/batch", body, IngestResponse)

    def track(self, event: str, properties: Mapping[str, Any] | None = None, **call: Any) -> IngestResponse:
        """Something that a customer did. `call` has the protocol's fields: `userId`, `timestamp`, `context`, ..."""
        return self._segment("track", event=event, properties=properties, **call)

    def identify(self, traits: Mapping[str, Any] | None = None, **call: Any) -> IngestResponse:
        """Who somebody is."""
        return self._segment("identify", traits=traits, **call)

    def page(self, name: str | None = None, properties: Mapping[str, Any] | None = None, **call: Any) -> IngestResponse:
        """A page that was viewed."""
        return self._segment("page", name=name, properties=properties, **call)

    def screen(
        self, name: str | None = None, properties: Mapping[str, Any] | None = None, **call: Any
    ) -> IngestResponse:
        """A screen that was viewed."""
        return self._segment("screen", name=name, properties=properties, **call)

    def group(self, group_id: str, traits: Mapping[str, Any] | None = None, **call: Any) -> IngestResponse:
        """A group that a customer belongs to."""
        return self._segment("group", groupId=group_id, traits=traits, **call)

    def alias(self, user_id: str, previous_id: str, **call: Any) -> IngestResponse:
        """Another id that a customer had before."""
        return self._segment("alias", userId=user_id, previousId=previous_id, **call)

    def _segment(self, kind: str, **call: Any) -> IngestResponse:
        return self._calls.post_packed(f"/v1/{kind}", identified(_given(**call)), IngestResponse)

    def events(self, events: Sequence[Event]) -> IngestResponse:
        """Send CloudEvents 1.0, in their JSON format, in one call; `source` and `id` together count once."""
        return self._calls.post_packed("/v1/events", list(events), IngestResponse, _CLOUD_EVENTS)

    def consent(
        self,
        purposes: Mapping[str, bool],
        customer_id: str | None = None,
        *,
        identifier: Identifier | None = None,
        note: str | None = None,
        idempotency_key: str | None = None,
    ) -> ConsentResponse:
        """Take in what a customer said; purposes that are left out stay as they are."""
        body = {
            **_whom(customer_id, identifier),
            **_given(purposes=dict(purposes), note=note, idempotency_key=idempotency_key or str(uuid.uuid4())),
        }
        return self._calls.post("/v1/consent", body, ConsentResponse)

    def consent_read(
        self, customer_id: str | None = None, *, identifier: Identifier | None = None
    ) -> ConsentReadResponse:
        """What holds for a customer, purpose by purpose."""
        return self._calls.post("/v1/consent/read", _whom(customer_id, identifier), ConsentReadResponse)

    def resolve(self, customer_id: str | None = None, *, identifier: Identifier | None = None) -> ResolveResponse:
        """Who somebody is: identifiers, and the links between them with their evidence."""
        return self._calls.post("/v1/identity/resolve", _person(customer_id, identifier), ResolveResponse)

    def merge(self, left: Identifier, right: Identifier, note: str | None = None) -> DecisionResponse:
        """Both identifiers are of one customer."""
        return self._calls.post("/v1/identity/merge", _ends(left, right, note), DecisionResponse)

    def unmerge(self, left: Identifier, right: Identifier, note: str | None = None) -> DecisionResponse:
        """They are of two."""
        return self._calls.post("/v1/identity/unmerge", _ends(left, right, note), DecisionResponse)

    def waiting_pairs(self, limit: int = 100) -> WaitingPairs:
        """The pairs of customers who may be one, and wait for somebody to decide."""
        return self._calls.post("/v1/identity/review", {"limit": limit}, WaitingPairs)

    def review(self, pair: str, verdict: Literal["accept", "reject"], note: str | None = None) -> ReviewedPair:
        """Decide one of them, for ever."""
        return self._calls.post("/v1/identity/review", _given(pair=pair, verdict=verdict, note=note), ReviewedPair)

    def privacy_access(
        self, reason: str, customer_id: str | None = None, *, identifier: Identifier | None = None
    ) -> AccessResponse:
        """Everything that is held about a customer, in the clear. Audited, with `reason`."""
        body = {**_person(customer_id, identifier), "reason": reason}
        return self._calls.post("/v1/privacy/access", body, AccessResponse, _LONG_TIMEOUT)

    def privacy_erase(
        self, reason: str, customer_id: str | None = None, *, identifier: Identifier | None = None
    ) -> EraseResponse:
        """Erase a customer for ever. Audited, with `reason`."""
        body = {**_person(customer_id, identifier), "reason": reason}
        return self._calls.post("/v1/privacy/erase", body, EraseResponse, _LONG_TIMEOUT)

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
        body = _given(customer_id=customer_id, state=state, trigger=trigger, after=after, limit=limit)
        return self._calls.post("/v1/outbox", body, OutboxResponse)

    def models(self) -> ModelsResponse:
        """The configured models, and the champion that is served for each."""
        return self._calls.get("/v1/models", ModelsResponse)

    def actions(self) -> ActionsResponse:
        """The catalogue of actions that decides now."""
        return self._calls.get("/v1/actions", ActionsResponse)


def _given(**fields: Any) -> dict[str, Any]:
    """The fields that are not None: the service has its own defaults."""
    return {name: value for name, value in fields.items() if value is not None}


def _listed(items: Sequence[str] | None) -> list[str] | None:
    return None if items is None else list(items)


def _instant(at: datetime | None) -> str | None:
    """Raises ValueError for one without an offset: it could be any of 24 hours."""
    if at is not None and at.tzinfo is None:
        raise ValueError("as_of: expected an instant with an offset, got one without; use tzinfo=UTC")
    return None if at is None else at.isoformat()


def _form(identifier: Identifier) -> dict[str, str]:
    return {"kind": identifier[0], "value": identifier[1]}


def _whom(customer_id: str | None, identifier: Identifier | None) -> dict[str, Any]:
    return _given(customer_id=customer_id, identifier=None if identifier is None else _form(identifier))


def _person(customer_id: str | None, identifier: Identifier | None) -> dict[str, Any]:
    return _given(customer_id=customer_id, **({} if identifier is None else _form(identifier)))


def _ends(left: Identifier, right: Identifier, note: str | None) -> dict[str, Any]:
    return _given(left=_form(left), right=_form(right), note=note)
