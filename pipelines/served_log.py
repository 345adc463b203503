"""Reads the log of served predictions of a workspace: files of JSON lines (`feature_repo.served`)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from feature_repo.served import FeatureList, LostVectors, Record, ServedVector, decode_line

# How the lines of nearly all records begin; they are counted without being decoded.
_VECTOR = b'{"kind":"served",'


@dataclass(slots=True)
class Drawn:
    """Vectors drawn from a log, and what the whole log holds.

    `lists` are by id. `unreadable` lines are torn, as a process leaves that is killed.
    """

    vectors: list[ServedVector] = field(default_factory=list)
    lists: dict[str, FeatureList] = field(default_factory=dict)
    logged: int = 0
    lost: int = 0
    unreadable: int = 0


def log_files(folder: Path) -> list[Path]:
    """The files of the log, oldest first."""
    return sorted(folder.glob("*.jsonl"))


def log_bytes(folder: Path) -> int:
    """How large the log is."""
    return sum(file.stat().st_size for file in log_files(folder))


def served_in(files: Iterable[Path]) -> Iterator[tuple[ServedVector, FeatureList | None]]:
    """The predictions of some files in order, each with what its model reads; None where the file does not say."""
    for file in files:
        lists: dict[str, FeatureList] = {}
        for record in map(decode_line, lines_of(file)):
            if isinstance(record, FeatureList):
                lists[record.id] = record
            elif isinstance(record, ServedVector):
                yield record, lists.get(record.reads)


def draw(folder: Path, count: int, seed: int, advance: Callable[[float], None] = lambda size: None) -> Drawn:
    """`count` vectors of the log at random, each with the same chance; all where it holds no more.

    The same log and seed give the same vectors. `advance` is told how many bytes were read.
    """
    chance = random.Random(seed)  # noqa: S311 (a sample, no secret)
    drawn = Drawn()
    # Vitter (1985), algorithm R: the n-th line takes a place with the chance count / n.
    chosen: list[bytes] = []
    for file in log_files(folder):
        for line in lines_of(file):
            advance(len(line))
            if not line.startswith(_VECTOR) or not line.endswith(b"}\n"):
                _note(drawn, decode_line(line))
                continue
            drawn.logged += 1
            if len(chosen) < count:
                chosen.append(line)
            elif (place := chance.randrange(drawn.logged)) < count:
                chosen[place] = line
    for record in map(decode_line, chosen):
        _note(drawn, record)
    return drawn


def _note(drawn: Drawn, record: Record | None) -> None:
    match record:
        case FeatureList():
            drawn.lists[record.id] = record
        case LostVectors():
            drawn.lost += record.count
        case ServedVector():
            drawn.vectors.append(record)
        case None:
            drawn.unreadable += 1


def lines_of(file: Path) -> Iterator[bytes]:
    """The lines of one file, their ends included; none where it is gone."""
    try:
        with file.open("rb") as stream:
            yield from stream
    except FileNotFoundError:
        # The service removes old files.
        return
