"""Logged predictions made again: all bits of what was read, answered, explained and foreseen in the shadow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from feature_repo.served import Record, ServedVector, decode_line, encode_line
from feature_repo.state.build import build_states
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.model_store import challenger_name
from pipelines.predictions.answers import NO_SHADOW, NO_VERSION
from pipelines.predictions.replay import PredictionReplay, replay_predictions
from pipelines.served_log import lines_of, log_files
from pipelines.settings import Settings
from serving import served_log
from serving.api import request_id
from serving.bootstrap import wire
from serving.champion import Champion, find_champion
from serving.served_log import ServedLog
from serving.served_records import ShadowModel
from tests.made_up_lake import Made, write_lake
from tests.unit.serving_parts import make_shop, publish, train

CUSTOMERS = [f"c{number}" for number in range(12)]
CALLS = [{"cart_value": 40_000, "channel": "web"}, {"cart_value": None, "channel": "app"}, {}]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A model that reads what calls bring along, asked in three ways; version 2 answers in its shadow."""
    shop = make_shop(tmp_path_factory.mktemp("replayed"))
    model = shop.settings.models["churn"].model_copy(update={"feature_service": "visit"})
    settings = shop.settings = replace(shop.settings, models={"churn": model})
    workspace = settings.workspace
    orders = [Made(who, "Order Completed", 3.0 * at, "web", 977 * at) for at, who in enumerate(CUSTOMERS * 2, 1)]
    write_lake(workspace, orders)
    build_states(settings.features, workspace.lake, SQLiteStateStorage(workspace.state))
    names = settings.features.service_features("visit")
    publish(settings, challenger_name("churn"), "2", train(names, 5), features=list(names))
    shop.publish("1", train(names), features=list(names))
    stored = replace(find_champion(workspace.bentoml_home, challenger_name("churn")), model="churn")
    challenger = stored.load()
    predictor = wire(settings).predictor("churn")
    assert predictor.champion.version == "1"
    log = ServedLog(settings, lambda champion: [in_shadow(challenger)])
    for number, call in enumerate(CALLS * 3):
        request_id.current.set(f"r{number}")
        began = served_log.now()
        as_of, one = predictor.one(CUSTOMERS[number], number % 2 == 0, call)
        log.add(predictor.champion, began, as_of, [one], call)
        request_id.current.set(f"many{number}")
        as_of, many = asyncio.run(predictor.many(CUSTOMERS, number % 2 == 1, call))
        log.add(predictor.champion, began, as_of, many, call)
    log.write()
    assert (log.written, log.shadow_failed) == (9 * 13, 0)
    return settings


def in_shadow(challenger: Champion) -> ShadowModel:
    return ShadowModel(
        challenger.model,
        challenger.version,
        lambda features: (
            challenger.scores(challenger.columns(features)),
            challenger.probabilities(challenger.columns(features)),
        ),
    )


def test_all_is_equal_to_the_last_bit(served: Settings) -> None:
    done = replay_predictions(served)
    assert done.differences == ()
    assert (done.logged, done.answers, done.features_of, done.shadows) == (117, 117, 117, 117)
    # With what calls brought along.
    assert done.values == 117 * len(served.features.service_features("visit"))
    assert done.explained == 5 + 4 * 12
    assert (done.features_not_replayed, done.answers_not_replayed, done.lost, done.unreadable) == ({}, {}, 0, 0)
    assert 0 < done.largest_gap < 1e-9
    assert done.passed
    assert "117 of 117 logged predictions: 117 answered again" in done.text()
    assert replay_predictions(served, 10).answers == 10


Change = Callable[[ServedVector], ServedVector]
CHANGES: dict[str, Change] = {
    "score": lambda v: msgspec.structs.replace(v, score=v.score + 1e-15 + abs(v.score) * 1e-15),
    "probability": lambda v: msgspec.structs.replace(v, probability=v.probability * (1 + 1e-15)),
    "base value": lambda v: msgspec.structs.replace(v, contributions=[*list(v.contributions or ())[:-1], 0.25]),
    "contributions": lambda v: msgspec.structs.replace(v, contributions=[0.25]),
    "shadow churn version 2 score": lambda v: msgspec.structs.replace(
        v, shadow=[msgspec.structs.replace(v.shadow[0], score=0.25)]
    ),
    "call_cart_value": lambda v: msgspec.structs.replace(v, context={"cart_value": 40_001, "channel": "web"}),
}


@pytest.mark.parametrize("field", CHANGES)
def test_every_changed_bit_is_told(served: Settings, field: str) -> None:
    done = with_log(served, lambda v: CHANGES[field](v) if v.request_id == "r0" else v)
    assert not done.passed
    told = {difference.feature for difference in done.differences if difference.request_id == "r0"}
    assert field in told
    assert len({difference.request_id for difference in done.differences}) == 1
    assert f"{field}: served" in done.text()


def test_contributions_that_do_not_add_up_are_a_failure(served: Settings) -> None:
    done = with_log(served, lambda v: CHANGES["base value"](v) if v.request_id == "r0" else v)
    assert done.largest_gap > 1e-9


def test_versions_that_are_gone_are_counted(served: Settings) -> None:
    home = served.workspace.bentoml_home / "models"
    models, challengers = home / "churn", home / challenger_name("churn")
    (challengers / "2").rename(challengers / "away")
    try:
        done = replay_predictions(served)
        assert (done.passed, done.shadows, done.answers_not_replayed) == (True, 0, {NO_SHADOW: 117})
        (models / "1").rename(models / "away too")
        try:
            gone = replay_predictions(served)
        finally:
            (models / "away too").rename(models / "1")
        assert (gone.passed, gone.answers, gone.answers_not_replayed) == (False, 0, {NO_VERSION: 117})
        assert f"117 {NO_VERSION}" in gone.text()
    finally:
        (challengers / "away").rename(challengers / "2")


def with_log(settings: Settings, change: Change) -> PredictionReplay:
    """What a replay says of the log with changed vectors, which is afterwards as it was."""
    (file,) = log_files(settings.workspace.served)
    before = file.read_bytes()
    try:
        file.write_bytes(b"".join(encode_line(changed(decode_line(line), change)) for line in lines_of(file)))
        return replay_predictions(settings)
    finally:
        file.write_bytes(before)


def changed(record: Record | None, change: Change) -> Record:
    assert record is not None
    return change(record) if isinstance(record, ServedVector) else record
