"""Several models in one call: the answers of single calls at the same instant, to the last bit, from fewer reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from feature_repo.online import FeatureReader
from feature_repo.spec_content import FILE, text_of
from feature_repo.state.build import build_states
from feature_repo.state.read import AsOfTooEarly
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from feature_repo.windows import DAY
from pipelines.served_log import draw
from pipelines.settings import Settings
from serving.api.answers import iso
from serving.api.errors import ApiError
from serving.bootstrap import Wiring, wire
from serving.observing.measures import PREDICTIONS
from serving.served_log import ServedLog, not_kept
from serving.several import several
from tests.changed_spec import ADDED, changed_settings
from tests.contract.feature_lake import CUSTOMERS, write_lake
from tests.unit.serving_client import check_shape, serve
from tests.unit.serving_parts import Shop, make_shop, publish, train

# `visit` reads a context, `later` the features of another spec, and `missing` has no champion.
MODELS = ("churn", "visit", "later", "missing")
CONTEXT = {"cart_value": 40_000, "channel": "web"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Real states of two specs."""
    folder = tmp_path_factory.mktemp("several")
    made = make_shop(folder)
    churn = made.settings.models["churn"]
    of_visit = churn.model_copy(update={"name": "visit", "feature_service": "visit"})
    others = {name: churn.model_copy(update={"name": name}) for name in ("later", "missing")}
    made.settings = replace(made.settings, models={"churn": churn, "visit": of_visit, **others})
    changed = changed_settings(made.settings, folder / "changed")
    workspace = made.settings.workspace
    write_lake(workspace.lake)
    storage = SQLiteStateStorage(workspace.state)
    for settings in (made.settings, changed):
        build_states(settings.features, workspace.lake, storage)
    _publish(made.settings, "churn", "3", "churn", 7)
    _publish(made.settings, "visit", "5", "visit", 8)
    _publish(changed, "later", "2", "churn", 9)
    return made


def _publish(settings: Settings, name: str, version: str, service: str, seed: int) -> None:
    names = list(settings.features.service_features(service))
    known: dict[str, Any] = {"features": names, "feature_service": service}
    folder = publish(settings, name, version, train(names, seed), **known)
    (folder / FILE).write_text(text_of(settings.spec_file))


@pytest.fixture(scope="module")
def wiring(shop: Shop) -> Wiring:
    return wire(shop.settings)


@pytest.fixture(scope="module")
def client(shop: Shop) -> Iterator[TestClient]:
    with serve(shop, real_states=True) as made:
        yield made


CONTEXTS = st.fixed_dictionaries({}, optional={
    "cart_value": st.none() | st.integers(-(10**12), 10**12), "channel": st.sampled_from(["web", "app", "fax", None]),
})  # fmt: skip
SOME = st.lists(st.sampled_from(MODELS[:3]), min_size=1, max_size=3, unique=True)


@hypothesis_settings(max_examples=80, deadline=None)
@given(
    models=SOME, who=st.lists(st.sampled_from([*CUSTOMERS, "nobody"]), min_size=1, max_size=40), context=CONTEXTS,
    reasons=st.booleans(), later=st.integers(0, 400 * DAY),
)  # fmt: skip
def test_answers_are_those_of_single_calls_at_the_same_instant(
    wiring: Wiring, models: list[str], who: list[str], context: dict[str, Any], reasons: bool, later: int
) -> None:
    instant = max(wiring.predictor(name).instant() for name in models) + later
    alone = [replace(wiring.predictor(name), now=lambda: instant) for name in models]
    together = several(alone)
    expected = [asyncio.run(one.many(who, reasons, one.own(context))) for one in alone]
    assert _bits(asyncio.run(together.many(who, reasons, context))) == _bits(
        (instant, [predictions for _, predictions in expected])
    )
    singly = [one.one(who[0], reasons, one.own(context))[1] for one in alone]
    assert _bits(together.one(who[0], reasons, context)) == _bits((instant, singly))


def _bits(answer: Any) -> str:
    """Floats are written so that they are read back to the last bit; so are those that equal nothing, such as NaN."""
    return repr(answer)


