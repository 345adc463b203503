"""`POST /v1/decisions/replay`: a logged decision made again, and everything that comes out otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from starlette.routing import Route

from pipelines.access import AccessKey
from serving.api import request_id
from serving.api.answers import iso
from serving.api.decision_replay_responses import DecisionReplayResponse, DifferenceItem, MadeItem
from serving.api.reads import HasTwins, check_sees, handler
from serving.api.requests import DecisionId, RequestBody
from serving.twin.replayed import Made, Replayed


class DecisionReplayRequest(RequestBody):
    """Which decision is to be made again."""

    model_config = ConfigDict(json_schema_extra={"example": {"decision_id": "campaign-7.17850"}})
    expected: ClassVar[Mapping[str, str]] = {
        "decision_id": "text of 1 to 100 characters, each a letter, a digit or one of _.:-",
    }

    decision_id: DecisionId


async def _replay(service: HasTwins, body: Any, key: AccessKey) -> BaseModel:
    request: DecisionReplayRequest = body
    check_sees(service.twins.settings, key, None)
    done = await service.twins.threads.run(lambda: service.twins.replay(request.decision_id))
    return _answer(done)


def _answer(done: Replayed) -> DecisionReplayResponse:
    decision, origin = done.recorded.decision, done.recorded.origin
    return DecisionReplayResponse(
        request_id=request_id.current.get(),
        decision_id=decision.decision_id,
        customer_id=decision.customer_id,
        as_of=iso(decision.as_of),
        catalogue=done.recorded.catalogue,
        model=origin.model,
        model_version=origin.model_version,
        recorded=_made(done.before),
        again=_made(done.again),
        differences=[
            DifferenceItem(where=one.where, field=one.field, recorded=_plain(one.recorded), again=_plain(one.again))
            for one in done.differences
        ],
        not_replayed=list(done.not_replayed),
    )


def _made(made: Made) -> MadeItem:
    return MadeItem(decision=_plain(made.decision), features=_plain(made.features), predicted=_plain(made.predicted))


def _plain(value: Any) -> Any:
    """As JSON has it: no tuples."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


# path: body, scopes (one of them is enough), what it reads.
BODIES = {"/v1/decisions/replay": (DecisionReplayRequest, ("review",), _replay)}
ANSWERS = {"/v1/decisions/replay": DecisionReplayResponse}
ROUTES = [Route(path, handler(*parts), methods=["POST"]) for path, parts in BODIES.items()]
