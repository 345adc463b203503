"""The audit log: every administrative act, one JSON line each, in a chain of hashes.

Two files. `audit.jsonl` holds the entries; each has the hash of the one before and its own. `audit.head`, the anchor,
says how many there are, how many bytes they take and the hash of the last, so that a cut tail is noticed; and while
an entry is being written, the entry itself, so that what a process that died left half-written is told from a change.

The hashes have no secret: who may write both files can make another history of them that holds together. Against
that, keep the last line of `twin audit verify` where they cannot write.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import pwd
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any

from feature_repo.configuration import Problem
from pipelines.console import UserError

FIRST = "0" * 64
MAXIMUM_ENTRY_BYTES = 64 * 1024


class AuditDamaged(UserError):
    """The log is not what was written to it; `place` is the first broken entry, counted from 1."""

    def __init__(self, place: int, found: str) -> None:
        self.place = place
        hint = "keep both files as evidence; moved elsewhere, a new log begins"
        expected = "audit.jsonl and audit.head as they were written"
        super().__init__("the audit log is damaged", [Problem(f"entry {place}", expected, found, hint)])


@dataclass(frozen=True, slots=True)
class Entry:
    """One act. `time` is ISO 8601 in UTC with microseconds; `hash` is over all other fields, `previous` included."""

    sequence: int
    time: str
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """How far the log goes: entries, bytes, the last hash. `pending` is the line that is being written."""

    count: int = 0
    length: int = 0
    hash: str = FIRST
    pending: str | None = None


class AuditLog:
    """The log in the file `path`, its anchor beside it. Threads and processes may append at a time."""

    def __init__(self, path: Path) -> None:
        """Opens nothing and makes nothing yet."""
        self._path = path
        self._head = path.with_suffix(".head")

    def append(self, action: str, actor: str, subject: str, details: Mapping[str, Any] | None = None) -> Entry:
        """Log an act; when this returns, the entry is on the disk. Log before the act takes effect.

        `subject` is what was acted on, such as `key:1f3a9c02`, and a person's `pseudonym`; neither it nor `details`
        may hold a name or another personal datum.

        Raises:
            AuditDamaged: the end of the log is not what was written.
            ValueError: `details` is nothing that JSON can hold, or too much.
            OSError: it cannot be written.
        """
        with self._locked() as file:
            head = self._settled(file)
            unsigned = {
                "sequence": head.count + 1,
                "time": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
                "actor": actor,
                "action": action,
                "subject": subject,
                "details": json.loads(_canonical(details or {})),
                "previous": head.hash,
            }
            entry = Entry(**unsigned, hash=_digest(unsigned))
            line = _line(entry)
            if len(line) > MAXIMUM_ENTRY_BYTES:
                raise ValueError(f"an entry of the audit log may have {MAXIMUM_ENTRY_BYTES} bytes, not {len(line)}")
            self._write_head(Head(head.count, head.length, head.hash, line.decode()))
            _write(file, line)
            self._write_head(Head(entry.sequence, head.length + len(line), entry.hash))
            return entry

    def pseudonym(self, kind: str, identifier: str) -> str:
        """A `subject` for somebody: `kind` and 32 hex digits, the same ones for the same identifier.

        They are a keyed hash (HMAC-SHA256). Its key, made at the first use, is the file `audit.key`: who has it and
        an identifier finds the entries, without it no identifier can be tried out. Raises OSError.
        """
        file = self._path.with_suffix(".key")
        with self._locked():
            if not file.exists():
                _replace(file, secrets.token_bytes(32))
            key = file.read_bytes()
        return f"{kind}:{hmac.new(key, identifier.encode('utf-8', 'surrogatepass'), hashlib.sha256).hexdigest()[:32]}"

    def entries(self) -> list[Entry]:
        """Every entry, the oldest first, each checked against the one before, and the last against the anchor.

        Raises:
            AuditDamaged: at the first that was changed, removed, moved or added.
        """
        if not self._path.exists() and not self._head.exists():
            return []
        with self._locked() as file:
            head = self._read_head(file)
            found: list[Entry] = []
            length, last = 0, FIRST
            for line in BytesIO(self._path.read_bytes()[: head.length]):
                found.append(_entry(line, len(found) + 1, last))
                length, last = length + len(line), found[-1].hash
            if length < head.length:
                raise AuditDamaged(len(found) + 1, f"the end of audit.jsonl; the anchor knows {head.count} entries")
            if (len(found), last) != (head.count, head.hash):
                raise AuditDamaged(max(len(found), 1), f"another end than the anchor's, of {head.count} entries")
            _check_rest(file, head)
        return found

    def verify(self) -> Head:
        """Check every entry and the anchor; how far the log goes. Raises AuditDamaged as `entries`."""
        found = self.entries()
        return Head(count=len(found), hash=found[-1].hash if found else FIRST)

    @contextmanager
    def _locked(self) -> Iterator[FileIO]:
        """The log, open for this call alone: locks of two calls exclude each other, also within a process."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with FileIO(descriptor, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    def _settled(self, file: FileIO) -> Head:
        """The anchor, with what a process that died had begun taken back: its call never returned."""
        head = self._read_head(file)
        _check_rest(file, head)
        if os.fstat(file.fileno()).st_size > head.length:
            os.ftruncate(file.fileno(), head.length)
            os.fsync(file.fileno())
        return head

    def _read_head(self, file: FileIO) -> Head:
        try:
            raw = self._head.read_bytes()
        except FileNotFoundError:
            if os.fstat(file.fileno()).st_size == 0:
                return Head()
            raise AuditDamaged(1, "no audit.head") from None
        try:
            head = Head(**json.loads(raw))
            sound = raw == _canonical(asdict(head))
        except (ValueError, TypeError):
            sound = False
        if not sound:
            raise AuditDamaged(1, "an audit.head that was changed")
        return head

    def _write_head(self, head: Head) -> None:
        _replace(self._head, _canonical(asdict(head)))