@dataclass
class CountedReads:
    """Counts reads of a real reader, which come too early until `settled`."""

    reader: FeatureReader
    settled: int = 0
    reads: list[int] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)

    def read_from(self, customer_ids: Any, earliest: int, context: Any = None) -> Any:
        as_of = max(earliest, self.settled)
        return as_of, self.read(customer_ids, as_of, context)

    def read(self, customer_ids: Any, as_of: int, context: Any = None) -> Any:
        self.reads.append(len(customer_ids))
        if as_of < self.settled:
            raise AsOfTooEarly
        return self.reader.read(customer_ids, as_of, context)


def test_models_of_one_spec_share_a_read(wiring: Wiring) -> None:
    asked = several([wiring.predictor(name) for name in ("later", "churn", "visit")])
    assert [[member.at for member in read.members] for read in asked.reads] == [[0], [1, 2]]
    counted = [CountedReads(read.reader) for read in asked.reads]  # type: ignore[arg-type]
    reads = tuple(replace(read, reader=reader) for read, reader in zip(asked.reads, counted, strict=True))  # type: ignore[arg-type]
    replace(asked, reads=reads).one(CUSTOMERS[0], False, CONTEXT)
    assert [reader.reads for reader in counted] == [[1], [1]]


def test_all_are_read_again_where_one_state_moved_on(wiring: Wiring) -> None:
    """All answers are of one instant, also where only the second spec's state had a new event."""
    asked = several([wiring.predictor(name) for name in ("churn", "later")])
    expected = asked.instant() + 1
    moved = CountedReads(asked.reads[1].reader, settled=expected)  # type: ignore[arg-type]
    of_churn = replace(asked.reads[0], now=lambda: expected - 1)
    moving = replace(asked, reads=(of_churn, replace(asked.reads[1], reader=moved)))  # type: ignore[arg-type]
    as_of, predictions = moving.one(CUSTOMERS[0], False)
    assert as_of == expected
    alone = [replace(one, now=lambda: expected).one(CUSTOMERS[0], False)[1] for one in asked.predictors]
    assert predictions == alone
    still = replace(moving, reads=tuple(replace(read, now=lambda: expected - 2 * DAY) for read in moving.reads))
    for ask in (lambda: still.one(CUSTOMERS[0], False), lambda: asyncio.run(still.many(CUSTOMERS, False))):
        with pytest.raises(ApiError, match="state_ahead"):
            ask()


def test_whoever_moves_on_again_and_again_is_read_at_one_instant(wiring: Wiring) -> None:
    """The instant that is told is the one that all were read at, however often states moved meanwhile."""
    asked = several([wiring.predictor(name) for name in ("churn", "later")])
    now = asked.instant()
    told: list[int] = []

    class Moving:
        """Has a new event at each of its first two reads."""

        def __init__(self, reader: Any, moves: list[int]) -> None:
            self.reader, self.moves = reader, moves

        def read_from(self, customer_ids: Any, earliest: int, context: Any = None) -> Any:
            at = max(earliest, self.moves.pop(0) if self.moves else earliest)
            told.append(at)
            return self.reader.read_from(customer_ids, at, context)

    first, second = asked.reads
    moving = replace(asked, reads=(
        replace(first, reader=Moving(first.reader, [now, now + 9])),  # type: ignore[arg-type]
        replace(second, reader=Moving(second.reader, [now + 5])),  # type: ignore[arg-type]
    ))  # fmt: skip
    as_of, predictions = moving.one(CUSTOMERS[0], False)
    assert as_of == now + 9
    assert told[-2:] == [now + 9] * 2
    alone = [replace(one, now=lambda: now + 9).one(CUSTOMERS[0], False)[1] for one in asked.predictors]
    assert predictions == alone


def test_refusals_do_not_grow_with_those_who_ask(wiring: Wiring) -> None:
    """Whoever is refused again and again leaves no frames behind, which hold what was asked."""
    for _ in range(20):
        with pytest.raises(ApiError, match="model_missing"):
            wiring.predictor("missing")
        assert wiring.several(("missing", "churn")).errors[0] is not None
    assert wiring.refusals["missing"].__traceback__ is None


