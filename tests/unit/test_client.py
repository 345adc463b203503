"""The client: what it sends, what it does with answers that are none, and how little it needs."""

from __future__ import annotations

import gzip
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, get_args

import httpx
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from pipelines.outbox import MessageState
from serving.api.errors import ApiError, ErrorDetail
from serving.api.identity_responses import ReviewedPair
from serving.api.openapi import api_page
from serving.api.outbox_responses import State
from serving.api.responses import PredictManyModelsResponse, PredictModelsResponse
from serving.client import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    Patience,
    ServerFault,
    TwinClient,
    TwinError,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from serving.client.events import MOST_BYTES, MOST_EVENTS, batches

HEAVY = {"bentoml", "numpy", "starlette", "pandas", "duckdb", "deltalake", "pyarrow", "lightgbm", "mlflow", "feast"}
PAGE = api_page()
LEFT, RIGHT = ("user_id", "a"), ("user_id", "b")
# A call of each method, and the path it goes to.
CALLS: dict[str, tuple[str, Callable[[TwinClient], Any]]] = {
    "predict": ("/v1/predict", lambda twin: twin.predict("c", "churn", reasons=True, context={"cart": 1})),
    "predict_many": ("/v1/predict_many", lambda twin: twin.predict_many(["c", "d"])),
    "predict_models": ("/v1/predict", lambda twin: twin.predict_models("c", ["churn", "conversion"])),
    "predict_many_models": ("/v1/predict_many", lambda twin: twin.predict_many_models(["c"], ["churn"], reasons=True)),
    "decide": ("/v1/decide", lambda twin: twin.decide("c")),
    "twin": ("/v1/twin", lambda twin: twin.twin("c", as_of=datetime(2026, 3, 4, tzinfo=UTC), sections=["stage"])),
    "timeline": ("/v1/timeline", lambda twin: twin.timeline(identifier=LEFT, limit=3, events=["Page Viewed"])),
    "explain": ("/v1/explain", lambda twin: twin.explain("c", top=3)),
    "replay_decision": ("/v1/decisions/replay", lambda twin: twin.replay_decision("d")),
    "track": ("/v1/track", lambda twin: twin.track("Order Completed", {"total": 1}, userId="c")),
    "identify": ("/v1/identify", lambda twin: twin.identify({"plan": "gold"}, userId="c")),
    "page": ("/v1/page", lambda twin: twin.page("Home", userId="c")),
    "screen": ("/v1/screen", lambda twin: twin.screen("Home", userId="c")),
    "group": ("/v1/group", lambda twin: twin.group("g", userId="c")),
    "alias": ("/v1/alias", lambda twin: twin.alias("c", "before")),
    "batch": ("/v1/batch", lambda twin: twin.batch([{"type": "track", "event": "e", "userId": "c"}])),
    "send": ("/v1/batch", lambda twin: twin.send([{"type": "track", "event": "e", "userId": "c"}])),
    "events": ("/v1/events", lambda twin: twin.events([{"specversion": "1.0", "id": "1", "source": "/", "type": "t"}])),
    "consent": ("/v1/consent", lambda twin: twin.consent({"marketing": True}, identifier=LEFT)),
    "consent_read": ("/v1/consent/read", lambda twin: twin.consent_read("c")),
    "resolve": ("/v1/identity/resolve", lambda twin: twin.resolve(identifier=LEFT)),
    "merge": ("/v1/identity/merge", lambda twin: twin.merge(LEFT, RIGHT)),
    "unmerge": ("/v1/identity/unmerge", lambda twin: twin.unmerge(LEFT, RIGHT, "asked")),
    "waiting_pairs": ("/v1/identity/review", lambda twin: twin.waiting_pairs(10)),
    "review": ("/v1/identity/review", lambda twin: twin.review("pair", "accept")),
    "privacy_access": ("/v1/privacy/access", lambda twin: twin.privacy_access("case 1", "c")),
    "privacy_erase": ("/v1/privacy/erase", lambda twin: twin.privacy_erase("case 1", identifier=LEFT)),
    "outbox": ("/v1/outbox", lambda twin: twin.outbox("c", state="waiting", limit=3)),
    "models": ("/v1/models", lambda twin: twin.models()),
    "actions": ("/v1/actions", lambda twin: twin.actions()),
}


