"""Feast over our stores: `apply`, and online reads as any Feast user expects them."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pytest
from feast import FeatureStore
from feast.infra.online_stores.online_store import OnlineStore
from psycopg import sql

from feature_repo.configuration import load_yaml
from feature_repo.online import FeatureReader
from feature_repo.spec_file import SpecFile, load_spec
from feature_repo.state.backends import URL_VARIABLES, Backend
from feature_repo.state.build import build_states
from feature_repo.state.storage import StatesLost
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from feature_repo.stores.common import SpecViewError
from feature_repo.stores.online import TwinOnlineStore
from pipelines.events.opening import open_states
from pipelines.feature_store import FEAST_REPO, apply_features, open_feature_store
from pipelines.settings import Settings, Workspace, load_settings
from pipelines.state_build import build_state
from tests.changed_spec import ADDED, change_features, plain_settings
from tests.contract.feature_lake import CUSTOMERS, write_lake
from tests.servers import needs_postgres, needs_redis
from tests.states import open_reader

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


def test_a_changed_spec_is_read_once_it_is_applied_and_its_states_are_built(tmp_path: Path) -> None:
    """What a plain Feast user sees of a change: told what to run, then values of the new features."""
    before = plain_settings(tmp_path, tmp_path / "configs")
    write_lake(before.workspace.lake, events=300, customers=CUSTOMERS[:5])
    build_state(before)
    open_feature_store(before)
    change_features(before.config_dir)
    spec = load_spec(before.config_dir / "features.yaml")
    changed = replace(before, features=spec, spec_file=load_yaml(before.config_dir / "features.yaml", SpecFile))
    rows = [{"customer_id": customer} for customer in PEOPLE[:3]]
    names = spec.service_features(SERVICE)

    def read() -> pa.Table:
        # As a notebook opens it: by the file in the workspace.
        store = FeatureStore(repo_path=str(FEAST_REPO), fs_yaml_file=before.workspace.root / "feature_store.yaml")
        return store.get_online_features(store.get_feature_service(SERVICE), rows).to_arrow()

    with pytest.raises(SpecViewError, match="twin features apply"):
        read()
    apply_features(changed)
    with pytest.raises(SpecViewError, match="not built yet"):
        read()
    build_state(changed)
    online = read()
    reader = open_reader(spec, changed.workspace.state, names)
    columnar = reader.read(PEOPLE[:3], reader.data_end() or 0).matrix
    for column, name in enumerate(names):
        values = [np.nan if value is None else value for value in online.column(name).to_pylist()]
        assert np.array_equal(columnar[:, column], np.array(values, dtype=float), equal_nan=True), name
    assert set(ADDED) <= set(online.column_names)


def test_objects_carry_words_owners_and_the_hash(settings: Settings, store: FeatureStore) -> None:
    view = store.get_feature_view("orders")
    assert view.owner == "commerce"
    assert view.tags["spec_hash"] == settings.features.hash
    assert all(field.description for field in view.features)


@pytest.mark.parametrize("full_names", [False, True])
def test_all_views_at_once_answer_as_one_view_after_the_other(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, full_names: bool
) -> None:
    rows = [{"customer_id": who} for who in [*PEOPLE, PEOPLE[3], "never seen"]]
    features = [
        f"{view.name}:{field.name}" for view in store.list_batch_feature_views()[::-1] for field in view.features[::2]
    ]
    at_once = store.get_online_features(features, rows, full_feature_names=full_names)
    monkeypatch.setattr(TwinOnlineStore, "_read_features_per_fv", OnlineStore._read_features_per_fv)
    one_by_one = store.get_online_features(features, rows, full_feature_names=full_names)
    assert at_once.proto == one_by_one.proto
    assert len(at_once.proto.results) == len(features) + 1


@pytest.fixture(params=["redis", "postgresql"])
def on_a_server(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Settings, str]]:
    """Settings whose states stand on a server, built there, and its address."""
    backend: Backend = request.param
    url = needs_redis() if backend == "redis" else needs_postgres()
    workspace = Workspace(f"feast-{uuid.uuid4().hex[:12]}", settings.workspace.checkout)
    made = replace(settings, workspace=workspace, profile=settings.profile.model_copy(update={"online_store": backend}))
    # An address of this test alone, as one with a password would be.
    address = f"{url}{'?client_name=' if backend == 'redis' else ' options=-capplication_name='}secret"
    monkeypatch.setenv(URL_VARIABLES[backend], address)
    write_lake(workspace.lake)
    storage = open_states(made)
    build_states(made.features, workspace.lake, storage)
    yield made, address
    storage.remove_spec(made.features.hash)
    if backend == "postgresql":
        with psycopg.connect(url, autocommit=True) as connection:
            schema = sql.Identifier(f"customer_twin_{workspace.name}")
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))


def test_states_on_a_server_are_read_through_feast_by_configuration_alone(
    on_a_server: tuple[Settings, str], store: FeatureStore
) -> None:
    made, address = on_a_server
    there = open_feature_store(made)
    content = (made.workspace.root / "feature_store.yaml").read_text()
    assert "secret" not in content
    assert f"${{{URL_VARIABLES[made.profile.online_store]}}}" in content
    assert there.config.online_store.connection == address
    rows = [{"customer_id": customer} for customer in PEOPLE]
    for name in ("churn", "orders:order_completed_count_lifetime"):
        features = there.get_feature_service(name) if ":" not in name else [name]
        found = there.get_online_features(features=features, entity_rows=rows).to_dict()
        expected = store.get_online_features(
            features=store.get_feature_service(name) if ":" not in name else [name], entity_rows=rows
        ).to_dict()
        assert found == expected


def test_without_the_address_in_the_environment_its_variable_is_named(
    on_a_server: tuple[Settings, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = on_a_server
    variable = URL_VARIABLES[made.profile.online_store]
    monkeypatch.delenv(variable)
    with pytest.raises(SpecViewError, match=variable):
        open_feature_store(made)


@pytest.mark.slow
@pytest.mark.parametrize("on_a_server", ["redis"], indirect=True)
def test_feasts_own_command_reads_states_on_a_server(on_a_server: tuple[Settings, str]) -> None:
    made, _ = on_a_server
    open_feature_store(made)
    feast = Path(sys.executable).with_name("feast")
    file = made.workspace.root / "feature_store.yaml"
    asked = ["--entities", "customer_id=c1", "--features", "orders:order_completed_count_lifetime"]
    command = [str(feast), "-f", str(file), "get-online-features", *asked]
    answer = subprocess.run(command, cwd=FEAST_REPO, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    assert "order_completed_count_lifetime" in answer.stdout


@pytest.mark.parametrize("on_a_server", ["redis"], indirect=True)
def test_an_emptied_redis_is_an_error_to_feast_too(on_a_server: tuple[Settings, str]) -> None:
    made, _ = on_a_server
    there = open_feature_store(made)
    open_states(made).remove_spec(made.features.hash)
    with pytest.raises(StatesLost):
        there.get_online_features(["orders:order_completed_count_lifetime"], [{"customer_id": "c1"}])


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