def test_reading_and_predicting_are_spans_of_the_trace(wiring: Wiring, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def span(name: str) -> AbstractContextManager[None]:
        seen.append(name)
        return nullcontext()

    monkeypatch.setattr("serving.several.span", span)
    asked = several([wiring.predictor(name) for name in ("churn", "later")])
    asked.one(CUSTOMERS[0], False)
    asyncio.run(asked.many(CUSTOMERS, False))
    assert seen == ["features.read", "model.predict"] * 2


# --- over HTTP -------------------------------------------------------------------------------


def test_one_call_asks_several_models(client: TestClient, shop: Shop) -> None:
    body = {"customer_id": CUSTOMERS[0], "models": ["visit", "churn", "later"], "context": CONTEXT, "reasons": True}
    answer = client.post("/v1/predict", json=body, headers={"X-Request-Id": "several-1"})
    assert answer.status_code == 200, answer.text
    content = answer.json()
    assert set(content) == {"request_id", "customer_id", "as_of", "predictions"}
    assert [item["model"] for item in content["predictions"]] == body["models"]
    for item in content["predictions"]:
        single = {**body, "model": item["model"], "context": CONTEXT if item["model"] == "visit" else {}}
        del single["models"]
        alone = client.post("/v1/predict", json=single).json()
        assert alone["as_of"] == content["as_of"]
        keys = ("model", "model_version", "probability", "in_population", "reasons")
        assert [item[key] for key in keys] == [alone[key] for key in keys]
        assert item["error"] is None
    many = {name: value for name, value in body.items() if name != "customer_id"} | {"customer_ids": [CUSTOMERS[0]]}
    result = {"customer_id": CUSTOMERS[0], "predictions": content["predictions"], "error": None}
    assert client.post("/v1/predict_many", json=many).json()["results"] == [result]


def test_each_prediction_is_in_the_log(shop: Shop) -> None:
    with serve(shop, real_states=True) as client:
        one = {"customer_id": CUSTOMERS[1], "models": ["churn", "visit"], "context": CONTEXT}
        many = {"customer_ids": [CUSTOMERS[2], "nobody", CUSTOMERS[3]], "models": ["later", "churn"]}
        told = client.post("/v1/predict", json=one, headers={"x-request-id": "kept-one"}).json()
        of_many = client.post("/v1/predict_many", json=many, headers={"x-request-id": "kept-many"}).json()
    drawn = draw(shop.settings.workspace.served, 100_000, seed=1)
    found = {
        (v.request_id, v.customer_id, drawn.lists[v.reads].model): v
        for v in drawn.vectors
        if v.request_id.startswith("kept-")
    }
    expected = {("kept-one", CUSTOMERS[1], item["model"]): item["probability"] for item in told["predictions"]} | {
        ("kept-many", result["customer_id"], item["model"]): item["probability"]
        for result in of_many["results"]
        for item in result["predictions"]
    }
    assert {key: vector.probability for key, vector in found.items()} == expected
    assert len(expected) == 2 + 4
    for (request, _, model), vector in found.items():
        assert len(vector.values) == len(drawn.lists[vector.reads].features)
        assert iso(vector.as_of) == (told if request == "kept-one" else of_many)["as_of"]
        assert dict(vector.context) == (CONTEXT if model == "visit" else {}), "what it read of the context"


def test_what_could_not_be_logged_is_not_counted_as_answered(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def add(*_: object) -> Future[None]:
        refused: Future[None] = Future()
        refused.set_exception(not_kept())
        return refused

    monkeypatch.setattr(ServedLog, "add", add)
    before = PREDICTIONS.taken()
    with serve(shop, real_states=True) as client:
        answer = client.post("/v1/predict", json={"customer_id": "c1", "models": ["churn", "visit"]})
    check_shape(answer, 503, "prediction_not_logged")
    assert PREDICTIONS.taken() == before


def test_a_model_that_cannot_answer_is_an_item_with_an_error(client: TestClient) -> None:
    for path, who in (("/v1/predict", {"customer_id": "c1"}), ("/v1/predict_many", {"customer_ids": ["c1"]})):
        answer = client.post(path, json={**who, "models": ["missing", "churn", "curn"]})
        assert answer.status_code == 200, answer.text
        content = answer.json()
        items = content["predictions"] if path == "/v1/predict" else content["results"][0]["predictions"]
        assert [item["model"] for item in items] == ["missing", "churn", "curn"]
        missing, churn, unknown = items
        assert (missing["error"]["code"], missing["probability"], missing["model_version"]) == (
            "model_missing", None, None,
        )  # fmt: skip
        assert (churn["error"], churn["model_version"]) == (None, "3")
        assert (unknown["error"]["code"], unknown["error"]["details"][0]["field"]) == ("unknown_model", "models.2")
        details = check_shape(client.post(path, json={**who, "models": ["missing"]}), 503, "model_missing")
        assert details[0]["field"] == "models.0"


def test_a_customer_that_nobody_knows(client: TestClient) -> None:
    answer = client.post("/v1/predict", json={"customer_id": "nobody", "models": ["churn", "later"]})
    assert check_shape(answer, 404, "unknown_customer")[0]["field"] == "customer_id"
    many = client.post("/v1/predict_many", json={"customer_ids": ["nobody", "c1"], "models": ["churn", "later"]})
    nobody, somebody = many.json()["results"]
    assert (nobody["predictions"], nobody["error"]["code"]) == ([], "unknown_customer")
    assert nobody["error"]["details"][0]["field"] == "customer_ids.0"
    assert (len(somebody["predictions"]), somebody["error"]) == (2, None)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"models": []}, "models"),
        ({"models": None}, "models"),
        ({"models": "churn"}, "models"),
        ({"models": ["churn", "churn"]}, "models"),
        ({"models": [f"m{number}" for number in range(11)]}, "models"),
        ({"models": ["churn", 5]}, "models.1"),
        ({"models": ["churn", ""]}, "models.1"),
        ({"models": ["churn"], "model": "churn"}, "model"),
    ],
)
def test_models_are_asked_for_in_one_way(client: TestClient, asked: dict[str, Any], field: str) -> None:
    for path, who in (("/v1/predict", {"customer_id": "c1"}), ("/v1/predict_many", {"customer_ids": ["c1"]})):
        details = check_shape(client.post(path, json={**who, **asked}), 400, "invalid_request")
        assert [detail["field"] for detail in details] == [field]


