"""A replay of real events: at least 100,000 values, no difference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipelines.settings import Workspace, load_settings
from tests.parity.replay import compare, replay_of
from tests.real_data import ONLINE_RETAIL, ingest, needs_online_retail


@needs_online_retail
def test_real_events_give_the_same_bits_all_ways(tmp_path: Path) -> None:
    settings = replace(load_settings("replay"), workspace=Workspace("replay", tmp_path))
    ingest(settings, "online_retail", ONLINE_RETAIL)
    names = tuple(settings.features.by_name)
    rows = compare(settings.features, names, replay_of(settings.workspace.lake, points=1_500))
    assert [row.values for row in rows if row.values < 100_000] == []
    assert [row for row in rows if row.different] == []
