"""A connection to PostgreSQL that gives up on a server that hangs, which the server's own time-outs cannot do."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import errors

Row = tuple[Any, ...]

CONNECT_SECONDS = 2
"""The least that a connection can be given."""


class BoundedConnection(psycopg.Connection[Row]):
    """Each call ends within `seconds`; one that took too long closes the connection."""

    seconds = 2.0

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self.seconds if timeout is None else timeout)
        except errors._WaitTimeout:
            # At once: to leave a transaction or a pipeline in order would be to wait again.
            self.pgconn.finish()
            raise
