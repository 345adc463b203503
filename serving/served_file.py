"""The file that a process writes its served vectors to, one a day; old ones are removed."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from feature_repo.served import FeatureList, LostVectors, Record, ServedVector, encode_line


class ServedFile:
    """Appends whole lines to `<day>-<token>.jsonl` in `folder`; no other process writes to the same file.

    It is opened anew for each write, since an erasure puts another one in its place.
    """

    def __init__(self, folder: Path, keep_days: int, durable: bool = False) -> None:
        """`durable` has each write on disk before it returns."""
        self._folder = folder
        self._keep_days = keep_days
        self._durable = durable
        self._token = secrets.token_hex(4)
        self._day: date | None = None
        self._listed: set[str] = set()
        self._lost = 0

    def is_due(self, lost: int) -> bool:
        """Whether there is something to do beside vectors: a new day, or a loss that no line tells."""
        return (self._day != _today() and self._folder.exists()) or lost > self._lost

    def append(self, vectors: Sequence[ServedVector], lists: Mapping[str, FeatureList], lost: int) -> None:
        """Write vectors, before them the `lists` (by id) that the file lacks, and how many were `lost` since the start.

        Raises OSError; then nothing of it is in the file.
        """
        day = _today()
        if day != self._day:
            self._remove_older_than(day - timedelta(days=self._keep_days))
            self._day = day
        file = self._folder / f"{day.isoformat()}-{self._token}.jsonl"
        if not file.exists():
            self._listed = set()
        named = {vector.reads for vector in vectors} - self._listed
        records: list[Record] = [*(lists[name] for name in sorted(named)), *vectors]
        if lost > self._lost:
            records.append(LostVectors(lost - self._lost, time.time_ns() // 1000))
        if records:
            self._append_bytes(file, b"".join(map(encode_line, records)))
        self._listed |= named
        self._lost = lost

    def _append_bytes(self, file: Path, lines: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        rest = memoryview(lines)
        # For its owner alone: it says what is foreseen of whom.
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb", buffering=0) as stream:
            size = stream.seek(0, os.SEEK_END)
            try:
                # A disk that fills up takes a part before it refuses.
                while rest:
                    rest = rest[stream.write(rest) :]
                if self._durable:
                    os.fsync(stream.fileno())
                    if not size:
                        _sync_folder(self._folder)
            except OSError:
                stream.truncate(size)
                raise

    def _remove_older_than(self, first: date) -> None:
        for file in self._folder.glob("*.jsonl"):
            if file.name[:10] < first.isoformat():
                file.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """A new file is found after a crash only where its folder is on disk as well."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _today() -> date:
    return datetime.now(UTC).date()
