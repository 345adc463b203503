"""A short soak; `make soak` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.place import soak_place
from tests.soak.run import Plan, soak

pytestmark = pytest.mark.slow


def test_half_a_minute_under_load(tmp_path: Path) -> None:
    # So short a time says nothing of slow growth, and shares the machine with other tests: half of what is measured.
    plan = Plan(seconds=20.0, capacity_seconds=5.0, share=0.5, bound=60.0)
    # A machine that is busy with other tests is slow, which is no error here.
    with soak_place(tmp_path, timeout_seconds=120) as place:
        soaked = soak(place, plan)
        print(soaked.text())
        assert soaked.mistakes == []
        assert "Traceback" not in "".join(place.server.lines)