def operating_user() -> str:
    """Who runs this process, as an actor of the log."""
    try:
        return f"os:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"os:{os.getuid()}"


def _check_rest(file: FileIO, head: Head) -> None:
    """Raises AuditDamaged where behind the anchored end is anything but a part of the entry being written."""
    size = os.fstat(file.fileno()).st_size
    if size < head.length:
        raise AuditDamaged(head.count, "a shorter audit.jsonl than the anchor says")
    file.seek(head.length)
    rest = file.read(MAXIMUM_ENTRY_BYTES + 1)
    if not (head.pending or "").encode().startswith(rest):
        raise AuditDamaged(head.count + 1, "an entry that the anchor does not know")


def _entry(line: bytes, sequence: int, previous: str) -> Entry:
    """The entry of a line. Raises AuditDamaged unless it is, to the byte, what follows `previous`."""
    try:
        content = json.loads(line)
        entry = Entry(**content)
        unsigned = {key: value for key, value in content.items() if key != "hash"}
        sound = entry.hash == _digest(unsigned) and line == _line(entry)
    except (ValueError, TypeError, RecursionError, AttributeError):
        raise AuditDamaged(sequence, "text that is no entry") from None
    if not sound:
        raise AuditDamaged(sequence, "an entry that was changed")
    if (entry.sequence, entry.previous) != (sequence, previous):
        raise AuditDamaged(sequence, f"the entry that was the {entry.sequence}th")
    return entry


def _digest(unsigned: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(unsigned)).hexdigest()


def _line(entry: Entry) -> bytes:
    return _canonical(asdict(entry)) + b"\n"


def _canonical(content: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys, no blanks and ASCII alone: one text for one content."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _replace(path: Path, content: bytes) -> None:
    """Write a whole file at once: a process that dies leaves the old one, or none."""
    fresh = path.with_name(f"{path.name}-new")
    with FileIO(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        _write(file, content)
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write(file: FileIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]
    os.fsync(file.fileno())
