"""Further ways to a feature value: states built in bulk from a lake, read from each online store."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from psycopg import sql

from feature_repo.event_table import EVENT_SCHEMA
from feature_repo.online import FeatureReader
from feature_repo.spec import FeatureSpec
from feature_repo.state.backends import open_server
from feature_repo.state.build import build_states
from feature_repo.state.read import FeatureValue
from feature_repo.state.storage import StateStorage
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from tests.parity.harness import Delivery, Point
from tests.servers import needs_postgres, needs_redis

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@contextmanager
def online_stores() -> Iterator[dict[str, StateStorage]]:
    """An empty store of each backend that answers here; in CI all of them have to."""
    name = f"parity-{uuid.uuid4().hex[:12]}"
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, StateStorage] = {"bulk, SQLite": SQLiteStateStorage(Path(folder) / "state.db")}
        redis, postgres = _address(needs_redis), _address(needs_postgres)
        if redis:
            found["bulk, Redis"] = open_server("redis", redis, name)
        if postgres:
            found["bulk, PostgreSQL"] = open_server("postgresql", postgres, name)
        try:
            yield found
        finally:
            for storage in found.values():
                for spec in storage.built_specs():
                    storage.remove_spec(spec)
            if postgres:
                with psycopg.connect(postgres, autocommit=True) as connection:
                    schema = sql.Identifier(f"customer_twin_{name}")
                    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))


def _address(needed: object) -> str | None:
    try:
        return needed() if callable(needed) else None
    except pytest.skip.Exception as missing:
        print(f"  left out: {missing}")
        return None


def by_stores(
    spec: FeatureSpec,
    names: Sequence[str],
    log: Sequence[Delivery],
    points: Sequence[Point],
    stores: Mapping[str, StateStorage],
) -> dict[str, list[list[FeatureValue]]]:
    """For each store, the features at each point: of a customer of its own, who has what had arrived by then."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Path(folder) / "lake"
        write_deltalake(str(lake), _arrived(log, points))
        for storage in stores.values():
            build_states(spec, lake, storage)
    answers = {}
    for name, storage in stores.items():
        reader = FeatureReader(spec, storage, names)
        answers[name] = [reader.read([f"{i}"], point.as_of).values[0] for i, point in enumerate(points)]
    return answers


def _arrived(log: Sequence[Delivery], points: Sequence[Point]) -> pa.Table:
    of_customer: dict[str, list[Delivery]] = {}
    for delivery in log:
        of_customer.setdefault(delivery.customer, []).append(delivery)
    rows: list[dict[str, object]] = []
    for i, point in enumerate(points):
        for delivery in of_customer.get(point.customer, ()):
            if delivery.event.available_at <= point.as_of:
                rows.append(_row(len(rows), f"{i}", delivery))
    return pa.Table.from_pylist(rows, schema=EVENT_SCHEMA)


def _row(position: int, customer: str, delivery: Delivery) -> dict[str, object]:
    event = delivery.event
    return {
        "position": position,
        "source": "parity",
        "event_id": str(position),
        "event": event.event,
        "event_time": _EPOCH + timedelta(microseconds=event.event_time),
        "available_at": _EPOCH + timedelta(microseconds=event.available_at),
        "user_id": customer,
        "identifiers": "{}",
        "channel": event.channel,
        "value": event.value,
        "properties": json.dumps(dict(event.properties)),
    }
