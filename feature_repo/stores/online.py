"""The online store Feast reads: one row of state per customer, folded when it is read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from feast import Entity, FeatureView
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from feature_repo.spec import FeatureSpec
from feature_repo.state.backends import URL_VARIABLES, Backend, open_file, open_server
from feature_repo.state.read import StateReader
from feature_repo.state.storage import StateStorage
from feature_repo.stores.answer import Asked, fill, to_proto
from feature_repo.stores.common import JOIN_KEY, MATERIALIZE_REFUSED, SpecViewError, resolve, spec_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TwinOnlineStoreConfig(FeastConfigBaseModel):
    """`online_store:` of feature_store.yaml.

    `path` is the file of the backend `sqlite`; relative paths start from the Feast repo. `connection` is the address of
    the others, best as `${TWIN_REDIS_URL}` or `${TWIN_POSTGRES_URL}`, which Feast replaces by the environment's;
    `workspace` is whose states there. Where a connection is not given, the environment's variable is read.
    """

    type: str = "feature_repo.stores.online.TwinOnlineStore"
    backend: Backend = "sqlite"
    path: str | None = None
    connection: str | None = None
    workspace: str = "default"
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
        """Raises SpecViewError if the view is not of the spec, the spec has changed, or only others have states."""
        settings: TwinOnlineStoreConfig = config.online_store
        spec = spec_of(config, settings.features, table)
        names = tuple(requested_features or [field.name for field in table.features])
        storage = _storage(config)
        _check_built(settings, storage, spec)
        as_of = _now(settings, storage, spec)
        customers = [_customer_of(key) for key in entity_keys]
        states = storage.get_many(spec.hash, customers)
        reader = _reader(spec, names)
        at = _EPOCH + timedelta(microseconds=as_of)
        rows: list[tuple[datetime | None, dict[str, Value] | None]] = []
        for customer in customers:
            state = states.get(customer)
            values = reader.read(state.data or None if state else None, as_of)
            rows.append((at, {name: to_proto(value) for name, value in zip(names, values, strict=True)}))
        return rows

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: list[tuple[FeatureView, list[str]]],
        join_key_values: dict[str, Sequence[Value]],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        """All views at once: a state is read and folded once a customer, not once a view. Feast's hook for that.

        Raises as `online_read`.
        """
        settings: TwinOnlineStoreConfig = config.online_store
        specs = {spec.hash: spec for view, _ in grouped_refs for spec in [spec_of(config, settings.features, view)]}
        renamed = any(view.projection.join_key_map for view, _ in grouped_refs)
        if len(specs) != 1 or renamed or include_feature_view_version_metadata:
            super()._read_features_per_fv(
                config,
                grouped_refs,
                join_key_values,
                entity_name_to_join_key_map,
                online_features_response,
                full_feature_names,
                include_feature_view_version_metadata,
            )
            return
        (spec,) = specs.values()
        asked = [
            Asked(view, tuple(names), f"{view.projection.name_to_use()}__" if full_feature_names else "")
            for view, names in grouped_refs
        ]
        storage = _storage(config)
        _check_built(settings, storage, spec)
        as_of = _now(settings, storage, spec)
        customers = [str(value.string_val) for value in join_key_values[JOIN_KEY]]
        states = storage.get_many(spec.hash, list(dict.fromkeys(customers)))
        reader = _reader(spec, tuple(name for of_view in asked for name in of_view.names))
        rows = {who: reader.read(state.data or None, as_of) for who, state in states.items()}
        nobody = reader.read(None, as_of)
        fill(online_features_response, asked, [rows.get(who, nobody) for who in customers], as_of)

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
        """Make the place for states, so that reads work right after `feast apply`."""
        _storage(config).spec_hashes()

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Drop the states of every spec. They can be built again from the lake."""
        storage = _storage(config)
        for spec_hash in storage.spec_hashes():
            storage.remove_spec(spec_hash)


def _storage(config: RepoConfig) -> StateStorage:
    """Raises SpecViewError for a configuration without a place, and StateUnavailable."""
    settings: TwinOnlineStoreConfig = config.online_store
    if settings.backend == "sqlite":
        if settings.path is None:
            raise SpecViewError("online_store: the backend sqlite needs a `path`")
        return _file(resolve(config, settings.path))
    variable = URL_VARIABLES[settings.backend]
    url = settings.connection or os.environ.get(variable, "")
    # Feast leaves a variable that is not set as it is written.
    if not url or url.startswith("$"):
        known = url or f"${{{variable}}}"
        raise SpecViewError(f"online_store: the environment does not set {known}, the address of {settings.backend}")
    return open_server(settings.backend, url, settings.workspace)


def _check_built(settings: TwinOnlineStoreConfig, storage: StateStorage, spec: FeatureSpec) -> None:
    """After a change of the spec everybody would look like a customer without events."""
    if settings.backend != "sqlite":
        # The read itself raises StatesLost there; asking first would be one more round trip.
        return
    built = storage.built_specs()
    if built and spec.hash not in built:
        raise SpecViewError(
            f"the states of spec {spec.hash} are not built yet, only of spec {', '.join(built)}:"
            " run `twin state rebuild`"
        )


@lru_cache(maxsize=8)
def _file(path: Path) -> StateStorage:
    return open_file(path)


_readers: dict[tuple[str, tuple[str, ...]], StateReader] = {}


def _reader(spec: FeatureSpec, names: tuple[str, ...]) -> StateReader:
    key = (spec.hash, names)
    if key not in _readers:
        _readers[key] = StateReader(spec, names)
    return _readers[key]


def _now(settings: TwinOnlineStoreConfig, storage: StateStorage, spec: FeatureSpec) -> int:
    if settings.clock == "wall":
        return time.time_ns() // 1000
    newest = storage.newest(spec.hash)
    return time.time_ns() // 1000 if newest is None else newest + 1


def _customer_of(key: EntityKey) -> str:
    return str(key.entity_values[0].string_val)
