"""The offline store on Spark: the same spec, SQL and values as in DuckDB, for histories that outgrow one machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import FeatureView
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig
from pydantic import Field
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import monotonically_increasing_id
from pyspark.sql.types import StructType, TimestampNTZType, TimestampType

from feature_repo.spark.events import LakeFormat, register_customer_events
from feature_repo.spark.features import FeaturesFrame, features_frame
from feature_repo.spark.session import open_session, private_session, share
from feature_repo.stores.common import JOIN_KEY
from feature_repo.stores.historical import (
    HistoricalRequest,
    LakeStore,
    LakeStoreConfig,
    SpecRetrievalJob,
    entities_of,
    points_of,
    read_request,
    timestamp_column,
)

# The number of an entity row; no name of a feature or of a customer's column begins so.
_POINT = "__point"


class TwinSparkOfflineStoreConfig(LakeStoreConfig):
    """`offline_store:` of feature_store.yaml, for Spark.

    `spark_conf` configures the session where the caller has none active. `lake_format` says how the Delta
    table is read: `files`, the Parquet files its log lists, which needs nothing but Spark, or `delta`,
    through the Delta Lake package of the cluster.
    """

    type: str = "feature_repo.stores.offline_spark.TwinSparkOfflineStore"
    lake_format: LakeFormat = "files"
    spark_conf: dict[str, str] = Field(default_factory=dict)


class TwinSparkOfflineStore(LakeStore):
    """Answers `get_historical_features` as `TwinDuckDBOfflineStore` does, to the last bit."""

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
    ) -> SparkSpecRetrievalJob:
        """Columns of `entity_df` (a DataFrame, or SQL for the caller's Spark session), then one per feature.

        Rows come in the order of `entity_df`. Naive timestamps are taken as UTC.

        Raises:
            SpecViewError: entity_df has no customer_id or timestamp, or a view is not of the spec.
        """
        request = read_request(config, feature_views, feature_refs, entity_df, registry, project, full_feature_names)
        settings: TwinSparkOfflineStoreConfig = config.offline_store

        return SparkSpecRetrievalJob(request, settings)


class SparkSpecRetrievalJob(SpecRetrievalJob):
    """A lazy result that can also stay on the cluster."""

    def __init__(self, request: HistoricalRequest, settings: TwinSparkOfflineStoreConfig) -> None:
        super().__init__(request, lambda: _table(request, settings))
        self._settings = settings
        self._handed_out: list[FeaturesFrame] = []

    def to_spark_df(self) -> DataFrame:
        """The result as a Spark DataFrame, computed when an action is called on it.

        Columns of on-demand views are not among it, as in Feast's own Spark store. What Spark keeps of the
        computation is given back by `unpersist`.
        """
        frame, features = _frame(self._request, self._settings)
        self._handed_out.append(features)
        return frame

    def unpersist(self) -> None:
        """Give back what Spark keeps for the frames of `to_spark_df`; they stay valid."""
        while self._handed_out:
            self._handed_out.pop().release()


def _table(request: HistoricalRequest, settings: TwinSparkOfflineStoreConfig) -> pa.Table:
    """The features alone come from Spark where the entities are here already, so that these stay as they are."""
    if isinstance(request.entities, str):
        frame, features = _frame(request, settings)
        return _collected(frame, features)
    session = open_session(settings.spark_conf)
    private = private_session(session)
    entities = entities_of(request.entities)
    share(session.createDataFrame(points_of(entities)), private, "points")
    features = _features(session, private, request, settings)
    return request.put_beside(entities, _collected(features.frame, features))


def _collected(frame: DataFrame, features: FeaturesFrame) -> pa.Table:
    try:
        return frame.toArrow()
    finally:
        features.release()


def _frame(request: HistoricalRequest, settings: TwinSparkOfflineStoreConfig) -> tuple[DataFrame, FeaturesFrame]:
    """Entities and features side by side, and the features by themselves."""
    session = open_session(settings.spark_conf)
    private = private_session(session)
    share(_numbered(session, request.entities), private, "entities")
    entities = private.table("entities")
    private.sql(_points_sql(entities.schema)).createOrReplaceTempView("points")
    features = _features(session, private, request, settings)
    named = features.frame.withColumnsRenamed({"point": _POINT, **request.columns})
    return entities.join(named, _POINT).orderBy(_POINT).drop(_POINT), features


def _features(
    session: SparkSession, private: SparkSession, request: HistoricalRequest, settings: TwinSparkOfflineStoreConfig
) -> FeaturesFrame:
    """The features at the view `points` of `private`."""
    register_customer_events(
        session, private, request.lake, request.lake_version, request.membership, settings.lake_format
    )
    return features_frame(private, request.spec, list(request.columns))


def _numbered(session: SparkSession, entities: pd.DataFrame | str) -> DataFrame:
    """The entity rows with their number, ascending in their order."""
    if isinstance(entities, str):
        # Kept as computed: the number of a row must be the same wherever the query reads it.
        return session.sql(entities).withColumn(_POINT, monotonically_increasing_id()).localCheckpoint()
    table = entities_of(entities)
    return session.createDataFrame(table.append_column(_POINT, pa.array(range(len(table)), pa.int64())))


def _points_sql(schema: StructType) -> str:
    instants = (TimestampType, TimestampNTZType)
    types = {
        field.name: np.dtype("datetime64[us]" if isinstance(field.dataType, instants) else "object") for field in schema
    }
    stamp = timestamp_column(types)
    # The session's time zone is UTC, so that an instant without a zone is taken as UTC.
    as_of = f"unix_micros(CAST(`{stamp}` AS TIMESTAMP))"
    return f"SELECT {_POINT} AS point, CAST({JOIN_KEY} AS STRING) AS customer_id, {as_of} AS as_of FROM entities"
