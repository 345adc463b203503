"""States of a workspace's SQLite file, for tests that look at them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from feature_repo.online import FeatureReader
from feature_repo.spec import FeatureSpec
from feature_repo.state.storage_sqlite import SQLiteStateStorage


def open_reader(spec: FeatureSpec, state_path: Path, feature_names: Sequence[str]) -> FeatureReader:
    """A reader over the SQLite file at `state_path`."""
    return FeatureReader(spec, SQLiteStateStorage(state_path), feature_names)
