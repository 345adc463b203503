"""The online store Feast reads: one row of state per customer, folded when it is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from feast import Entity, FeatureView
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from feature_repo.spec import FeatureSpec
from feature_repo.state.read import FeatureValue, StateReader
from feature_repo.state.storage import SQLiteStateStorage
from feature_repo.stores.common import MATERIALIZE_REFUSED, SpecViewError, resolve, spec_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TwinOnlineStoreConfig(FeastConfigBaseModel):
    """`online_store:` of feature_store.yaml. Relative paths start from the Feast repo."""

    type: str = "feature_repo.stores.online.TwinOnlineStore"
    path: str
    features: str = "../configs/features.yaml"
    clock: Literal["wall", "data_end"] = "wall"


class TwinOnlineStore(OnlineStore):
    """Answers `get_online_features` from states at the instant the clock says.

    A customer without a state has the features of a customer without events, as in
    `get_historical_features`: counts are 0, everything else is empty.
    """

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Raises SpecViewError if the view is not of the spec, or the spec has changed."""
        settings: TwinOnlineStoreConfig = config.online_store
        spec = spec_of(config, settings.features, table)
        names = tuple(requested_features or [field.name for field in table.features])
        storage = _storage(resolve(config, settings.path))
        as_of = _now(settings, storage, spec)
        customers = [_customer_of(key) for key in entity_keys]
        states = storage.get_many(spec.hash, customers)
        reader = _reader(spec, names)
        at = _EPOCH + timedelta(microseconds=as_of)
        rows: list[tuple[datetime | None, dict[str, Value] | None]] = []
        for customer in customers:
            state = states.get(customer)
            values = reader.read(state.data or None if state else None, as_of)
            rows.append((at, {name: _proto(value) for name, value in zip(names, values, strict=True)}))
        return rows

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Refused: values are computed, not stored."""
        raise SpecViewError(MATERIALIZE_REFUSED)

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Make the file of states, so that reads work right after `feast apply`."""
        _storage(resolve(config, config.online_store.path))

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Drop the states of every spec. They can be built again from the lake."""
        storage = _storage(resolve(config, config.online_store.path))
        for spec_hash in storage.spec_hashes():
            storage.remove_spec(spec_hash)


@lru_cache(maxsize=8)
def _storage(path: Path) -> SQLiteStateStorage:
    return SQLiteStateStorage(path)


_readers: dict[tuple[str, tuple[str, ...]], StateReader] = {}


def _reader(spec: FeatureSpec, names: tuple[str, ...]) -> StateReader:
    key = (spec.hash, names)
    if key not in _readers:
        _readers[key] = StateReader(spec, names)
    return _readers[key]


def _now(settings: TwinOnlineStoreConfig, storage: SQLiteStateStorage, spec: FeatureSpec) -> int:
    if settings.clock == "wall":
        return time.time_ns() // 1000
    newest = storage.newest(spec.hash)
    return time.time_ns() // 1000 if newest is None else newest + 1


def _customer_of(key: EntityKey) -> str:
    return str(key.entity_values[0].string_val)


def _proto(value: FeatureValue) -> Value:
    if value is None:
        return Value()
    if isinstance(value, str):
        return Value(string_val=value)
    return Value(int64_val=value) if isinstance(value, int) else Value(double_val=value)
