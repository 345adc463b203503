"""The part about building: the states of all customers from raw events, against `materialize` of given values."""

from __future__ import annotations

import tempfile
from itertools import count
from pathlib import Path

import duckdb

from feature_repo.event_table import register_customer_events
from feature_repo.state.build import build_states
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from tests.benchmarks.features.shop import build as build_shop
from tests.benchmarks.features.shop import historical, make_shop
from tests.benchmarks.features.stock import materialize, stock_store, write_tables
from tests.benchmarks.measure import Figure, interleave
from tests.benchmarks.place import Place, Size


def build(place: Place, size: Size) -> list[Figure]:
    """60 features of every customer, online: built from all events; stock writes values that were given."""
    with tempfile.TemporaryDirectory(dir=place.settings.workspace.root) as folder:
        shop = make_shop(Path(folder), size.customers, size.customers * size.events_each)
        as_of = build_shop(shop)
        write_tables(shop.folder / "stock", shop.spec, historical(shop, shop.open_store(), as_of))
        numbers = count()

        def read() -> object:
            with duckdb.connect() as connection:
                register_customer_events(connection, shop.lake)
                return connection.execute("SELECT * FROM customer_events ORDER BY customer_id, position").fetchall()

        def built() -> object:
            storage = SQLiteStateStorage(shop.folder / f"build-{next(numbers)}.db")
            return build_states(shop.spec, shop.lake, storage)

        with stock_store(shop.folder / "stock", shop.spec, "sqlite") as stock:
            contenders = {
                "materialize": lambda: materialize(stock, as_of),
                "build the states": built,
                "only read the events": read,
            }
            return interleave("build", contenders, min(3, size.rounds), 1, "customers", size.customers)
