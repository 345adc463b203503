"""A connection to PostgreSQL that gives up on a server that hangs, which the server's own time-outs cannot do."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import errors, sql

Row = tuple[Any, ...]

CONNECT_SECONDS = 2
"""The least that a connection can be given."""

STATEMENT_TIMEOUT = "SET statement_timeout = '60s'"
# `synchronous_commit` is what makes an acknowledged commit durable, whatever the server's default.
# The limits keep one host that hangs from holding up all others for ever.
_SESSION = (
    "SET synchronous_commit = on",
    "SET default_transaction_isolation = 'read committed'",
    STATEMENT_TIMEOUT,
    "SET lock_timeout = '10s'",
    "SET idle_in_transaction_session_timeout = '10s'",
)


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


def open_durable_session(url: str, schema: str, application: str) -> BoundedConnection:
    """A connection whose names are looked up in `schema`, and whose commits are on the disk. Raises psycopg.Error."""
    connection = BoundedConnection.connect(
        url, autocommit=True, connect_timeout=CONNECT_SECONDS, application_name=application
    )
    try:
        connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
        for statement in _SESSION:
            connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection
