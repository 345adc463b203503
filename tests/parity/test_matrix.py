"""The parity matrix, small: every way to feature values and every online store against the oracle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.settings import Workspace, load_settings
from tests.parity.harness import every_operation_spec
from tests.parity.replay import compare, dense_replay, replay_of
from tests.parity.stores import online_stores
from tests.real_data import ONLINE_RETAIL, ingest, needs_online_retail
from tests.spark import spark_session

pytestmark = [pytest.mark.xdist_group("spark"), pytest.mark.slow]
WAYS = ("SQL", "SQL, log cut", "fold, one by one", "Spark", "bulk, SQLite", "bulk, Redis", "bulk, PostgreSQL")


def has_servers(ways: list[str]) -> None:
    """Skip by name what is not here; in CI everything has to be."""
    missing = set(WAYS) - set(ways)
    if missing:
        pytest.skip(f"not here: {', '.join(sorted(missing))}")


@needs_online_retail
def test_real_events_give_the_same_bits_all_ways(tmp_path: Path) -> None:
    spark_session()
    settings = replace(load_settings("replay"), workspace=Workspace("replay", tmp_path))
    ingest(settings, "online_retail", ONLINE_RETAIL)
    names = tuple(settings.features.by_name)
    with online_stores() as stores:
        rows = compare(settings.features, names, replay_of(settings.workspace.lake, points=1_000), stores)
    assert [row for row in rows if row.different] == []
    assert [row.values for row in rows if row.values < 90_000] == []
    has_servers([row.way for row in rows])


def test_every_operation_gives_the_same_bits_all_ways() -> None:
    spark_session()
    spec = every_operation_spec()
    with online_stores() as stores:
        rows = compare(spec, tuple(spec.by_name), dense_replay(range(25)), stores)
    assert [row for row in rows if row.different] == []
    has_servers([row.way for row in rows])