@pytest.mark.parametrize(
    ("models", "context", "status"),
    [
        (["churn", "visit"], {"cart_value": 5}, 200),
        (["churn", "visit"], {"basket": 5}, 400),
        (["churn", "visit"], {"cart_value": "5"}, 400),
        (["churn", "later"], {"cart_value": 5}, 400),
        (["churn", "missing"], {"cart_value": 5}, 200),
    ],
)
def test_a_context_has_to_be_read_by_one_of_the_models(
    client: TestClient, models: list[str], context: dict[str, Any], status: int
) -> None:
    """What a model reads that cannot answer now is not known: that it is down must not be a mistake of the caller."""
    answer = client.post("/v1/predict", json={"customer_id": "c1", "models": models, "context": context})
    assert answer.status_code == status, answer.text
    if status == 400:
        check_shape(answer, 400, "invalid_context")


def test_both_shapes_are_documented(client: TestClient) -> None:
    page = client.get("/docs.json").json()
    for path, name in (("/v1/predict", "PredictModelsResponse"), ("/v1/predict_many", "PredictManyModelsResponse")):
        post = page["paths"][path]["post"]
        answer = post["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert page["components"]["schemas"][answer]["anyOf"][1]["$ref"].endswith(f"/{name}")
        assert page["components"]["schemas"][name]["example"]
        body = post["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        models = page["components"]["schemas"][body]["properties"]["models"]
        assert models["examples"] == [["churn", "conversion"]]


def test_combinations_that_are_kept_ready_are_few_and_end_with_the_wiring(shop: Shop) -> None:
    made = wire(shop.settings)
    assert made.several(("churn", "visit")) is made.several(("churn", "visit"))
    for number in range(200):
        made.several(("churn", f"m{number}"))
    assert len(made._combinations) <= 64
    assert ADDED[0] in made.several(("churn", "later")).several.predictors[1].champion.features
