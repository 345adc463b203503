"""The twin over HTTP: now and at any past instant, by view, masked, gated by consent; the whole service in process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import bentoml
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.events.moments import decode
from pipelines.events.opening import moments_key, open_moments
from pipelines.events.plan_check import iso
from pipelines.privacy import ENVIRONMENT_KEY, new_key
from pipelines.settings import Settings
from pipelines.twin.fold import TwinFold
from pipelines.twin.instants import read_instant
from pipelines.twin.workspace import show
from serving.api.errors import ApiError
from serving.api.twin import SECTIONS
from serving.predictor import Predictor
from serving.twin.present import Present
from tests.unit.desk_parts import DAY, HOUR, NOON, furnish, order, says
from tests.unit.serving_client import SPECIMEN, check_shape
from tests.unit.twin_api_parts import EMAIL, PHONE, Asking, asking, did, twin_settings

TRAITS = {"email": EMAIL, "phone": PHONE, "name": "Malee Wong", "city": "Bangkok"}


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    patch = pytest.MonkeyPatch()
    patch.setenv(ENVIRONMENT_KEY, new_key())
    settings = twin_settings(tmp_path_factory.mktemp("twins"))
    furnish(settings, customers=4)
    try:
        with asking(settings) as made:
            made.keep(*malee(settings))
            yield made
    finally:
        patch.undo()


def malee(settings: Settings) -> list[Any]:
    """What customer c1 did, some of it known late."""
    views = [
        did(settings, f"v{n}", "Product Viewed", 20 - n, who="c1", properties={"product_id": f"p{n % 3}"})
        for n in range(6)
    ]
    return [
        did(settings, "who", "Customer Identified", 30, who="c1", properties=TRAITS, identifiers={"email": EMAIL}),
        *views,
        did(settings, "cart", "Product Added", 1.5, who="c1", properties={"product_id": "p1"}),
        # Known ten days after it happened.
        did(settings, "late", "Product Viewed", 25, who="c1", arrived=15, properties={"product_id": "late"}),
    ]


def test_now_and_the_log_at_the_same_instant_say_the_same(ask: Asking) -> None:
    for customer in ("c0", "c1", "c2", "c3"):
        now = ask.twin(customer)
        then = ask.twin(customer, as_of=now["as_of"])
        assert (now.pop("read_from"), then.pop("read_from")) == ("states", "log")
        assert [bool(one.pop("predictions")) for one in (now, then)] == [True, False]
        assert [bool(one.pop("predictions_note")) for one in (now, then)] == [False, True]
        for one in (now, then):
            del one["request_id"]
        assert now == then
    assert set(SECTIONS) - {"predictions"} <= now.keys()


def test_it_says_where_the_customer_stands_with_events_behind_it(ask: Asking) -> None:
    said = ask.twin("c1")
    assert said["stage"]["stage"] == "usage"
    cited = {event["event_id"] for trigger in said["triggers"] for event in trigger["evidence"]}
    assert "cart" in cited
    assert said["position"] > 0
    assert said["consents"][0].keys() == {"purpose", "granted", "at", "source"}
    marketing = next(one for one in said["consents"] if one["purpose"] == "marketing")
    assert (marketing["granted"], marketing["at"]) == (True, iso(NOON - 60 * DAY))
    assert {one["kind"] for one in said["identities"]} == {"user_id", "email"}
    assert all(item["probability"] is not None for item in said["predictions"])
    assert said["predictions"][0]["model_version"]


def test_the_past_knows_only_what_had_arrived(ask: Asking) -> None:
    before, after = (ask.twin("c1", as_of=iso(NOON - days * DAY)) for days in (16, 14))
    assert before["profile"]["channels"]["web"] + 3 == after["profile"]["channels"]["web"]
    assert before["position"] < after["position"]
    none = ask.twin("c1", as_of=iso(NOON - 70 * DAY))
    assert [one["granted"] for one in none["consents"]] == [None] * len(none["consents"])
    assert [one["kind"] for one in none["identities"]] == ["user_id"]
    assert none["predictions"] is None
    assert none["predictions_note"]


INSTANTS: list[tuple[str, int, str]] = [
    ("2026-03-04T12:00:00", 400, "invalid_request"),
    ("yesterday", 400, "invalid_request"),
    (SPECIMEN, 400, "invalid_request"),
    ("2999-01-01T00:00:00Z", 400, "future_as_of"),
    ("9999-12-31T23:59:59-23:59", 400, "future_as_of"),
    ("0001-01-01T00:00:00+23:59", 404, "unknown_customer"),
    ("1970-01-01T00:00:00Z", 404, "unknown_customer"),
]


@pytest.mark.parametrize(("as_of", "status", "code"), INSTANTS)
def test_instants_that_cannot_be_answered(ask: Asking, as_of: str, status: int, code: str) -> None:
    details = check_shape(ask.post("/v1/twin", {"customer_id": "c1", "as_of": as_of}), status, code)
    assert details[0]["field"] == "as_of"
    assert SPECIMEN not in str(details)


def test_zones_are_read(ask: Asking) -> None:
    utc, thai = (ask.twin("c1", as_of=text) for text in ("2026-03-01T05:00:00Z", "2026-03-01T12:00:00+07:00"))
    assert utc["as_of"] == thai["as_of"]


def test_by_identifier(ask: Asking) -> None:
    answer = ask.post("/v1/twin", {"identifier": {"kind": "email", "value": EMAIL.upper()}})
    assert answer.json()["customer_id"] == "c1"
    check_shape(ask.post("/v1/twin", {"identifier": {"kind": "email", "value": SPECIMEN}}), 404, "unknown_customer")
    check_shape(ask.post("/v1/twin", {"identifier": {"kind": "colour", "value": "red"}}), 400, "invalid_request")
    check_shape(ask.post("/v1/twin", {}), 400, "invalid_request")
    both = {"customer_id": "c1", "identifier": {"kind": "email", "value": EMAIL}}
    check_shape(ask.post("/v1/twin", both), 400, "invalid_request")
    check_shape(ask.post("/v1/twin", {"customer_id": "nobody"}), 404, "unknown_customer")


def test_views_show_their_sections(ask: Asking) -> None:
    views = ask.settings.twin.views
    for name, view in views.items():
        said = ask.twin("c1", view=name)
        assert said["view"] == name
        assert {section for section in SECTIONS if section in said} == set(view.sections)
    assert {"stage"} == {section for section in SECTIONS if section in ask.twin("c1", sections=["stage"])}
    check_shape(ask.post("/v1/twin", {"customer_id": "c1", "view": "nobody"}), 400, "unknown_view")
    hidden = {"customer_id": "c1", "view": "product", "sections": ["stage", "contacts"]}
    assert check_shape(ask.post("/v1/twin", hidden), 403, "forbidden")[0]["got"] == "contacts"
    check_shape(ask.post("/v1/twin", {"customer_id": "c1", "sections": ["nothing"]}), 400, "invalid_request")


def test_a_key_limited_to_views_sees_those_alone(ask: Asking) -> None:
    assert ask.twin("c1", "marketing")["view"] == "marketing"
    assert ask.twin("c1", "marketing", view="product")["view"] == "product"
    assert "profile" not in ask.twin("c1", "marketing")
    check_shape(ask.post("/v1/twin", {"customer_id": "c1", "view": "service"}, "marketing"), 403, "forbidden")
    asked = {"customer_id": "c1", "sections": ["profile"]}
    check_shape(ask.post("/v1/twin", asked, "marketing"), 403, "forbidden")
    check_shape(ask.post("/v1/timeline", {"customer_id": "c1"}, "marketing"), 403, "forbidden")


def test_persons_are_masked_but_for_administrators_in_a_view_made_for_it(ask: Asking) -> None:
    for hidden in (ask.twin("c1"), ask.twin("c1", view="service"), ask.twin("c1", "marketing")):
        assert not any(value in str(hidden) for value in (EMAIL, PHONE, "Malee", "enc:"))
    shown = ask.twin("c1", "admin")
    assert shown["profile"]["traits"]["email"] == EMAIL
    assert EMAIL in {one["value"] for one in shown["identities"]}
    assert ask.twin("c1")["profile"]["traits"]["email"] == "m•••@s•••"
    assert ask.twin("c1")["profile"]["traits"]["city"] == "Bangkok"
    assert ask.twin("c1", "sales")["profile"]["traits"]["name"] == "Malee Wong"
    assert ask.twin("c1", "admin", view="service")["profile"]["traits"]["phone"] == PHONE


ROUTES = [
    ("/v1/twin", {"customer_id": "c1"}),
    ("/v1/timeline", {"customer_id": "c1"}),
    ("/v1/explain", {"customer_id": "c1", "model": "conversion"}),
    ("/v1/decisions/replay", {"decision_id": "d1"}),
]


@pytest.mark.parametrize(("path", "body"), ROUTES)
def test_keys_are_asked_for(ask: Asking, path: str, body: dict[str, Any]) -> None:
    check_shape(ask.post(path, body, None), 401, "unauthorized")
    check_shape(ask.post(path, body, "reader" if "replay" in path else "reviewer"), 403, "forbidden")
    assert check_shape(ask.post(path, {**body, "colour": 1}, "reviewer" if "replay" in path else "reader"), 400,
                       "invalid_request")  # fmt: skip


def test_who_says_no_is_refused_at_the_next_call(ask: Asking) -> None:
    assert ask.twin("c3")["consents"]
    ask.keep(says("c3", "profiling", False, NOON))
    for path, body in ROUTES[:1] + ROUTES[2:3]:
        check_shape(ask.post(path, {**body, "customer_id": "c3"}), 403, "consent_denied")
    past = {"customer_id": "c3", "as_of": iso(NOON - DAY)}
    check_shape(ask.post("/v1/twin", past), 403, "consent_denied")
    # What happened is a record.
    said = ask.post("/v1/timeline", {"customer_id": "c3"}).json()
    assert said["events"][0]["properties"] == {"purpose": "profiling", "granted": False}
    assert {event["counts"] for event in said["events"]} == {False}
    ask.keep(says("c3", "profiling", True, NOON + 1))
    assert ask.twin("c3")["profile"]["channels"]["web"] > 0


def test_timeline_pages_have_every_event_once_while_events_come(ask: Asking) -> None:
    seen: list[dict[str, Any]] = []
    body: dict[str, Any] = {"customer_id": "c1", "limit": 3}
    at_first = ask.post("/v1/timeline", {"customer_id": "c1", "limit": 200}).json()
    assert at_first["before"] is None
    for number in range(20):
        page = ask.post("/v1/timeline", body).json()
        seen += page["events"]
        if number < 3:
            # Newer than all, and older than what is still to come.
            ask.keep(order(500 + number, "c1", NOON - HOUR + number), order(600 + number, "c1", NOON - 400 * DAY))
        if page["before"] is None:
            break
        body["before"] = page["before"]
    places = [(event["event_time"], event["position"]) for event in seen]
    assert places == sorted(set(places), reverse=True)
    ids = {event["event_id"] for event in seen}
    assert {event["event_id"] for event in at_first["events"]} <= ids
    assert {"o600-c1", "o601-c1", "o602-c1"} <= ids
    orders = ask.post("/v1/timeline", {"customer_id": "c1", "events": ["Product Added"]}).json()
    assert [event["event_id"] for event in orders["events"]] == ["cart"]


def test_timeline_masks_persons_and_leaves_records_of_decisions_out(ask: Asking) -> None:
    ask.client.post("/v1/decide", json={"customer_id": "c1", "decision_id": "shown"})
    hidden = ask.post("/v1/timeline", {"customer_id": "c1"})
    assert not any(value in hidden.text for value in (EMAIL, PHONE, "Malee", "enc:", '"record"'))
    events = {event["event_id"]: event for event in hidden.json()["events"]}
    assert events["shown"]["properties"]["action_id"]
    assert events["who"]["identifiers"] == {"user_id": "c1", "email": "m•••@s•••"}
    assert events["late"]["arrived_at"] > events["late"]["event_time"]
    shown = {
        event["event_id"]: event for event in ask.post("/v1/timeline", {"customer_id": "c1"}, "admin").json()["events"]
    }
    assert shown["who"]["identifiers"]["email"] == EMAIL
    assert shown["who"]["properties"]["name"] == "Malee Wong"


def test_timeline_mistakes(ask: Asking) -> None:
    for more in ({"before": "nonsense"}, {"limit": 0}, {"limit": 201}, {"events": []}, {"before": SPECIMEN}):
        details = check_shape(ask.post("/v1/timeline", {"customer_id": "c1", **more}), 400, "invalid_request")
        assert details[0]["field"] == next(iter(more))
        assert SPECIMEN not in str(details)
    check_shape(ask.post("/v1/timeline", {"customer_id": "nobody"}), 404, "unknown_customer")


def test_reads_between_two_folds_are_read_again(ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    present = Present(ask.settings, TwinFold(ask.settings.twin, ask.settings.features))
    storage, key = open_moments(ask.settings), moments_key(ask.settings)
    whole = storage.get_many(key, ["c2"])["c2"]
    reads = []

    class Behind:
        """The record stands one event behind at first."""

        def get_many(self, of: str, customers: list[str]) -> Any:
            reads.append(of)
            found = storage.get_many(of, customers)
            return {"c2": replace(whole, position=whole.position - 1)} if len(reads) < 3 else found

    before = present.of("c2")
    assert before is not None
    opened = present._opened()
    monkeypatch.setattr(present, "_known", replace(opened, moments=Behind()))
    assert present.of("c2") == before
    assert len(reads) == 3
    monkeypatch.setattr(present, "_known", replace(opened, now=lambda: decode(whole.data).newest_arrival - 2 * DAY))
    with pytest.raises(ApiError) as raised:
        present.of("c2")
    assert raised.value.code == "state_ahead"


def test_a_model_that_cannot_answer_leaves_the_rest_of_the_twin(ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> Any:
        raise ApiError(503, "state_missing", "there are no states")

    monkeypatch.setattr(Predictor, "one", gone)
    said = ask.twin("c1")
    assert said["stage"]["stage"]
    assert said["predictions"]
    for one in said["predictions"]:
        assert (one["probability"], one["error"]["code"]) == (None, "state_missing")


@pytest.mark.parametrize("as_of", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
def test_the_command_too_answers_instants_beyond_all_years(ask: Asking, as_of: str) -> None:
    with pytest.raises(UserError):
        show(ask.settings, "c1", read_instant(as_of), ("stage",))


def test_without_records_it_says_how_to_build_them(ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = replace(ask.settings.twin, kept_of_each=7)
    settings = replace(ask.settings, twin=rules)
    with pytest.raises(ApiError) as raised:
        Present(settings, TwinFold(rules, settings.features)).of("c2")
    assert (raised.value.status, raised.value.code) == (503, "state_missing")
    assert "twin state rebuild" in raised.value.details[0].hint


def test_it_is_documented(ask: Asking) -> None:
    page = ask.client.get("/docs.json").json()
    schemas = page["components"]["schemas"]
    for path, _ in ROUTES:
        post = page["paths"][path]["post"]
        assert {"200", "400", "401", "403", "404", "503"} <= post["responses"].keys()
        assert ("410" in post["responses"]) == (path in ("/v1/explain", "/v1/decisions/replay"))
        name = post["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        assert schemas[name]["example"]["request_id"]
        asked = post["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        assert schemas[asked]["example"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
FIELDS = ["customer_id", "identifier", "as_of", "view", "sections", "before", "limit", "events", "model", "top",
          "context", "request_id", "decision_id"]  # fmt: skip


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from([path for path, _ in ROUTES]), body=st.dictionaries(st.sampled_from(FIELDS), ANYTHING))
def test_whatever_comes_is_answered_in_one_shape(ask: Asking, path: str, body: dict[str, Any]) -> None:
    answer = ask.post(path, body, "reviewer" if "replay" in path else "reader")
    if answer.status_code != 200:
        code = answer.json()["error"]["code"]
        # Of the model that is asked where none is named there is no champion here.
        assert answer.status_code in (400, 404) or code == "model_missing", answer.text
        check_shape(answer, answer.status_code, code)


def test_mistakes_in_what_is_declared_are_told(ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    service = bentoml.get_current_service()
    problem = Problem("triggers.hesitating.when", "a rule", "another text", "", "triggers.yaml")
    monkeypatch.setattr(service.twins, "settings", replace(ask.settings, twin_problems=(problem,)))
    details = check_shape(ask.post("/v1/twin", {"customer_id": "c1"}), 503, "twin_unusable")
    assert details[0]["field"] == "triggers.yaml: triggers.hesitating.when"
