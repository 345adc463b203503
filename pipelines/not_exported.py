"""Versions that hold an alias in the registry and could not be brought into the model store, and why.

Whoever tries writes it; a service that runs tells it beside what it serves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec


@dataclass(frozen=True, slots=True)
class NotExported:
    """What was expected of a registered `version`, and what there was. It names no person and no value of one."""

    version: str
    message: str
    expected: str
    got: str
    hint: str


def not_exported_file(bentoml_home: Path) -> Path:
    """Where it is written; a new file each time."""
    return bentoml_home / "not_exported.json"


def read_not_exported(bentoml_home: Path) -> dict[str, NotExported]:
    """By the name in the model store; none where the file is gone, or is not one."""
    try:
        return msgspec.json.decode(not_exported_file(bentoml_home).read_bytes(), type=dict[str, NotExported])
    except (OSError, msgspec.DecodeError):
        return {}


def note_not_exported(bentoml_home: Path, name: str, problem: NotExported | None) -> None:
    """Keep the problem of one name, or forget it. For who holds the store's lock."""
    known = read_not_exported(bentoml_home)
    if known.get(name) == problem:
        return
    rest = {other: said for other, said in known.items() if other != name}
    _write(bentoml_home, rest if problem is None else {**rest, name: problem})


def _write(bentoml_home: Path, problems: Mapping[str, NotExported]) -> None:
    file = not_exported_file(bentoml_home)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode({name: asdict(said) for name, said in problems.items()}))
    os.replace(partial, file)
