"""Models of every kind behind the same service: computed columns, linear models, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from feature_repo.bg_nbd import BgNbd
from feature_repo.linear_model import LinearModel, Term
from feature_repo.model_inputs import ALIVE, NO_ORDER, BuyingRhythm, ModelInputs
from pipelines.fitted_model import FittedModel
from serving.api.errors import ApiError
from serving.bootstrap import wire
from serving.connection import Connection
from serving.features import MemoryReader
from serving.predictor import Predictor
from tests.unit.serving_parts import CUSTOMERS, RECENCY, Shop, make_shop, train

# Any of the service's features will do.
COUNT, VALUE = "order_completed_count", "order_completed_value"
MODEL = BgNbd(0.7, 33.0, 0.9, 3.1)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path)


def inputs_of(shop: Shop) -> ModelInputs:
    """BG/NBD beside all features but the number of orders, which is read and is no column."""
    names = shop.features
    frequency, age = (next(name for name in names if name.startswith(text)) for text in (COUNT, VALUE))
    direct = tuple(name for name in names if name != frequency)
    return ModelInputs(names, direct, BuyingRhythm(MODEL, RECENCY, frequency, age, 60.0))


def publish_computed(shop: Shop, inputs: ModelInputs) -> lgb.Booster:
    return shop.publish(booster=train(inputs.names), inputs=inputs.to_json())


def publish_linear(
    shop: Shop, model: LinearModel, inputs: ModelInputs, text: str | None = None, version: str = "1"
) -> None:
    shop.publish(version=version, kind="linear", inputs=inputs.to_json())
    folder = shop.settings.workspace.bentoml_home / "models" / "churn" / version
    (folder / "model.lgb").unlink()
    (folder / "linear.json").write_text(json.dumps(model.to_json()) if text is None else text)


def predictor_of(shop: Shop) -> Predictor:
    return wire(shop.settings, shop.open_reader).predictor("churn")


def many_customers(predictor: Predictor, count: int) -> tuple[Predictor, pd.DataFrame]:
    """The predictor over `count` made-up customers, and their features as training would see them."""
    generator = np.random.default_rng(4)
    features = predictor.champion.features
    values = generator.exponential(20.0, (count, len(features))).round(2)
    values[generator.random(values.shape) < 0.15] = np.nan
    ids = [f"c{number}" for number in range(count)]
    still = predictor.reader
    assert isinstance(still, MemoryReader)
    reader = MemoryReader(dict(zip(ids, values.tolist(), strict=True)), len(features), still.spec_hash, still.end)
    table = pd.DataFrame(values, columns=list(features), index=ids)
    return replace(predictor, reader=reader), table


def probabilities(predictor: Predictor, customers: list[str]) -> list[float | None]:
    return [item.probability for item in asyncio.run(predictor.many(customers, False))[1]]


def test_one_customer_and_ten_thousand_get_the_bits_of_training(shop: Shop) -> None:
    booster = publish_computed(shop, inputs_of(shop))
    predictor, table = many_customers(predictor_of(shop), 10_000)
    batch = FittedModel(predictor.champion.inputs, booster).predict(table).tolist()
    assert probabilities(predictor, list(table.index)) == batch
    for at in range(0, 10_000, 40):
        assert predictor.one(f"c{at}", False)[1].probability == batch[at]


def test_reasons_name_computed_columns_in_words(shop: Shop) -> None:
    inputs = inputs_of(shop)
    publish_linear(shop, LinearModel(inputs.names, 0.1, (Term(NO_ORDER, "log_odds", 0.9, -0.5, 0.0),)), inputs)
    prediction = predictor_of(shop).one(CUSTOMERS[0], True)[1]
    assert prediction.reasons is not None
    assert [reason.feature for reason in prediction.reasons] == [NO_ORDER]
    assert prediction.reasons[0].meaning.startswith("chance of no order in 60 days, from the rhythm")
    assert prediction.read is not None
    assert len(prediction.read.values) == len(shop.features), "the log keeps what was read, not what was made of it"


def test_a_linear_model_is_served_with_the_bits_that_were_compared(shop: Shop) -> None:
    inputs = inputs_of(shop)
    terms = (
        Term(RECENCY, "signed_log", 0.7, 1.0, 0.8), Term(RECENCY, "is_empty", 0.2, 0.1),
        Term(ALIVE, "log_odds", -0.3, 1.0, 0.0),
    )  # fmt: skip
    model = LinearModel(inputs.names, -0.2, terms)
    publish_linear(shop, model, inputs)
    predictor, table = many_customers(predictor_of(shop), 500)
    batch = FittedModel(inputs, model).predict(table).tolist()
    assert probabilities(predictor, list(table.index)) == batch
    assert [predictor.one(name, False)[1].probability for name in table.index[:50]] == batch[:50]
    explained = predictor.one("c7", True)[1]
    assert explained.reasons is not None
    assert {reason.feature for reason in explained.reasons} <= {RECENCY, ALIVE}
    total = sum(reason.contribution for reason in explained.reasons) - 0.2
    assert explained.probability == pytest.approx(1 / (1 + np.exp(-total)), abs=1e-12)


def test_a_running_service_takes_up_a_champion_of_another_kind(shop: Shop) -> None:
    inputs = inputs_of(shop)
    connected = Connection(replace(shop.settings), shop.open_reader)
    shop.publish()
    connected.look()
    before = connected.wiring().predictor("churn")
    publish_linear(shop, LinearModel(inputs.names, 1.5, ()), inputs, version="2")
    connected.look()
    after = connected.wiring().predictor("churn")
    assert [each.champion.version for each in (before, after)] == ["1", "2"]
    assert after.one(CUSTOMERS[0], True)[1].reasons == ()
    assert before.one(CUSTOMERS[0], True)[1].reasons, "who began with the former ends with it"


def refusal(shop: Shop) -> ApiError:
    error: ApiError = wire(shop.settings, shop.open_reader).refusals["churn"]
    return error


def test_columns_that_are_not_those_of_the_manifest_are_refused(shop: Shop) -> None:
    inputs = inputs_of(shop)
    shop.publish(booster=train(inputs.names[::-1]), inputs=inputs.to_json())
    assert (refusal(shop).code, refusal(shop).details[0].field) == ("model_mismatch", "model.lgb")


def test_a_manifest_without_inputs_means_that_columns_are_features(shop: Shop) -> None:
    shop.publish()
    assert predictor_of(shop).champion.inputs == ModelInputs(shop.features, shop.features)
    shop.publish(version="2", booster=train(inputs_of(shop).names))
    assert wire(shop.settings, shop.open_reader).held_back["churn"].code == "model_mismatch"


@pytest.mark.parametrize(
    "change",
    [
        {"features": lambda names: names[::-1]},
        {"features": lambda names: (*names, "one_more")},
        {"direct": lambda names: ("no_feature", *names[1:])},
    ],
)
def test_inputs_of_other_features_are_refused(shop: Shop, change: Mapping[str, Any]) -> None:
    inputs = inputs_of(shop)
    changed = replace(inputs, **{name: how(getattr(inputs, name)) for name, how in change.items()})
    shop.publish(booster=train(changed.names), inputs=changed.to_json())
    assert (refusal(shop).code, refusal(shop).details[0].field) == ("model_mismatch", "inputs")


@pytest.mark.parametrize("text", ["", "{}", '{"columns": ["a"], "intercept": 0, "terms": [{}]}', "[1]"])
def test_a_linear_model_that_cannot_be_read_is_refused(shop: Shop, text: str) -> None:
    inputs = inputs_of(shop)
    publish_linear(shop, LinearModel(inputs.names, 0.0, ()), inputs, text)
    assert refusal(shop).code == "model_unreadable"


@pytest.mark.parametrize("manifest", [{"kind": "forest"}, {"inputs": {"features": []}}, {"inputs": None}])
def test_a_manifest_of_something_else_is_refused(shop: Shop, manifest: dict[str, Any]) -> None:
    shop.publish(**manifest)
    assert refusal(shop).code == "model_unreadable"
