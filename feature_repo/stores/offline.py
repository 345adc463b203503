"""The offline store Feast reads: the spec compiled to SQL over the lake, at any points."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureView, OnDemandFeatureView
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.saved_dataset import SavedDatasetStorage

from feature_repo.membership import load
from feature_repo.spec import FeatureSpec
from feature_repo.stores.common import JOIN_KEY, MATERIALIZE_REFUSED, SpecViewError, resolve, spec_of
from feature_repo.stores.points import POINT_SCHEMA, EventLog, features_at


class TwinDuckDBOfflineStoreConfig(FeastConfigBaseModel):
    """`offline_store:` of feature_store.yaml. Relative paths start from the Feast repo.

    `lake_version` pins a version of the Delta table, `membership_version` one of whose events are whose
    (published under `membership`); without them the newest is read.
    """

    type: str = "feature_repo.stores.offline.TwinDuckDBOfflineStore"
    lake: str
    features: str = "../configs/features.yaml"
    lake_version: int | None = None
    membership: str
    membership_version: int | None = None


class TwinDuckDBOfflineStore(OfflineStore):
    """Answers `get_historical_features` at exactly the timestamps asked, end of windows strict."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        """Columns of `entity_df` (a DataFrame, or SQL for DuckDB), then one column per feature.

        Naive timestamps are taken as UTC. Counts are 0 and everything else is null where a customer
        had no event in the window.

        Raises:
            SpecViewError: entity_df has no customer_id or timestamp, or a view is not of the spec.
        """
        if entity_df is None:
            raise SpecViewError(f"entity_df is needed: a DataFrame with {JOIN_KEY} and event_timestamp")
        settings: TwinDuckDBOfflineStoreConfig = config.offline_store
        spec = _one_spec(config, settings, feature_views)
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        columns = _requested(feature_views, feature_refs, full_feature_names)
        columns |= _needed(on_demand, full_feature_names)
        lake = resolve(config, settings.lake)
        membership = load(resolve(config, settings.membership), settings.membership_version)
        if membership is None:
            raise SpecViewError("it is not published yet whose events are whose: run `twin features apply`")

        log = EventLog(lake, settings.lake_version, membership)

        def evaluate() -> pa.Table:
            entities = _entity_table(entity_df)
            points = _points(entities)
            features = features_at(spec, log, points, list(columns))
            for name, output in columns.items():
                entities = entities.append_column(output, features.column(name))
            return entities

        metadata = RetrievalMetadata(features=list(columns.values()), keys=[JOIN_KEY])
        return SpecRetrievalJob(evaluate, full_feature_names, on_demand, metadata)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """Refused: this is what `feast materialize` would read."""
        raise SpecViewError(MATERIALIZE_REFUSED)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Refused as well: depending on its engine, `feast materialize` reads through this one."""
        raise SpecViewError(MATERIALIZE_REFUSED)


class SpecRetrievalJob(RetrievalJob):
    """A lazy result: nothing is computed before `to_arrow` or `to_df`."""

    def __init__(
        self,
        evaluate: Callable[[], pa.Table],
        full_feature_names: bool,
        on_demand: list[OnDemandFeatureView],
        metadata: RetrievalMetadata,
    ) -> None:
        self._evaluate = evaluate
        self._full_feature_names = full_feature_names
        self._on_demand = on_demand
        self._metadata = metadata

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata:
        return self._metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._evaluate()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._evaluate().to_pandas()

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool | None = False, timeout: int | None = None
    ) -> None:
        """Write the result as Parquet. Raises SpecViewError for other storages and existing files."""
        if not isinstance(storage, SavedDatasetFileStorage):
            raise SpecViewError("results are saved to Parquet files: use SavedDatasetFileStorage")
        path = Path(storage.file_options.uri)
        if path.exists() and not allow_overwrite:
            raise SpecViewError(f"{path.name} exists already; pass allow_overwrite=True to replace it")
        pq.write_table(self.to_arrow(), path)


def _one_spec(config: RepoConfig, settings: TwinDuckDBOfflineStoreConfig, views: list[FeatureView]) -> FeatureSpec:
    specs = [spec_of(config, settings.features, view) for view in views]
    if not specs:
        raise SpecViewError("no feature view was asked for")
    return specs[0]


def _requested(views: list[FeatureView], refs: list[str], full_names: bool) -> dict[str, str]:
    """Feature name to the name of its output column, in the order of `refs`."""
    known = {view.projection.name_to_use(): view for view in views}
    columns: dict[str, str] = {}
    for ref in refs:
        view, name = ref.split(":", 1)
        if view in known:
            columns[name] = f"{view}__{name}" if full_names else name
    return columns


def _needed(on_demand: list[OnDemandFeatureView], full_names: bool) -> dict[str, str]:
    """What on-demand views read of customers: feature name to the name of its output column."""
    return {
        field.name: f"{projection.name_to_use()}__{field.name}" if full_names else field.name
        for view in on_demand
        for projection in view.source_feature_view_projections.values()
        for field in projection.features
    }


def _entity_table(entity_df: pd.DataFrame | str) -> pa.Table:
    if isinstance(entity_df, str):
        return duckdb.sql(entity_df).to_arrow_table()
    # Microseconds: DuckDB cannot read nanosecond instants that carry a zone.
    frame = entity_df.reset_index(drop=True)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for i, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            column = table.column(i).cast(pa.timestamp("us", tz=field.type.tz), safe=False)
            table = table.set_column(i, field.name, column)
    return table


def _points(entities: pa.Table) -> pa.Table:
    names = entities.column_names
    if JOIN_KEY not in names:
        raise SpecViewError(f"entity_df needs a column {JOIN_KEY}; it has: {', '.join(names)}")
    # Only the types are looked at, so one row is enough.
    sample = entities.slice(0, 1).to_pandas()
    stamp = infer_event_timestamp_from_entity_df(dict(zip(sample.columns, sample.dtypes, strict=True)))
    instants = entities.column(stamp).cast(pa.timestamp("us", tz="UTC"))
    columns = [
        pa.array(range(entities.num_rows), pa.int64()),
        entities.column(JOIN_KEY).cast(pa.string()),
        pc.cast(instants, pa.int64()),
    ]
    return pa.table(columns, POINT_SCHEMA)
