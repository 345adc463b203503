"""Keys of clients. A key is 256 random bits, shown once; what is kept is its hash.

With that many random bits nobody finds a key by trying, so the hash need not be slow.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from feature_repo.configuration import Problem
from feature_repo.write_ahead import use_write_ahead_log
from pipelines.console import UserError

SCOPES = ("ingest", "predict", "read", "review", "admin")
_PREFIX = "twk_"
_TABLE = """
CREATE TABLE IF NOT EXISTS access_keys (
  key_id TEXT PRIMARY KEY, source TEXT NOT NULL, scopes TEXT NOT NULL, channel TEXT NOT NULL, currency TEXT,
  created_at INTEGER NOT NULL, revoked_at INTEGER, hash BLOB NOT NULL UNIQUE,
  purposes TEXT NOT NULL DEFAULT '', legal_basis TEXT, views TEXT NOT NULL DEFAULT '')
"""
# A file whose keys had one scope each and stated no purposes.
_ONE_SCOPE = (
    "ALTER TABLE access_keys RENAME COLUMN scope TO scopes",
    "ALTER TABLE access_keys ADD COLUMN purposes TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE access_keys ADD COLUMN legal_basis TEXT",
)
# A file whose keys were not limited to views of the twin.
_NO_VIEWS = "ALTER TABLE access_keys ADD COLUMN views TEXT NOT NULL DEFAULT ''"
_COLUMNS = "key_id, source, scopes, channel, currency, created_at, revoked_at, purposes, legal_basis, views"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """What is known of a key.

    `source` names who calls with it; events are told apart within it. Of a key that may ingest, `channel` and
    `currency` hold for events that name none, and its events are collected for `purposes` on `legal_basis`.
    Of one that may read, `views` are the only ones of the twin that it sees, if there are any.

    Instants in int64 microseconds UTC.
    """

    key_id: str
    source: str
    scopes: tuple[str, ...]
    channel: str
    currency: str | None
    created_at: int
    revoked_at: int | None = None
    purposes: tuple[str, ...] = ()
    legal_basis: str | None = None
    views: tuple[str, ...] = ()


Record = Callable[[AccessKey], object]


class Keys:
    """The keys of one workspace. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Opens the file, made if there is none. Raises sqlite3.Error if it is no database."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._local = threading.local()
        _prepare(self._connection())

    def create(
        self,
        source: str,
        scopes: Iterable[str],
        channel: str = "",
        currency: str | None = None,
        *,
        purposes: Iterable[str] = (),
        legal_basis: str | None = None,
        views: Iterable[str] = (),
        record: Record | None = None,
    ) -> tuple[AccessKey, str]:
        """A new key for `source`, and its text, which is kept nowhere.

        `record` is called with the key before it counts: where that fails, there is no key.

        Raises:
            UserError: there is no such scope; or another key of this source is in use and states other purposes or
                another legal basis.
        """
        text = _PREFIX + secrets.token_urlsafe(32)
        stated = tuple(sorted(set(purposes)))
        now = time.time_ns() // 1000
        key = AccessKey(
            secrets.token_hex(4), source, _checked(scopes), channel, currency, now, None, stated, legal_basis,
            tuple(dict.fromkeys(views)),
        )  # fmt: skip
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            _check_statement(key, self.all())
            row = (
                key.key_id, source, _joined(key.scopes), channel, currency, now, None, _joined(stated), legal_basis,
                _joined(key.views), _hash(text),
            )  # fmt: skip
            places = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO access_keys ({_COLUMNS}, hash) VALUES ({places})", row)
            if record is not None:
                record(key)
        return key, text

    def all(self) -> list[AccessKey]:
        """Every key ever made, the oldest first."""
        query = f"SELECT {_COLUMNS} FROM access_keys ORDER BY created_at, key_id"
        return [_key(row) for row in self._connection().execute(query)]

    def revoke(self, key_id: str, *, record: Record | None = None) -> None:
        """Refuse a key from the next call on; one that is revoked stays so, and is not recorded again.

        `record` is called with the key before it is refused: where that fails, it is not.

        Raises:
            UserError: there is no such key.
        """
        now = time.time_ns() // 1000
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            keys = {key.key_id: key for key in self.all()}
            if key_id not in keys:
                known = ", ".join(keys) or "none"
                raise UserError("there is no such key", [Problem("key", f"one of: {known}", "another id")])
            if keys[key_id].revoked_at is not None:
                return
            connection.execute("UPDATE access_keys SET revoked_at = ? WHERE key_id = ?", (now, key_id))
            if record is not None:
                record(keys[key_id])

    def find(self, text: str) -> AccessKey | None:
        """The key with this text, if it is not revoked. Says nothing of what it may do: see its scopes."""
        query = f"SELECT {_COLUMNS} FROM access_keys WHERE hash = ? AND revoked_at IS NULL"
        row = self._connection().execute(query, (_hash(text),)).fetchone()
        return _key(row) if row else None

    def close(self) -> None:
        """Let go of the file, as far as the calling thread has it open; it may be used again."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            del self._local.connection

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=10.0)
            use_write_ahead_log(connection)
            connection.execute("PRAGMA synchronous=FULL")
            self._local.connection = connection
        return connection


def _prepare(connection: sqlite3.Connection) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_TABLE)
        columns = {column[1] for column in connection.execute("PRAGMA table_info(access_keys)")}
        older = [*(_ONE_SCOPE if "scope" in columns else ()), *(() if "views" in columns else (_NO_VIEWS,))]
        for statement in older:
            connection.execute(statement)


def _check_statement(key: AccessKey, others: Iterable[AccessKey]) -> None:
    """Raises UserError where a key in use says something else of the source's events."""
    if "ingest" not in key.scopes:
        return
    for other in others:
        in_use = other.revoked_at is None and other.source == key.source and "ingest" in other.scopes
        if in_use and (other.purposes, other.legal_basis) != (key.purposes, key.legal_basis):
            hint = f"say the same, revoke key {other.key_id} first, or choose another source"
            expected = f"what key {other.key_id} of source {key.source} states: {statement(other)}"
            problem = Problem("--purposes, --legal-basis", expected, statement(key), hint)
            raise UserError("keys of one source must state the same of its events", [problem])


def statement(key: AccessKey) -> str:
    """What a key states of its events, in words."""
    return f"{', '.join(key.purposes)} on {key.legal_basis}" if key.purposes else "no purpose"


def _checked(scopes: Iterable[str]) -> tuple[str, ...]:
    wanted = set(scopes)
    wrong = sorted(wanted - set(SCOPES))
    if wrong or not wanted:
        got = ", ".join(map(repr, wrong)) or "none"
        raise UserError("this key cannot be made", [Problem("scopes", f"some of: {', '.join(SCOPES)}", got)])
    return tuple(scope for scope in SCOPES if scope in wanted)


def _key(row: tuple[str, str, str, str, str | None, int, int | None, str, str | None, str]) -> AccessKey:
    key_id, source, scopes, channel, currency, created_at, revoked_at, purposes, legal_basis, views = row
    stated = (_parts(purposes), legal_basis, _parts(views))
    return AccessKey(key_id, source, _parts(scopes), channel, currency, created_at, revoked_at, *stated)


def _joined(names: Iterable[str]) -> str:
    return ",".join(names)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).digest()
