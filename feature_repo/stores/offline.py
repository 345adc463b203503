"""The offline store Feast reads: the spec compiled to SQL over the lake, at any points, in DuckDB."""

from __future__ import annotations

from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from feast import FeatureView
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig

from feature_repo.stores.historical import (
    LakeStore,
    LakeStoreConfig,
    SpecRetrievalJob,
    entities_of,
    points_of,
    read_request,
)
from feature_repo.stores.points import EventLog, features_at


class TwinDuckDBOfflineStoreConfig(LakeStoreConfig):
    """`offline_store:` of feature_store.yaml, for DuckDB."""

    type: str = "feature_repo.stores.offline.TwinDuckDBOfflineStore"


class TwinDuckDBOfflineStore(LakeStore):
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
        request = read_request(config, feature_views, feature_refs, entity_df, registry, project, full_feature_names)

        log = EventLog(request.lake, request.lake_version, request.membership)

        def evaluate() -> pa.Table:
            asked = request.entities
            entities = duckdb.sql(asked).to_arrow_table() if isinstance(asked, str) else entities_of(asked)
            return request.put_beside(
                entities, features_at(request.spec, log, points_of(entities), list(request.columns))
            )

        return SpecRetrievalJob(request, evaluate)
