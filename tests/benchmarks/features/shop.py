"""A made-up shop with 60 features: its lake, its states, and Feast over our stores."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import yaml
from feast import FeatureStore
from psycopg import sql

from feature_repo.event_table import ensure_table
from feature_repo.feast_objects import feast_objects
from feature_repo.membership import OWNERS, PERMISSIONS, REVISIONS, Membership
from feature_repo.spec import FeatureSpec
from feature_repo.state.backends import Backend, open_file, open_server
from feature_repo.state.build import build_states
from feature_repo.state.storage import StateStorage
from tests.benchmarks.features.events import customer, write_events
from tests.benchmarks.features.spec import SERVICE, write_spec

# Where our states stand on servers of this machine.
OURS = {"redis": "redis://127.0.0.1:6379/15", "postgres": "postgresql://postgres@127.0.0.1:5432/test"}


@dataclass(frozen=True)
class FeatureShop:
    """Everything lies in `folder`. Customers are `customer(0)` to `customer(customers - 1)`."""

    folder: Path
    spec: FeatureSpec
    customers: int

    @property
    def names(self) -> tuple[str, ...]:
        return self.spec.service_features(SERVICE)

    @property
    def people(self) -> list[str]:
        return [customer(number) for number in range(self.customers)]

    @property
    def lake(self) -> Path:
        return self.folder / "lake"

    @property
    def state(self) -> Path:
        return self.folder / "state.db"

    def storage(self) -> StateStorage:
        return open_file(self.state)

    @contextmanager
    def place(self, kind: str) -> Iterator[tuple[StateStorage, dict[str, Any]]]:
        """The states of this shop in a place of `kind`, and what of `online_store:` names it. Removed at the end."""
        if kind == "sqlite":
            yield self.storage(), {}
            return
        backend: Backend = "redis" if kind == "redis" else "postgresql"
        workspace = f"bench_{uuid.uuid4().hex[:8]}"
        storage = open_server(backend, OURS[kind], workspace)
        try:
            build_states(self.spec, self.lake, storage)
            yield storage, {"backend": backend, "connection": OURS[kind], "workspace": workspace}
        finally:
            storage.remove_spec(self.spec.hash)
            if kind == "postgres":
                with psycopg.connect(OURS[kind]) as connection:
                    schema = sql.Identifier(f"customer_twin_{workspace}")
                    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))

    def open_store(self, **online: Any) -> FeatureStore:
        """Feast over our stores; `online` replaces parts of the online store's configuration."""
        content = {
            "project": "bench",
            "provider": "local",
            "registry": "registry.db",
            "online_store": {
                "type": "feature_repo.stores.online.TwinOnlineStore",
                "path": str(self.state),
                "features": "features.yaml",
                "clock": "data_end",
                **online,
            },
            "offline_store": {
                "type": "feature_repo.stores.offline.TwinDuckDBOfflineStore",
                "lake": self.lake.name,
                "membership": "membership",
                "features": "features.yaml",
            },
            "entity_key_serialization_version": 3,
        }
        store = open_feast(self.folder / "ours.yaml", content)
        store.apply(feast_objects(self.spec, self.lake))
        return store


def open_feast(file: Path, content: dict[str, Any]) -> FeatureStore:
    """Feast with `content` as its `feature_store.yaml`."""
    file.write_text(yaml.safe_dump(content))
    return FeatureStore(repo_path=str(file.parent), fs_yaml_file=file)


def make_shop(folder: Path, customers: int, events: int) -> FeatureShop:
    """A shop with `events` events over two years, of which no state is built yet."""
    folder.mkdir(parents=True, exist_ok=True)
    shop = FeatureShop(folder, write_spec(folder / "features.yaml"), customers)
    write_events(shop.lake, events, customers)
    ensure_table(shop.lake)
    tables = [schema.empty_table() for schema in (OWNERS, PERMISSIONS, REVISIONS)]
    Membership(1, *tables, sources=("bench",)).save(folder / "membership")
    return shop


def build(shop: FeatureShop) -> int:
    """Build the states of `shop`, and give the instant (microseconds UTC) just after its newest event."""
    build_states(shop.spec, shop.lake, shop.storage())
    newest = shop.storage().newest(shop.spec.hash)
    if newest is None:
        raise RuntimeError("there are no states")
    return newest + 1


def historical(shop: FeatureShop, store: FeatureStore, as_of: int) -> pa.Table:
    """Every feature of every customer at `as_of`, through our offline store."""
    asked = entities(shop.people, as_of).to_pandas()
    return store.get_historical_features(asked, store.get_feature_service(SERVICE)).to_arrow()


def entities(people: list[str], as_of: int) -> pa.Table:
    """What Feast asks for: a row a customer, all at `as_of` (microseconds UTC)."""
    stamps = pa.array([as_of] * len(people), pa.timestamp("us", tz="UTC"))
    return pa.table({"customer_id": pa.array(people, pa.string()), "event_timestamp": stamps})


def moment(as_of: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=as_of)
