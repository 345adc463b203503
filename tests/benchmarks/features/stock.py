"""Stock Feast as its users run it: feature values computed elsewhere, in a Parquet file for each view.

It cannot compute a window that ends at any instant asked; it hands out the latest value written before.
"""

from __future__ import annotations

import contextlib
import io
import socket
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import Float64, Int64, String

from feature_repo.spec import FeatureSpec, View
from feature_repo.state.storage import StateStorage
from tests.benchmarks.features.shop import FeatureShop, build, historical, make_shop, moment, open_feast
from tests.benchmarks.features.spec import SERVICE
from tests.benchmarks.place import Place, Size

STAMP = "event_timestamp"

# Stock online stores, by kind; servers are those of this machine.
ONLINE: dict[str, dict[str, Any]] = {
    "sqlite": {"type": "sqlite", "path": "online.db"},
    "redis": {"type": "redis", "connection_string": "127.0.0.1:6379"},
    "postgres": {
        "type": "postgres",
        "host": "127.0.0.1",
        "port": 5432,
        "database": "test",
        "user": "postgres",
        "password": "unused",
        "sslmode": "prefer",
    },
}


def table_of(folder: Path, view: str) -> Path:
    """The file of a view's values: customer_id, event_timestamp, and its features."""
    return folder / f"{view}.parquet"


def write_tables(folder: Path, spec: FeatureSpec, values: pa.Table) -> None:
    """Split `values` (customer_id, event_timestamp, every feature) into the files of the views."""
    folder.mkdir(parents=True, exist_ok=True)
    for view in spec.views:
        columns = ["customer_id", STAMP, *(feature.name for feature in view.features)]
        parquet.write_table(values.select(columns), table_of(folder, view.name))


@dataclass(frozen=True, slots=True)
class Beside:
    """Stock Feast's online store of one kind, and ours of the same kind with the same values at `as_of`."""

    kind: str
    shop: FeatureShop
    as_of: int
    stock: FeatureStore
    storage: StateStorage
    online: dict[str, Any]


def beside_stock(place: Place, size: Size) -> Iterator[Beside]:
    """Both stores of each kind that can be reached, filled."""
    with tempfile.TemporaryDirectory(dir=place.settings.workspace.root) as folder:
        shop = make_shop(Path(folder), size.customers, size.customers * size.events_each)
        as_of = build(shop)
        write_tables(shop.folder / "stock", shop.spec, historical(shop, shop.open_store(), as_of))
        for kind in reachable():
            with stock_store(shop.folder / "stock", shop.spec, kind) as stock, shop.place(kind) as (storage, online):
                materialize(stock, as_of)
                yield Beside(kind, shop, as_of, stock, storage, online)


@contextmanager
def stock_store(folder: Path, spec: FeatureSpec, kind: str) -> Iterator[FeatureStore]:
    """Stock Feast over the tables in `folder`, with its DuckDB offline store and its online store `kind`.

    What it put into a server is removed at the end.
    """
    project = f"bench_{uuid.uuid4().hex[:8]}"
    content = {
        "project": project,
        "provider": "local",
        "registry": f"stock-{kind}.db",
        "online_store": ONLINE[kind],
        "offline_store": {"type": "duckdb"},
        "entity_key_serialization_version": 3,
    }
    store = open_feast(folder / f"stock-{kind}.yaml", content)
    entity = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
    views = [_view(folder, view, entity) for view in spec.views]
    store.apply([entity, *views, FeatureService(name=SERVICE, features=views)])
    try:
        yield store
    finally:
        store.teardown()


def _view(folder: Path, view: View, entity: Entity) -> FeatureView:
    fields = [Field(name=f.name, dtype=Int64 if f.kind == "integer" else Float64) for f in view.features]
    source = FileSource(name=view.name, path=str(table_of(folder, view.name)), timestamp_field=STAMP)
    schema = [Field(name="customer_id", dtype=String), *fields]
    pushed = PushSource(name=push_source(view.name), batch_source=source)
    return FeatureView(name=view.name, entities=[entity], ttl=timedelta(0), schema=schema, source=pushed)


def push_source(view: str) -> str:
    return f"{view}_push"


def materialize(store: FeatureStore, as_of: int) -> None:
    """Write the latest values before `as_of` (microseconds UTC) into the online store, without Feast's own output."""
    at = moment(as_of)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        store.materialize(at - timedelta(days=1), at + timedelta(days=1))


def reachable() -> list[str]:
    """Kinds of online stores whose server answers."""
    return [kind for kind, store in ONLINE.items() if kind == "sqlite" or _answers(store)]


def _answers(store: dict[str, Any]) -> bool:
    host, port = store.get("host"), store.get("port")
    if host is None:
        host, port = store["connection_string"].split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        print(f"no {store['type']} answers at {host}:{port}: left out", file=sys.stderr)
        return False
    return True
