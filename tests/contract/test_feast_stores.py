"""Feast over our stores: `apply`, and online reads as any Feast user expects them."""

from __future__ import annotations

from dataclasses import replace

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