class Peer:
    """Answers the client in its own process: `answers` in their order, then the example of the page."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        good = PAGE["paths"][request.url.path][request.method.lower()]["responses"]["200"]
        return httpx.Response(200, json=good["content"]["application/json"]["example"])

    def bodies(self) -> list[Any]:
        return [_body(request) for request in self.asked]


def _body(request: httpx.Request) -> Any:
    packed = request.headers.get("content-encoding") == "gzip"
    return json.loads(gzip.decompress(request.content) if packed else request.content)


def client(peer: Peer, waits: list[float] | None = None, **options: Any) -> TwinClient:
    twin = TwinClient("http://twin", transport=httpx.MockTransport(peer), **options)
    twin._calls._sleep = ([] if waits is None else waits).append
    return twin


def refusal(status: int, code: str = "code", **headers: str) -> httpx.Response:
    detail = ErrorDetail(field="customer_id", expected="text", got="a number")
    return httpx.Response(status, content=ApiError(status, code, "message", [detail]).body("r-1"), headers=headers)


def test_every_route_that_takes_a_call_has_a_method() -> None:
    posts = {path for path, item in PAGE["paths"].items() if "post" in item}
    assert posts - {path for path, _ in CALLS.values()} == set()


def test_every_method_is_tried_here() -> None:
    methods = {name for name, _ in inspect.getmembers(TwinClient, inspect.isfunction) if not name.startswith("_")}
    assert methods - {"close"} == CALLS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_what_a_method_sends_fits_the_page_and_its_answer_is_typed(name: str) -> None:
    path, call = CALLS[name]
    good = Peer(*_answered_otherwise(name))
    answer = call(client(good))
    (request,) = good.asked
    assert request.url.path == path
    assert answer.request_id
    with pytest.raises(Exception, match="frozen"):
        answer.request_id = "another"
    if request.method == "POST":
        content = PAGE["paths"][path]["post"]["requestBody"]["content"][request.headers["content-type"]]
        schema = {**content["schema"], "components": PAGE["components"]}
        jsonschema.Draft202012Validator(schema).validate(_body(request))


OTHERWISE: dict[str, type[BaseModel]] = {
    "review": ReviewedPair, "predict_models": PredictModelsResponse, "predict_many_models": PredictManyModelsResponse
}  # fmt: skip


def _answered_otherwise(name: str) -> list[httpx.Response]:
    """The answer to a call that has another one than the example of its path."""
    model = OTHERWISE.get(name)
    return [] if model is None else [httpx.Response(200, json=model.model_json_schema()["example"])]


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWIN_API_KEY", "from-there")
    peer = Peer()
    client(peer).models()
    client(peer, key="given").models()
    assert [request.headers["authorization"] for request in peer.asked] == ["Bearer from-there", "Bearer given"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest), (401, Unauthorized), (403, Forbidden), (404, NotFound), (409, Conflict),
        (413, InvalidRequest), (415, InvalidRequest), (431, InvalidRequest), (500, ServerFault), (504, Unavailable),
    ],
)  # fmt: skip
def test_an_error_is_typed_and_says_all_that_the_service_said(status: int, kind: type[TwinError]) -> None:
    peer = Peer(refusal(status, "a_code"))
    with pytest.raises(kind) as raised:
        client(peer).predict("c")
    error = raised.value
    assert (error.status, error.code, error.message, error.request_id) == (status, "a_code", "message", "r-1")
    assert error.details[0].field == "customer_id"
    assert "customer_id: expected text" in str(error)
    assert len(peer.asked) == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_sent_again_and_word_for_word(name: str, status: int) -> None:
    peer = Peer(refusal(status, **{"Retry-After": "3"}), refusal(status))
    peer.answers += _answered_otherwise(name)
    waits: list[float] = []
    CALLS[name][1](client(peer, waits))
    assert len({request.content for request in peer.asked}) == 1
    assert len(peer.asked) == 3
    assert waits[0] == 3
    assert 0 < waits[1] < 1


def test_it_gives_up_and_says_when_to_come_again() -> None:
    peer = Peer(*(refusal(503, **{"Retry-After": "2"}) for _ in range(9)))
    waits: list[float] = []
    with pytest.raises(Unavailable) as raised:
        client(peer, waits, patience=Patience(attempts=3)).predict("c")
    assert (len(peer.asked), waits, raised.value.retry_after) == (3, [2, 2], 2)


def test_who_is_told_to_wait_for_long_is_not_held_up() -> None:
    peer = Peer(refusal(503, **{"Retry-After": "3600"}))
    with pytest.raises(Unavailable) as raised:
        client(peer).predict("c")
    assert raised.value.retry_after == 3600
    assert len(peer.asked) == 1


def test_a_service_that_is_away_is_looked_for_again() -> None:
    peer = Peer(httpx.ConnectError("refused"), httpx.ConnectError("refused"))
    assert client(peer).predict("c").probability == 0.62


def test_an_answer_that_does_not_come_is_an_error_of_its_own() -> None:
    peer = Peer(httpx.ReadTimeout("late"))
    with pytest.raises(Unreachable) as raised:
        client(peer).predict("c")
    assert (raised.value.status, raised.value.code) == (None, "no_answer")


@pytest.mark.parametrize("body", [b"<html>", b"{}", b""])
def test_what_is_not_this_service_is_told_so(body: bytes) -> None:
    with pytest.raises(ServerFault, match="not this service's"):
        client(Peer(httpx.Response(502, content=body))).predict("c")
    with pytest.raises(ServerFault, match="cannot read"):
        client(Peer(httpx.Response(200, content=body))).predict("c")


def test_a_newer_service_may_say_more() -> None:
    good = PAGE["paths"]["/v1/predict"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    assert client(Peer(httpx.Response(200, json={**good, "news": 1}))).predict("c").customer_id == "17850"


def test_a_decision_without_an_id_gets_one_of_its_own() -> None:
    peer = Peer()
    twin = client(peer)
    for _ in range(2):
        twin.decide("c")
    twin.decide("c", "mine")
    first, second, third = (body["decision_id"] for body in peer.bodies())
    assert first != second
    assert third == "mine"


def test_an_instant_without_an_offset_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="offset"):
        client(Peer()).twin("c", as_of=datetime(2026, 3, 4))


def test_large_bodies_of_events_are_packed() -> None:
    peer = Peer()
    twin = client(peer)
    twin.track("e", {"text": "x" * 10_000}, userId="c")
    twin.track("e", userId="c")
    assert [request.headers.get("content-encoding") for request in peer.asked] == ["gzip", None]
    assert peer.bodies()[0]["properties"] == {"text": "x" * 10_000}


EVENTS = st.lists(st.integers(1, 200_000), max_size=12) | st.integers(0, 350).map(lambda count: [10] * count)


@given(EVENTS)
def test_batches_hold_all_events_once_in_their_order_and_keep_the_limits(sizes: list[int]) -> None:
    events = [{"userId": str(place), "text": "x" * size} for place, size in enumerate(sizes)]
    made = list(batches(events))
    assert [event["userId"] for batch in made for event in batch] == [event["userId"] for event in events]
    assert all(0 < len(batch) <= MOST_EVENTS for batch in made)
    assert all(len(batch) == 1 or len(json.dumps(batch)) < 1.01 * MOST_BYTES for batch in made)
    assert len({event["messageId"] for batch in made for event in batch}) == len(events)


def test_places_in_the_answer_are_those_of_the_events_that_were_sent() -> None:
    rejected = {"index": 4, "field": "event", "expected": "a name", "got": "nothing", "hint": ""}
    told = {"success": True, "request_id": "r", "accepted": 99, "duplicates": 0, "rejected_events": 1}
    told |= {"rejected": [rejected], "unplanned": [7], "clamped": [0]}
    peer = Peer(*(httpx.Response(200, json=told) for _ in range(3)))
    answer = client(peer).send({"userId": str(number)} for number in range(250))
    assert [len(body["batch"]) for body in peer.bodies()] == [100, 100, 50]
    assert (answer.accepted, answer.rejected_events) == (297, 3)
    assert [item.index for item in answer.rejected] == [4, 104, 204]
    assert (answer.unplanned, answer.clamped) == ([7, 107, 207], [0, 100, 200])


def test_nothing_to_send_is_no_call() -> None:
    peer = Peer()
    assert client(peer).send([]).accepted == 0
    assert peer.asked == []


def test_without_a_service_it_says_where_none_answers() -> None:
    with (
        TwinClient("http://127.0.0.1:9", patience=Patience(attempts=1)) as twin,
        pytest.raises(Unreachable, match=":9"),
    ):
        twin.models()


def test_states_of_messages_are_those_of_the_outbox() -> None:
    assert get_args(State) == get_args(MessageState)


def test_importing_it_is_light() -> None:
    look = "import sys, time; began = time.process_time(); import serving.client;"
    look += "print(time.process_time() - began); print(*{name.partition('.')[0] for name in sys.modules})"
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout
    seconds, names = told.splitlines()
    assert HEAVY & set(names.split()) == set()
    # 0.5 s on a busy core, most of it httpx; the service's own imports take 3.
    assert float(seconds) < 2
