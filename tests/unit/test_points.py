"""Features at points: in parts as in one go, and from a lake in any folder."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from feature_repo.event_table import register_customer_events
from feature_repo.membership import OWNERS, PERMISSIONS, REVISIONS, Membership
from feature_repo.stores.points import POINT_SCHEMA, EventLog, features_at
from feature_repo.windows import DAY
from pipelines.settings import load_settings
from tests.contract.feature_lake import CUSTOMERS, END, write_lake

NAMES = (
    "order_completed_count_90d",
    "order_completed_value_last_lifetime",
    "order_completed_products_product_id_distinct_90d",
)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # What means something in a pattern or to SQL stands in the path.
    path = tmp_path_factory.mktemp("made") / "a customer's * lake"
    write_lake(path)
    return path


def test_parts_give_what_one_go_gives(lake: Path) -> None:
    empty = [schema.empty_table() for schema in (OWNERS, PERMISSIONS, REVISIONS)]
    log = EventLog(lake, None, Membership(1, *empty, sources=("online_retail",)))
    rows = [(who, END - days * DAY) for days in (200, 3, 0) for who in [*CUSTOMERS, "never seen", CUSTOMERS[0]]]
    columns = [list(range(len(rows))), *map(list, zip(*rows, strict=True))]
    points = pa.table([pa.array(c, f.type) for c, f in zip(columns, POINT_SCHEMA, strict=True)], POINT_SCHEMA)
    spec = load_settings().features
    at_once = features_at(spec, log, points, NAMES)
    assert features_at(spec, log, points, NAMES, points_a_part=10).equals(at_once)
    assert at_once.column("point").to_pylist() == list(range(len(rows)))
    assert len(set(at_once.column(NAMES[0]).to_pylist())) > 3
    assert not (lake.parent / "spill").exists()


def test_a_lake_without_events_has_none(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        register_customer_events(connection, tmp_path / "lake")
        assert connection.execute("SELECT count(*) FROM customer_events").fetchone() == (0,)
