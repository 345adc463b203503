"""PostgreSQL for tests that want it; `tests/servers.py` says what happens where there is none."""

from __future__ import annotations

from tests.servers import needs_postgres


def postgres_url() -> str:
    """The address of a server that answers: that of the environment, else of this machine."""
    return needs_postgres()
