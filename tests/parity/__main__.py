"""`make parity`: the parity matrix over made-up events, and over real ones where the data is there.

Each row is a way to feature values against the naive oracle: SQL in DuckDB, the same on a log that ends at the as-of
instant, Spark, states folded one event at a time, and states built in bulk and read from each online store.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from feature_repo.spec import FeatureSpec
from pipelines.settings import Settings, Workspace, load_settings
from tests.contract.feature_lake import write_lake
from tests.parity.harness import every_operation_spec
from tests.parity.replay import Comparison, Replay, compare, dense_replay, replay_of
from tests.parity.stores import online_stores
from tests.real_data import ONLINE_RETAIL, ingest
from tests.spark import spark_session


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("--points", type=int, default=10_000, help="(customer, as-of) points a data set")
    options = parser.parse_args()
    settings = load_settings("parity")
    spark = _has_spark()
    different = 0
    for title, spec, replay in _replays(settings, options.points):
        names = tuple(spec.by_name)
        print(f"{title}: {len(replay.log):,} events, {len(replay.points):,} points, {len(names)} features")
        with online_stores() as stores:
            rows = compare(spec, names, replay, stores, lambda step: print(f"  {step} ...", file=sys.stderr), spark)
        for row in rows:
            print(_line(row))
        different += sum(row.different for row in rows)
    print("0 differences" if not different else f"{different:,} DIFFERENCES")
    return 1 if different else 0


def _has_spark() -> bool:
    try:
        spark_session()
    except pytest.skip.Exception as missing:
        print(f"left out: {missing}")
        return False
    return True


def _line(row: Comparison) -> str:
    shown = "".join(f"\n      row {i} {name}: {a!r} against {b!r}" for i, name, a, b in row.first)
    return f"  oracle against {row.way:<17} {row.values:>10,} values {row.different:>6,} different{shown}"


def _replays(settings: Settings, points: int) -> Iterator[tuple[str, FeatureSpec, Replay]]:
    yield "every operation, nasty values", every_operation_spec(), dense_replay(range(points // 12))
    with tempfile.TemporaryDirectory() as folder:
        write_lake(Path(folder) / "lake", 40_000, [f"c{i}" for i in range(1_000)])
        yield "made-up events", settings.features, replay_of(Path(folder) / "lake", points)
    if not ONLINE_RETAIL.exists():
        print("Online Retail: left out: no data")
        return
    with tempfile.TemporaryDirectory() as folder:
        inside = replace(settings, workspace=Workspace("parity", Path(folder)))
        ingest(inside, "online_retail", ONLINE_RETAIL)
        yield "Online Retail", settings.features, replay_of(inside.workspace.lake, points)


if __name__ == "__main__":
    sys.exit(main())
