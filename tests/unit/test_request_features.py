"""Features of what a call brings along: their values, their words, and a model that reads them."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from feature_repo.configuration import ConfigurationError, parse
from feature_repo.request_features import on_demand_function, request_values
from feature_repo.spec_file import SpecFile, compile_spec
from feature_repo.state.build import build_states
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from feature_repo.words import words_of
from pipelines.feature_store import open_feature_store
from pipelines.settings import load_settings
from serving.bootstrap import wire
from tests.contract.feature_lake import CUSTOMERS, write_lake
from tests.unit.serving_client import serve
from tests.unit.serving_parts import Shop, make_shop, train
from tests.unit.test_spec import SMALL

NOON_ON_A_SUNDAY = 1_700_395_200_000_000  # 2023-11-19T12:00:00Z
SPEC = load_settings("request").features
CALL = SPEC.request_views[0]


def test_values_of_a_call() -> None:
    known = {"order_completed_value_mean_365d": 250.0}
    names = [feature.name for feature in CALL.features]

    def of(inputs: dict[str, Any], known: dict[str, Any] = known) -> dict[str, Any]:
        values = request_values(CALL.features, inputs, known, NOON_ON_A_SUNDAY, SPEC.utc_offset)
        return dict(zip(names, values, strict=True))

    assert of({"cart_value": 1000, "channel": "app"}) == {
        "call_cart_value": 1000,
        "call_cart_value_per_order_completed_value_mean_365d": 4.0,
        "call_channel_web": 0,
        "call_channel_app": 1,
        "call_channel_line": 0,
        "call_hour": 19,
        "call_weekday": 7,
    }
    empty = dict.fromkeys(names[:5])
    assert of({}).items() >= empty.items()
    assert of({"cart_value": 1.5, "channel": None}).items() >= empty.items()
    assert of({"cart_value": True})["call_cart_value"] is None
    assert of({"cart_value": 5}, {})["call_cart_value_per_order_completed_value_mean_365d"] is None


def test_the_source_that_feast_keeps_is_the_function() -> None:
    function, source = on_demand_function(CALL, SPEC.utc_offset)
    made: dict[str, Any] = {}
    exec(source, made)  # noqa: S102 (as Feast does with what it wrote itself)
    columns = {
        "cart_value": [700, None],
        "channel": ["web", "fax"],
        "order_completed_value_mean_365d": [None, 3.0],
        "as_of": [NOON_ON_A_SUNDAY, 0],
    }
    assert made["call"](columns) == function(columns)
    assert function(columns)["call_channel_web"] == [1, 0]


@pytest.mark.parametrize(
    ("view", "place"),
    [
        ({"inputs": {"order_completed_count_7d": "integer"}}, "inputs"),
        ({"inputs": {"as_of": "integer"}}, "inputs"),
        ({"features": [{"operation": "value", "of": "nothing"}]}, "of"),
        ({"features": [{"operation": "value", "of": "channel"}]}, "of"),
        ({"features": [{"operation": "is", "of": "channel"}]}, "values"),
        ({"features": [{"operation": "is", "of": "channel", "values": [3]}]}, "values"),
        ({"features": [{"operation": "ratio", "of": "cart"}]}, "denominator"),
        ({"features": [{"operation": "ratio", "of": "cart", "denominator": "order_completed_count"}]}, "denominator"),
        ({"features": [{"operation": "hour", "of": "cart"}]}, "features.0"),
        ({"name": "orders"}, "views"),
    ],
)
def test_mistakes_are_told_with_their_place(view: dict[str, Any], place: str) -> None:
    raw = deepcopy(SMALL)
    good = {"name": "call", "description": "", "owner": "x", "inputs": {"cart": "integer", "channel": "text"},
            "features": [{"operation": "value", "of": "cart"}]}  # fmt: skip
    raw["request"] = [{**good, **view}]
    with pytest.raises(ConfigurationError) as caught:
        compile_spec(parse(raw, SpecFile))
    assert any(problem.field.endswith(place) or place in problem.field for problem in caught.value.problems)


def test_they_have_words_and_are_part_of_what_decides_a_value() -> None:
    words = {words_of(SPEC, feature.name) for feature in CALL.features}
    assert "whether the channel of this call is app" in words
    assert len(words) == len(CALL.features)
    raw = {**SMALL, "request": [{"name": "call", "description": "", "owner": "x", "features": [{"operation": "hour"}]}]}
    assert compile_spec(parse(raw, SpecFile)).hash != compile_spec(parse(SMALL, SpecFile)).hash


@pytest.fixture(scope="module")
def visit_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop with real states, whose one model reads the service `visit`."""
    shop = make_shop(tmp_path_factory.mktemp("visit"))
    model = shop.settings.models["churn"].model_copy(update={"feature_service": "visit"})
    shop.settings = replace(shop.settings, models={"churn": model})
    workspace = shop.settings.workspace
    write_lake(workspace.lake)
    build_states(shop.settings.features, workspace.lake, SQLiteStateStorage(workspace.state))
    names = shop.settings.features.service_features("visit")
    shop.publish(booster=train(names), features=list(names))
    return shop


