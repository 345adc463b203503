"""Whose every event is, and since when: the same on Spark as in DuckDB, from the same table and the same map."""

from __future__ import annotations

import json
import random
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from feature_repo.event_table import EVENT_SCHEMA, ensure_table, register_customer_events
from feature_repo.membership import OWNERS, PERMISSIONS, REVISIONS, Membership
from feature_repo.spark import events as spark_events
from feature_repo.spark.session import private_session
from feature_repo.windows import DAY
from tests.spark import spark_session

pytestmark = pytest.mark.xdist_group("spark")

SOURCES = ("web_shop", "till", "old_export")
COLUMNS = "customer_id, event, channel, value, properties, position, source, event_time, available_at"


def events(seed: int, first: int = 0, count: int = 400) -> pa.Table:
    """Events with any mix of identifiers: a user id, a cookie, an e-mail, a phone, several of them or none."""
    chance = random.Random(seed)
    rows = []
    for position in range(first, first + count):
        # Before 1900 calendars differ; an instant is the same number all the same.
        at = chance.choice([0, 20_000 * DAY, -40_000 * DAY]) + chance.randrange(DAY)
        identifiers = {kind: f"{kind[0]}{chance.randrange(6)}" for kind in ("email", "phone") if chance.random() < 0.4}
        rows.append(
            {
                "position": position, "source": chance.choice(SOURCES), "event_id": str(position), "event": "Clicked",
                "event_time": at, "available_at": at + chance.choice([0, DAY]),
                "user_id": chance.choice([None, None, *(f"u{i}" for i in range(6))]),
                "anonymous_id": chance.choice([None, "a0", "a1", "a2"]), "identifiers": json.dumps(identifiers),
                "channel": "web", "value": chance.choice([None, 5]), "currency": None, "properties": '{"é": "\\\\n"}',
            }
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=EVENT_SCHEMA)


def identity_map(seed: int) -> Membership:
    """A map that leaves some identifiers to nobody, takes a user id from somebody, and knows some only since later."""
    chance = random.Random(seed)
    owners = [
        {
            "kind": kind, "stored": f"{kind[0]}{i}", "rank": rank,
            "customer_id": chance.choice([None, "one", "two", "three"]),
            "joined_at": chance.choice([None, DAY, 20_001 * DAY]),
        }
        for rank, kind in enumerate(("user_id", "phone", "email", "anonymous_id"))
        for i in range(4)
    ]  # fmt: skip
    permissions = [
        {"customer_id": "one", "granted": False, "at": DAY},
        {"customer_id": "two", "granted": True, "at": 20_000 * DAY},
    ]
    return Membership(
        1,
        pa.Table.from_pylist(owners, schema=OWNERS),
        pa.Table.from_pylist(permissions, schema=PERMISSIONS),
        REVISIONS.empty_table(),
        SOURCES[:2],
    )


def in_duckdb(lake: Path, version: int | None, membership: Membership | None) -> list[dict[str, object]]:
    connection = duckdb.connect()
    register_customer_events(connection, lake, version, membership=membership)
    return connection.sql(f"SELECT {COLUMNS} FROM customer_events ORDER BY position").to_arrow_table().to_pylist()


def on_spark(lake: Path, version: int | None, membership: Membership | None) -> list[dict[str, object]]:
    session = spark_session()
    private = private_session(session)
    spark_events.register_customer_events(session, private, lake, version, membership)
    return private.sql(f"SELECT {COLUMNS} FROM customer_events ORDER BY position").toArrow().to_pylist()


def test_events_belong_to_the_same_customers(tmp_path: Path) -> None:
    lake = tmp_path / "la ke é"
    write_deltalake(lake, events(1))
    write_deltalake(lake, events(2, first=400), mode="append")
    DeltaTable(lake).delete("position % 7 = 3")
    for seed in range(2):
        expected = in_duckdb(lake, None, identity_map(seed))
        assert len(expected) > 100
        assert on_spark(lake, None, identity_map(seed)) == expected
    assert on_spark(lake, 1, None) == in_duckdb(lake, 1, None) != in_duckdb(lake, 0, None)


def test_an_empty_lake_has_no_events(tmp_path: Path) -> None:
    ensure_table(tmp_path / "lake")
    assert on_spark(tmp_path / "lake", None, identity_map(0)) == []


def test_a_table_that_is_more_than_its_files_is_refused(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "parts", events(1), partition_by=["source"])
    with pytest.raises(spark_events.LakeFormatError, match=r"partitions.*lake_format: delta"):
        on_spark(tmp_path / "parts", None, None)
    # As written by an engine that marks rows as deleted beside the files: the log alone is looked at.
    write_deltalake(tmp_path / "marked", events(1))
    log = tmp_path / "marked" / "_delta_log" / f"{0:020}.json"
    plain = '"minReaderVersion":1,"minWriterVersion":2'
    features = '"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]'
    assert plain in log.read_text()
    log.write_text(log.read_text().replace(plain, f'"minReaderVersion":3,"minWriterVersion":7,{features}'))
    with pytest.raises(spark_events.LakeFormatError, match="deletionVectors"):
        on_spark(tmp_path / "marked", None, None)


def test_the_cluster_s_own_delta_package_is_asked_for(tmp_path: Path) -> None:
    """It is not among PySpark's own packages, so that Spark's word that it lacks it is all that can be seen here."""
    session = spark_session()
    with pytest.raises(Exception, match=r"DATA_SOURCE_NOT_FOUND.*delta"):
        spark_events.register_customer_events(session, private_session(session), tmp_path, 3, None, "delta")
