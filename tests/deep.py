"""What `make test` does a part of, and `make test-deep` the whole: dear checks of which each run makes others."""

from __future__ import annotations

import os

import pytest

DEEP = bool(os.environ.get("TWIN_DEEP"))
_PART = 4

only_deep = pytest.mark.skipif(not DEEP, reason="dear: make test-deep")


def examples(most: int) -> int:
    """How many examples Hypothesis makes up: `most` in `make test-deep`, else a quarter, others each time."""
    return most if DEEP else max(1, most // _PART)
