"""A challenger is scored on what the champion read: in the log, never in an answer, and left out on any mismatch."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.model_store import challenger_name
from pipelines.served_log import draw
from serving.api.pages import model_info
from serving.connection import Connection
from tests.changed_spec import changed_settings
from tests.unit.serving_client import serve
from tests.unit.serving_parts import CUSTOMERS, Shop, make_shop, publish, train

NAME = challenger_name("churn")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = make_shop(tmp_path)
    made.publish("1")
    return made


def challenged(shop: Shop, version: str = "2", features: tuple[str, ...] | None = None, **manifest: Any) -> Any:
    names = features or shop.features
    booster = train(names, seed=int(version))
    folder = publish(shop.settings, NAME, version, booster, **{"features": list(names), "model": "churn", **manifest})
    return booster, folder


@pytest.mark.parametrize("order", ["same", "fewer and turned"])
def test_its_scores_are_in_the_log_and_in_no_answer(shop: Shop, order: str) -> None:
    names = shop.features if order == "same" else shop.features[5::-2]
    booster, _ = challenged(shop, features=names)
    ask, many = {"customer_id": CUSTOMERS[0]}, {"customer_ids": list(CUSTOMERS[1:30])}
    with serve(shop) as client:
        answers = [client.post("/v1/predict", json=ask), client.post("/v1/predict_many", json=many)]
        answers.append(client.post("/v1/predict", json={**ask, "models": ["churn"]}))
        info = client.get("/v1/models").json()["models"][0]
    assert (info["model_version"], info["challenger"]) == ("1", {"version": "2", "error": None})
    for answer in answers:
        assert answer.status_code == 200
        assert "shadow" not in answer.text
        assert '"model_version":"2"' not in answer.text
    drawn = draw(shop.settings.workspace.served, 1000, seed=1)
    assert len(drawn.vectors) == 31
    for vector in drawn.vectors:
        assert drawn.lists[vector.reads].version == "1"
        (score,) = vector.shadow
        assert (score.model, score.version) == ("churn", "2")
        places = [shop.features.index(name) for name in names]
        row = np.array([shop.values[vector.customer_id][places]])
        assert score.probability == booster.predict(row)[0]
        assert score.score == booster.predict(row, raw_score=True)[0]


@pytest.mark.parametrize("other", ["spec", "features", "columns", "model.lgb", "manifest.json"])
def test_one_that_does_not_fit_is_left_out_and_said(
    shop: Shop, tmp_path: Path, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    if other == "spec":
        challenged(shop, spec_hash=changed_settings(shop.settings, tmp_path / "changed").features.hash)
    elif other == "features":
        challenged(shop, features=(*shop.features, "invented"))
    elif other == "columns":
        challenged(shop, features=shop.features, inputs={"features": ["x"], "direct": ["x"], "rhythm": None})
    else:
        (challenged(shop)[1] / other).write_text("no model")
    with caplog.at_level(logging.ERROR):
        connected = Connection(shop.settings, shop.open_reader)
        connected.look()
    info = model_info(connected.wiring(), "churn")
    assert (info.served, info.model_version) == (True, "1")
    assert info.challenger is not None
    assert info.challenger.version == "2"
    assert info.challenger.error is not None
    expected = {"spec": "challenger_mismatch", "features": "challenger_mismatch", "columns": "model_mismatch"}
    assert info.challenger.error.code == expected.get(other, "model_unreadable")
    assert connected.shadow_of(connected.wiring().predictor("churn").champion) == ()
    assert connected.wiring().problem is None, "it is no reason not to be ready"
    assert caplog.text.count("the challenger of churn, version 2, is left out") == 1


def test_it_comes_goes_and_changes_while_the_service_runs(shop: Shop) -> None:
    connected = Connection(shop.settings, shop.open_reader)
    first = connected.wiring().predictor("churn")

    def shadows() -> list[str]:
        connected.look()
        return [shadow.version for shadow in connected.shadow_of(connected.wiring().predictor("churn").champion)]

    assert shadows() == []
    challenged(shop, "2")
    assert shadows() == ["2"]
    challenged(shop, "3")
    assert shadows() == ["3"]
    assert connected.wiring().predictor("churn") is first, "the champion is not loaded again"
    shop.publish("3", train(shop.features, seed=3))
    assert shadows() == [], "the champion is not compared with itself"
    assert connected.shadow_of(first.champion) == (), "nobody answers in the shadow of a former champion"
    challenged(shop, "4")
    assert shadows() == ["4"]
    (shop.settings.workspace.bentoml_home / "models" / NAME / "latest").unlink()
    assert shadows() == []


def test_the_manifest_of_a_challenger_is_that_of_its_model(shop: Shop) -> None:
    _, folder = challenged(shop)
    assert json.loads((folder / "manifest.json").read_text())["model"] == "churn"
