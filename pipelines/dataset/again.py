"""The rows of a dataset made again over another lake, such as a log that was cut: for those who doubt it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import duckdb
import pandas as pd

from feature_repo.event_table import register_customer_events
from feature_repo.membership import Membership
from pipelines.dataset.build import feature_values
from pipelines.dataset.labels import label_rows
from pipelines.dataset.population import Openings, When
from pipelines.settings import Settings
from pipelines.settings.models import ActionModelConfig, ModelConfig

if TYPE_CHECKING:
    from feast import FeatureStore


class Log(Protocol):
    """A lake, and whose every event is."""

    @property
    def lake(self) -> Path: ...

    @property
    def membership(self) -> Membership: ...


@dataclass(frozen=True, slots=True)
class DatasetAgain:
    """Features and labels as `build_dataset` makes them. `store` is this one's alone: what it reads is changed."""

    settings: Settings
    config: ModelConfig | ActionModelConfig
    store: FeatureStore

    def features(self, log: Log, points: pd.DataFrame) -> pd.DataFrame:
        """All features of the dataset at `points` (customer_id, as_of in microseconds UTC), float64, in order."""
        offline = self.store.config.offline_store
        offline.lake, offline.lake_version = str(log.lake.resolve()), None
        offline.membership_version = log.membership.version
        names = self.settings.features.service_features(self.config.feature_service)
        return feature_values(self.settings, self.config, self.store, points, names)

    def labels(self, log: Log, points: pd.DataFrame) -> pd.DataFrame:
        """customer_id, as_of and label of the population at the instants of `points`, or at all openings between."""
        with duckdb.connect() as connection:
            register_customer_events(connection, log.lake, membership=log.membership)
            return label_rows(connection, self.config.label, self._when(points["as_of"]))

    def _when(self, instants: pd.Series) -> When:
        if self.config.snapshots.at == "opening":
            return Openings(int(instants.min()), int(instants.max()) + 1)
        return sorted({int(instant) for instant in instants})
