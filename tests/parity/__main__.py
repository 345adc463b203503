"""`make parity`: the parity matrix over made-up events, and over real ones where the data is there."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from pipelines.settings import Settings, Workspace, load_settings
from tests.contract.feature_lake import write_lake
from tests.parity.replay import Comparison, compare, replay_of
from tests.real_data import ONLINE_RETAIL, ingest


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("--points", type=int, default=14_000, help="(customer, as-of) points a data set")
    options = parser.parse_args()
    settings = load_settings("parity")
    names = tuple(settings.features.by_name)
    different = 0
    for title, lake in _lakes(settings):
        with lake as path:
            replay = replay_of(path, options.points)
            print(f"{title}: {len(replay.log):,} events, {len(replay.points):,} points, {len(names)} features")
            rows = compare(settings.features, names, replay, lambda step: print(f"  {step} ...", file=sys.stderr))
        for row in rows:
            print(_line(row))
        different += sum(row.different for row in rows)
    print("0 differences" if not different else f"{different:,} DIFFERENCES")
    return 1 if different else 0


def _line(row: Comparison) -> str:
    shown = "".join(f"\n      row {i} {name}: {a!r} against {b!r}" for i, name, a, b in row.first)
    return f"  {row.left:<8} against {row.right:<20} {row.values:>10,} values {row.different:>6,} different{shown}"


def _lakes(settings: Settings) -> Iterator[tuple[str, AbstractContextManager[Path]]]:
    yield "made-up events", _made_up()
    if ONLINE_RETAIL.exists():
        yield "Online Retail", _online_retail(settings)
    else:
        print("Online Retail: skipped: no data", file=sys.stderr)


@contextmanager
def _made_up() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        write_lake(Path(folder) / "lake", 40_000, [f"c{i}" for i in range(1_000)])
        yield Path(folder) / "lake"


@contextmanager
def _online_retail(settings: Settings) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        inside = replace(settings, workspace=Workspace("parity", Path(folder)))
        ingest(inside, "online_retail", ONLINE_RETAIL)
        yield inside.workspace.lake


if __name__ == "__main__":
    sys.exit(main())
