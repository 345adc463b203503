"""Which bulk build the states of a spec go back to, kept beside the lake.

A store of states that comes back as it was before a build would be taken for whole: what the build folded was in the
lake alone, and left no trace in the journal. So the build's name stands in both places, and has to be the same.
"""

from __future__ import annotations

import json
import os
from pathlib import Path


def remember_build(file: Path, spec_hash: str, build: str) -> None:
    """Keep it on the disk, for a build that is done. Raises OSError."""
    content = json.dumps({**_known(file), spec_hash: build}, indent=1)
    fresh = file.with_name(f"{file.name}-new")
    with fresh.open("w", encoding="utf-8") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(file)


def last_build(file: Path, spec_hash: str) -> str | None:
    """The name of the last build; None where there was none."""
    return _known(file).get(spec_hash)


def _known(file: Path) -> dict[str, str]:
    known: dict[str, str] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return known
