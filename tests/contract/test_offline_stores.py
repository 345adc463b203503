"""What every offline store has to do, through Feast as its users call it; one subclass an engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from feast import FeatureStore
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob

from feature_repo import membership
from feature_repo.event_table import EVENT_SCHEMA
from feature_repo.stores.common import SpecViewError
from pipelines.feature_store import open_feature_store
from pipelines.settings import Settings, Workspace, load_settings
from tests.contract.feature_lake import CUSTOMERS, END, write_lake
from tests.reference.lake_events import logged_events
from tests.reference.naive_features import naive_features
from tests.spark import spark_session

pytestmark = pytest.mark.xdist_group("spark")

SERVICE = "churn"
PEOPLE = [*CUSTOMERS, "never seen"]
DAY = 86_400_000_000
VISITS = ["browsing:page_viewed_count_90d", "browsing:page_viewed_days_since_last_lifetime"]


def entities(as_of: int, people: list[str] = PEOPLE) -> pd.DataFrame:
    stamps = pd.to_datetime([as_of] * len(people), unit="us", utc=True)
    return pd.DataFrame({"customer_id": people, "event_timestamp": stamps, "note": range(len(people))})


class OfflineStoreContract:
    """`engine` is what a profile calls the store."""

    engine: str

    @pytest.fixture(scope="class")
    def settings(self, tmp_path_factory: pytest.TempPathFactory) -> Settings:
        loaded = load_settings("feast")
        profile = loaded.profile.model_copy(update={"offline_store": self.engine})
        workspace = Workspace("feast", tmp_path_factory.mktemp("a checkout"))
        made = replace(loaded, profile=profile, workspace=workspace)
        write_lake(made.workspace.lake)
        return made

    @pytest.fixture(scope="class")
    def store(self, settings: Settings) -> FeatureStore:
        return open_feature_store(settings)

    @pytest.fixture
    def pinned(self, store: FeatureStore) -> Iterator[Any]:
        """The store's settings; whatever a test pins is let go again."""
        options = store.config.offline_store
        before = (options.lake_version, options.membership_version, options.features)
        yield options
        options.lake_version, options.membership_version, options.features = before

    def ask(self, store: FeatureStore, frame: pd.DataFrame | str, features: list[str] | None = None) -> RetrievalJob:
        return store.get_historical_features(frame, features or store.get_feature_service(SERVICE))

    def test_features_equal_the_oracle(self, settings: Settings, store: FeatureStore) -> None:
        spec = settings.features
        texts = [name for name, feature in spec.by_name.items() if feature.kind == "text"]
        names = [*spec.service_features(SERVICE), *texts]
        features = [f"{spec.by_name[name].view}:{name}" for name in names]
        events = logged_events(settings.workspace.lake)
        instants = [END - 100 * DAY, END, END + 50 * DAY + 1]
        table = self.ask(store, pd.concat([entities(as_of) for as_of in instants]), features).to_arrow()
        for row, (as_of, customer) in enumerate((a, c) for a in instants for c in PEOPLE):
            truth = naive_features(spec, names, events.get(customer, []), as_of)
            assert [table.column(name)[row].as_py() for name in names] == truth
        types = {"integer": pa.int64(), "float": pa.float64(), "text": pa.string()}
        assert texts
        assert [table.schema.field(name).type for name in names] == [types[spec.by_name[n].kind] for n in names]

    def test_rows_keep_their_order_columns_and_repetitions(self, store: FeatureStore) -> None:
        frame = pd.concat([entities(END, ["c3", "c1"]), entities(END - DAY, ["c3"]), entities(END, ["c3"])])
        frame["channel"] = pd.Categorical(["web", None, "app", "web"])
        result = self.ask(store, frame, VISITS).to_arrow()
        assert result.column_names == [*frame.columns, *(name.split(":")[1] for name in VISITS)]
        assert result.column("customer_id").to_pylist() == ["c3", "c1", "c3", "c3"]
        assert result.column("note").to_pylist() == [0, 1, 0, 0]
        assert result.column("channel").to_pylist() == ["web", None, "app", "web"]
        counts = result.column("page_viewed_count_90d").to_pylist()
        assert counts[0] == counts[3]

    def test_naive_timestamps_are_utc_and_full_names_carry_the_view(self, store: FeatureStore) -> None:
        aware = pd.DataFrame({"customer_id": ["c1"], "event_timestamp": pd.to_datetime([END], unit="us", utc=True)})
        naive = aware.assign(event_timestamp=aware["event_timestamp"].dt.tz_localize(None))
        one, two = (
            store.get_historical_features(frame, VISITS, full_feature_names=True).to_arrow() for frame in (naive, aware)
        )
        for name in VISITS:
            assert one.column(name.replace(":", "__")).to_pylist() == two.column(name.replace(":", "__")).to_pylist()

    def test_sql_can_name_the_entities_and_their_order(self, store: FeatureStore) -> None:
        query = """
        SELECT concat('c', n) AS customer_id, CAST('2024-10-01 07:00:00' AS TIMESTAMP) AS event_timestamp, n AS number
        FROM (VALUES (3), (1), (2)) AS numbers (n) ORDER BY n DESC"""
        result = self.ask(store, query, VISITS).to_df()
        assert result["customer_id"].tolist() == ["c3", "c2", "c1"]
        assert result.columns.tolist() == ["customer_id", "event_timestamp", "number", *(v[9:] for v in VISITS)]
        at = int(self.instant_of(datetime(2024, 10, 1, 7)))
        expected = self.ask(store, entities(at, ["c3", "c2", "c1"]), VISITS).to_df()
        for name in (v[9:] for v in VISITS):
            assert result[name].tolist() == expected[name].tolist()

    def instant_of(self, written: datetime) -> int:
        """Microseconds UTC of a time without a zone in the engine's SQL."""
        return int(pd.Timestamp(written).value // 1000)

    def test_features_of_a_call_stand_beside_those_of_the_customer(self, store: FeatureStore) -> None:
        frame = entities(END, ["c1", "c2"]).assign(cart_value=[5_000, 1], channel=["web", "app"], as_of=END)
        result = self.ask(store, frame, [*VISITS, "call:call_hour", "call:call_channel_web"]).to_arrow()
        assert result.column("call_hour").to_pylist() == [16, 16]
        assert result.column("call_channel_web").to_pylist() == [1, 0]

    def test_nothing_is_computed_before_it_is_asked_for(self, store: FeatureStore, pinned: Any) -> None:
        pinned.lake_version = 1_000
        job = self.ask(store, entities(END))
        with pytest.raises(Exception, match="1000"):
            job.to_arrow()

    def test_a_pinned_lake_is_read_as_it_was(self, settings: Settings, store: FeatureStore, pinned: Any) -> None:
        frame = entities(END + DAY)
        before = self.ask(store, frame, VISITS).to_arrow()
        lake = DeltaTable(str(settings.workspace.lake))
        known = lake.to_pyarrow_table().slice(0, 3_000)
        positions = pa.array(range(100_000, 103_000), pa.int64())
        write_deltalake(lake, known.set_column(0, EVENT_SCHEMA.field("position"), positions), mode="append")
        try:
            assert self.ask(store, frame, VISITS).to_arrow() != before
            pinned.lake_version = 0
            assert self.ask(store, frame, VISITS).to_arrow() == before
        finally:
            lake.restore(0)

    def test_a_pinned_membership_is_read_as_it_was(self, settings: Settings, store: FeatureStore, pinned: Any) -> None:
        folder = settings.workspace.membership
        known = membership.load(folder)
        assert known is not None
        owners = pa.Table.from_pylist(
            [
                {"kind": "user_id", "stored": "c1", "rank": 0, "customer_id": "c2", "joined_at": None},
                {"kind": "anonymous_id", "stored": "visitor", "rank": 1, "customer_id": "c3", "joined_at": END - DAY},
            ],
            schema=membership.OWNERS,
        )
        before = self.ask(store, entities(END), VISITS).to_arrow()
        place = replace(known, version=known.version + 1, owners=owners).save(folder)
        try:
            after = self.ask(store, entities(END), VISITS).to_arrow()
            counts = dict(zip(PEOPLE, after.column("page_viewed_count_90d").to_pylist(), strict=True))
            assert counts["c1"] == 0
            assert counts["c2"] + counts["c3"] > sum(before.column("page_viewed_count_90d").to_pylist()[1:4])
            pinned.membership_version = known.version
            assert self.ask(store, entities(END), VISITS).to_arrow() == before
        finally:
            for file in place.iterdir():
                file.unlink()
            place.rmdir()

    def test_a_result_is_saved(self, store: FeatureStore, tmp_path: Path) -> None:
        job = self.ask(store, entities(END, ["c1"]), VISITS)
        storage = SavedDatasetFileStorage(path=str(tmp_path / "saved.parquet"))
        job.persist(storage)
        assert (tmp_path / "saved.parquet").exists()
        with pytest.raises(SpecViewError, match="allow_overwrite"):
            job.persist(storage)

    def test_what_is_missing_is_named(self, store: FeatureStore) -> None:
        with pytest.raises(Exception, match="customer_id"):
            self.ask(store, entities(END).rename(columns={"customer_id": "customer"})).to_arrow()
        with pytest.raises(Exception, match="entity_df"):
            store.get_historical_features(features=VISITS)

    def test_materialize_is_refused_and_says_what_to_do(self, store: FeatureStore) -> None:
        end = datetime(2024, 10, 1)
        with pytest.raises(SpecViewError, match="twin state rebuild"):
            store.materialize(end - timedelta(days=1), end)

    def test_views_of_an_older_spec_are_refused(
        self, settings: Settings, store: FeatureStore, pinned: Any, tmp_path: Path
    ) -> None:
        text = (settings.config_dir / "features.yaml").read_text().replace("distinct_cap: 500", "distinct_cap: 499")
        changed = tmp_path / "features.yaml"
        changed.write_text(text)
        pinned.features = str(changed)
        with pytest.raises(SpecViewError, match="feast apply"):
            self.ask(store, entities(END))


class TestDuckDB(OfflineStoreContract):
    engine = "duckdb"


class TestSpark(OfflineStoreContract):
    engine = "spark"

    @pytest.fixture(scope="class", autouse=True)
    def session(self) -> Any:
        return spark_session()

    def instant_of(self, written: datetime) -> int:
        """SQL of entities is the caller's, in the caller's session and its time zone."""
        return int(pd.Timestamp(written, tz="Asia/Bangkok").value // 1000)

    def test_the_result_can_stay_on_the_cluster(self, store: FeatureStore, session: Any) -> None:
        job: Any = self.ask(store, entities(END, ["c3", "c1", "c2"]), VISITS)
        frame = job.to_spark_df()
        collected = job.to_arrow()
        assert frame.columns == collected.column_names
        assert (
            frame.toArrow().select(["customer_id", *frame.columns[3:]]).to_pydict()
            == collected.select(["customer_id", *frame.columns[3:]]).to_pydict()
        )
        joined = frame.join(session.createDataFrame([("c1", "gold")], "customer_id string, tier string"), "customer_id")
        assert [row.tier for row in joined.collect()] == ["gold"]

    def test_the_session_of_the_caller_stays_as_it_was(self, store: FeatureStore, session: Any) -> None:
        before = (session.conf.getAll, session.catalog.listTables())
        self.ask(store, entities(END, ["c1"]), VISITS).to_arrow()
        assert (session.conf.getAll, session.catalog.listTables()) == before
        assert type(session).getActiveSession()._jsparkSession.equals(session._jsparkSession)
