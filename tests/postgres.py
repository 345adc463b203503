"""PostgreSQL for tests that want it: a real server, which must answer in CI; elsewhere they are skipped by name."""

from __future__ import annotations

import os

import psycopg
import pytest

from pipelines.events.journal_postgres import URL_VARIABLE

LOCAL_SERVER = "host=127.0.0.1 port=5432 user=root dbname=test"


def postgres_url() -> str:
    """The address of a server that answers: that of the environment, else of this machine."""
    url = os.environ.get(URL_VARIABLE, LOCAL_SERVER)
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.OperationalError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no PostgreSQL answers ({URL_VARIABLE} or 127.0.0.1:5432): {type(error).__name__}")
    return url
