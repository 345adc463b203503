"""Feast over our stores: `apply`, and online reads as any Feast user expects them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureStore

from feature_repo.online import FeatureReader, open_reader
from feature_repo.state.build import build_states
from feature_repo.state.storage import SQLiteStateStorage
from pipelines.feature_store import open_feature_store
from pipelines.settings import Settings, Workspace, load_settings
from tests.contract.feature_lake import CUSTOMERS, write_lake

SERVICE = "churn"
PEOPLE = [*CUSTOMERS, "never seen"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    loaded = load_settings("feast")
    made = replace(loaded, workspace=Workspace("feast", tmp_path_factory.mktemp("checkout")))
    write_lake(made.workspace.lake)
    build_states(made.features, made.workspace.lake, SQLiteStateStorage(made.workspace.state))
    return made


@pytest.fixture(scope="module")
def store(settings: Settings) -> FeatureStore:
    return open_feature_store(settings)


@pytest.fixture(scope="module")
def reader(settings: Settings) -> FeatureReader:
    return open_reader(settings.features, settings.workspace.state, settings.features.service_features(SERVICE))


def entities(as_of: int, people: list[str] = PEOPLE) -> pd.DataFrame:
    stamps = pd.to_datetime([as_of] * len(people), unit="us", utc=True)
    return pd.DataFrame({"customer_id": people, "event_timestamp": stamps, "note": range(len(people))})


def historical(store: FeatureStore, frame: pd.DataFrame) -> pa.Table:
    return store.get_historical_features(entity_df=frame, features=store.get_feature_service(SERVICE)).to_arrow()


def test_online_equals_historical_and_the_columnar_read(
    settings: Settings, store: FeatureStore, reader: FeatureReader
) -> None:
    as_of = reader.data_end()
    assert as_of is not None
    offline = historical(store, entities(as_of))
    rows = [{"customer_id": customer} for customer in PEOPLE]
    online = store.get_online_features(features=store.get_feature_service(SERVICE), entity_rows=rows).to_arrow()
    columnar = reader.read(PEOPLE, as_of)
    for column, name in enumerate(settings.features.service_features(SERVICE)):
        assert online.column(name).to_pylist() == offline.column(name).to_pylist(), name
        as_floats = np.array([np.nan if v is None else v for v in offline.column(name).to_pylist()], dtype=float)
        assert np.array_equal(columnar.matrix[:, column], as_floats, equal_nan=True), name
    assert columnar.found == [True] * len(CUSTOMERS) + [False]


def test_objects_carry_words_owners_and_the_hash(settings: Settings, store: FeatureStore) -> None:
    view = store.get_feature_view("orders")
    assert view.owner == "commerce"
    assert view.tags["spec_hash"] == settings.features.hash
    assert all(field.description for field in view.features)


def test_features_that_are_texts_are_the_same_in_all_reads(settings: Settings, store: FeatureStore) -> None:
    service = store.get_feature_service("profile")
    names = settings.features.service_features("profile")
    columnar = open_reader(settings.features, settings.workspace.state, names)
    as_of = columnar.data_end()
    assert as_of is not None
    offline = store.get_historical_features(entity_df=entities(as_of), features=service).to_arrow()
    online = store.get_online_features(
        features=service, entity_rows=[{"customer_id": who} for who in PEOPLE]
    ).to_arrow()
    read = columnar.read(PEOPLE, as_of).values
    for column, name in enumerate(names):
        assert online.column(name).to_pylist() == offline.column(name).to_pylist(), name
        assert [row[column] for row in read] == offline.column(name).to_pylist(), name
    assert {"web", "app", "pos"} & set(offline.column("order_completed_channel_top_365d").to_pylist())


def test_features_of_a_call_are_the_same_in_all_reads(settings: Settings, store: FeatureStore) -> None:
    service = store.get_feature_service("visit")
    names = settings.features.service_features("visit")
    columnar = open_reader(settings.features, settings.workspace.state, names)
    as_of = columnar.data_end()
    assert as_of is not None
    calls = [(who, 1_000 * i if i % 3 else None, ["web", "app", "fax", None][i % 4]) for i, who in enumerate(PEOPLE)]
    frame = entities(as_of).assign(
        cart_value=pd.array([value for _, value, _ in calls], dtype="Int64"),
        channel=[channel for _, _, channel in calls],
        as_of=as_of,
    )
    offline = store.get_historical_features(entity_df=frame, features=service).to_arrow()
    rows = [{"customer_id": w, "cart_value": v, "channel": c, "as_of": as_of} for w, v, c in calls]
    online = store.get_online_features(features=service, entity_rows=rows).to_arrow()
    contexts = [{"cart_value": value, "channel": channel} for _, value, channel in calls]
    read = [columnar.read([who], as_of, context).values[0] for who, context in zip(PEOPLE, contexts, strict=True)]
    for column, name in enumerate(names):
        expected = offline.column(name).to_pylist()
        assert online.column(name).to_pylist() == expected, name
        assert [row[column] for row in read] == expected, name
    assert offline.column("call_channel_web").to_pylist()[:4] == [1, 0, 0, None]
    usual, share = (
        offline.column(name).to_pylist()
        for name in ("order_completed_value_mean_365d", "call_cart_value_per_order_completed_value_mean_365d")
    )
    assert share[1] == 1_000.0 / usual[1]
    assert share[0] is None
    in_bangkok = datetime.fromtimestamp(as_of // 1_000_000, timezone(timedelta(hours=7)))
    assert offline.column("call_hour").to_pylist() == [in_bangkok.hour] * len(PEOPLE)
    assert offline.column("call_weekday").to_pylist() == [in_bangkok.isoweekday()] * len(PEOPLE)
