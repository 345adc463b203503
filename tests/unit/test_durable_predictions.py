"""With a durable log nothing that is foreseen leaves before it is on disk: over HTTP, and in what triggers tell."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.served_search import find_served
from pipelines.settings import Settings
from serving.api.errors import ApiError
from tests.unit.desk_parts import FALLBACK, decision_settings, furnish
from tests.unit.serving_client import check_shape
from tests.unit.trigger_parts import Station, hesitating, opened, recently
from tests.unit.twin_api_parts import Asking, asking, twin_settings

PREDICT = {"customer_id": "c1", "model": FALLBACK}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/predict", PREDICT),
    ("/v1/predict", {"customer_id": "c1", "models": [FALLBACK]}),
    ("/v1/predict_many", {"customer_ids": ["c1"], "model": FALLBACK}),
    ("/v1/twin", {"customer_id": "c1"}),
    ("/v1/explain", PREDICT),
]


def durable(settings: Settings) -> Settings:
    log = settings.profile.served_log.model_copy(update={"durable": True})
    return replace(settings, profile=settings.profile.model_copy(update={"served_log": log}))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = durable(twin_settings(tmp_path_factory.mktemp("durable")))
    furnish(made, customers=3)
    return made


@pytest.fixture(scope="module")
def ask(settings: Settings) -> Iterator[Asking]:
    with asking(settings) as made:
        yield made


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_an_answer_is_in_the_log_when_it_arrives(
    ask: Asking, settings: Settings, path: str, body: dict[str, Any]
) -> None:
    for _ in range(3):
        answer = ask.post(path, body)
        assert answer.status_code == 200, answer.text
        (found,) = find_served(settings.workspace.served, answer.json()["request_id"])
        assert (found.vector.customer_id, found.reads.model) == ("c1", FALLBACK)


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_what_cannot_be_logged_is_not_told(ask: Asking, settings: Settings, path: str, body: dict[str, Any]) -> None:
    kept = settings.workspace.served.rename(settings.workspace.root / "kept")
    settings.workspace.served.write_text("a file where the folder should be")
    try:
        refused = ask.post(path, body)
        check_shape(refused, 503, "prediction_not_logged")
        assert "retry-after" in refused.headers
    finally:
        settings.workspace.served.unlink()
        kept.rename(settings.workspace.served)
    assert ask.post(path, body).status_code == 200


def test_what_a_trigger_tells_is_in_the_log(tmp_path: Path) -> None:
    settings = durable(decision_settings(tmp_path, clock="wall"))
    furnish(settings)
    start = recently()
    station = Station(settings, [hesitating(settings, decide=False)], start)
    log = station.firing.served
    log.start()
    try:
        station.happen(*(opened("c1", start + number, number) for number in range(3)))
        (told,) = station.told()
        assert told["predictions"][0]["probability"] is not None
        assert log.written == 1
        shutil.rmtree(settings.workspace.served)
        settings.workspace.served.write_text("a file where the folder should be")
        with pytest.raises(ApiError, match="could not be logged"):
            station.happen(*(opened("c2", start + 10 + number, number) for number in range(3)))
        assert station.told(customer_ids=["c2"]) == []
        settings.workspace.served.unlink()
        station.watch.round()
        (later,) = station.told(customer_ids=["c2"])
        assert later["predictions"][0]["probability"] is not None
    finally:
        log.close()
        station.close()