def test_a_model_is_served_what_feast_gives_for_the_same_call(visit_shop: Shop) -> None:
    settings = visit_shop.settings
    predictor = wire(settings).predictor("churn")
    as_of = predictor.instant()
    calls = [{"cart_value": 40_000, "channel": "web"}, {"cart_value": None, "channel": "app"}, {}]
    store = open_feature_store(settings)
    with serve(visit_shop, real_states=True) as client:
        for call in calls:
            frame = pd.DataFrame(
                {
                    "customer_id": CUSTOMERS[:5],
                    "event_timestamp": pd.to_datetime([as_of] * 5, unit="us", utc=True),
                    "as_of": as_of,
                    "cart_value": pd.array([call.get("cart_value")] * 5, dtype="Int64"),
                    "channel": [call.get("channel")] * 5,
                }
            )
            table = store.get_historical_features(frame, store.get_feature_service("visit")).to_arrow()
            matrix = table.select(list(predictor.champion.features)).to_pandas().to_numpy(dtype=np.float64)
            expected = predictor.champion.probabilities(matrix).tolist()
            body = {"customer_ids": CUSTOMERS[:5], "context": call}
            many = client.post("/v1/predict_many", json=body).json()["results"]
            assert [item["probability"] for item in many] == expected
            one = client.post("/v1/predict", json={"customer_id": CUSTOMERS[0], "context": call, "reasons": True})
            assert one.json()["probability"] == expected[0]
    # What was asked without and with a context is not the same prediction.
    assert predictor.one(CUSTOMERS[0], False, calls[0]) != predictor.one(CUSTOMERS[0], False, calls[2])


@pytest.mark.parametrize(
    ("context", "code", "field"),
    [
        ({"basket": 3}, "invalid_context", "context"),
        ({"cart_value": "3"}, "invalid_context", "context.cart_value"),
        ({"cart_value": 10**13}, "invalid_context", "context.cart_value"),
        ({"channel": 3}, "invalid_context", "context.channel"),
        ({"cart_value": 1.5}, "invalid_request", "context"),
        ({"cart_value": True}, "invalid_request", "context"),
        ({"channel": "x" * 300}, "invalid_request", "context"),
        ({f"n{i}": 1 for i in range(60)}, "invalid_request", "context"),
        ([], "invalid_request", "context"),
    ],
)
def test_a_context_that_the_model_cannot_read_is_refused(visit_shop: Shop, context: Any, code: str, field: str) -> None:
    with serve(visit_shop, real_states=True) as client:
        for path, who in (("/v1/predict", {"customer_id": "c1"}), ("/v1/predict_many", {"customer_ids": ["c1"]})):
            answer = client.post(path, json={**who, "context": context})
            assert answer.status_code == 400, answer.text
            error = answer.json()["error"]
            assert error["code"] == code
            assert any(detail["field"].startswith(field) for detail in error["details"]), error
        models = client.get("/v1/models").json()["models"]
        assert models[0]["inputs"] == {"cart_value": "integer", "channel": "text"}


def test_a_model_of_snapshots_cannot_read_what_a_call_brings(tmp_path: Path) -> None:
    settings = load_settings("request")
    copied = tmp_path / "configs"
    for file in settings.config_dir.rglob("*.yaml"):
        target = copied / file.relative_to(settings.config_dir)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.read_text().replace("feature_service: churn", "feature_service: visit"))
    with pytest.raises(ConfigurationError, match="known at a snapshot"):
        load_settings("request", copied)
