"""Keys of clients. A key is 256 random bits, shown once; what is kept is its hash.

With that many random bits nobody finds a key by trying, so the hash need not be slow.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
import time
from dataclasses import astuple, dataclass
from pathlib import Path

from feature_repo.configuration import Problem
from pipelines.console import UserError

SCOPES = ("ingest",)
_PREFIX = "twk_"
_TABLE = """
CREATE TABLE IF NOT EXISTS access_keys (
  key_id TEXT PRIMARY KEY, source TEXT NOT NULL, scope TEXT NOT NULL, channel TEXT NOT NULL, currency TEXT,
  created_at INTEGER NOT NULL, revoked_at INTEGER, hash BLOB NOT NULL UNIQUE)
"""
_COLUMNS = "key_id, source, scope, channel, currency, created_at, revoked_at"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """What is known of a key. `channel` and `currency` hold for events that name none.

    Instants in int64 microseconds UTC.
    """

    key_id: str
    source: str
    scope: str
    channel: str
    currency: str | None
    created_at: int
    revoked_at: int | None = None


class Keys:
    """The keys of one workspace. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Opens the file, made if there is none. Raises sqlite3.Error if it is no database."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._local = threading.local()
        with self._connection() as connection:
            connection.execute(_TABLE)

    def create(self, source: str, scope: str, channel: str, currency: str | None = None) -> tuple[AccessKey, str]:
        """A new key for `source`, and its text, which is kept nowhere.

        Raises:
            UserError: there is no such scope.
        """
        if scope not in SCOPES:
            raise UserError("this key cannot be made", [Problem("scope", f"one of: {', '.join(SCOPES)}", repr(scope))])
        text = _PREFIX + secrets.token_urlsafe(32)
        key = AccessKey(secrets.token_hex(4), source, scope, channel, currency, time.time_ns() // 1000)
        with self._connection() as connection:
            connection.execute("INSERT INTO access_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*astuple(key), _hash(text)))
        return key, text

    def all(self) -> list[AccessKey]:
        """Every key ever made, the oldest first."""
        query = f"SELECT {_COLUMNS} FROM access_keys ORDER BY created_at, key_id"
        return [AccessKey(*row) for row in self._connection().execute(query)]

    def revoke(self, key_id: str) -> None:
        """Refuse a key from the next call on; one that is revoked stays so.

        Raises:
            UserError: there is no such key.
        """
        now = time.time_ns() // 1000
        with self._connection() as connection:
            query = "UPDATE access_keys SET revoked_at = coalesce(revoked_at, ?) WHERE key_id = ?"
            if connection.execute(query, (now, key_id)).rowcount == 0:
                known = ", ".join(key.key_id for key in self.all()) or "none"
                raise UserError("there is no such key", [Problem("key", f"one of: {known}", "another id")])

    def find(self, text: str, scope: str) -> AccessKey | None:
        """The key with this text, if it may do what `scope` says and is not revoked."""
        query = f"SELECT {_COLUMNS} FROM access_keys WHERE hash = ? AND scope = ? AND revoked_at IS NULL"
        row = self._connection().execute(query, (_hash(text), scope)).fetchone()
        return AccessKey(*row) if row else None

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=10.0)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            self._local.connection = connection
        return connection


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).digest()
