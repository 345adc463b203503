"""Open the place for states that a configuration names. What it stands on is imported only where it is chosen."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from feature_repo.state.storage import StateStorage
from feature_repo.state.storage_sqlite import SQLiteStateStorage

Backend = Literal["sqlite", "redis", "postgresql"]

URL_VARIABLES: dict[Backend, str] = {"redis": "TWIN_REDIS_URL", "postgresql": "TWIN_POSTGRES_URL"}
"""Where the address of a server comes from, which holds a password."""


def open_file(path: Path) -> StateStorage:
    """States in the SQLite file at `path`, made if there is none. Raises StateUnavailable."""
    return SQLiteStateStorage(path)


@lru_cache(maxsize=32)
def open_server(backend: Backend, url: str, workspace: str) -> StateStorage:
    """States of a workspace on a server; one object a process, so that one failure tells all. Asks no server yet.

    Raises:
        ImportError: the extra `server` is not installed.
        ValueError: `url` is no address.
    """
    if backend == "redis":
        from feature_repo.state.storage_redis import RedisStateStorage

        return RedisStateStorage(url, workspace)
    from feature_repo.state.storage_postgres import PostgresStateStorage

    # The schema of the workspace's journal, if that is in PostgreSQL too.
    return PostgresStateStorage(url, f"customer_twin_{workspace}")
