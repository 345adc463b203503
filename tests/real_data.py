"""Real data for tests that want it: read where it is present, skipped by name where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.ingest import IngestReport, commit, stage
from pipelines.settings import CHECKOUT, Settings

DATA = CHECKOUT.parent / "shared" / "data"
ONLINE_RETAIL = DATA / "online_retail" / "online_retail.csv.gz"

needs_online_retail = pytest.mark.skipif(not ONLINE_RETAIL.exists(), reason="no data: online_retail.csv.gz")


def ingest(settings: Settings, source: str, file: Path) -> IngestReport:
    """Stage and commit a file."""
    return commit(stage(settings, source, file))
