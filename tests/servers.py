"""Servers for tests: the one that runs on this machine, or one of a test's own, which may be killed.

In CI they have to answer, so that nothing is skipped there; elsewhere tests that want them are skipped by name.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

REDIS, POSTGRES = "TWIN_REDIS_URL", "TWIN_POSTGRES_URL"
_LOCAL_REDIS = "redis://127.0.0.1:6379/15"
_LOCAL_POSTGRES = "host=127.0.0.1 port=5432 user=root dbname=test"
_POSTGRES_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def missing(what: str) -> None:
    """To be called where something that a test wants is not there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI is to run this: {what}")
    pytest.skip(what)


def needs_redis() -> str:
    """The address of a Redis that answers: that of the environment, else of this machine."""
    url = os.environ.get(REDIS, _LOCAL_REDIS)
    try:
        redis.Redis.from_url(url, socket_connect_timeout=3).ping()
    except redis.RedisError as error:
        missing(f"no Redis answers ({REDIS} or 127.0.0.1:6379): {type(error).__name__}")
    return url


def needs_postgres() -> str:
    """The address of a PostgreSQL that answers: that of the environment, else of this machine."""
    url = os.environ.get(POSTGRES, _LOCAL_POSTGRES)
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.OperationalError as error:
        missing(f"no PostgreSQL answers ({POSTGRES} or 127.0.0.1:5432): {type(error).__name__}")
    return url


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class OwnServer(ABC):
    """A server that a test may kill, let hang and start again. It keeps its files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + 30
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < until, (self.folder / "server.log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9 of all its processes."""
        if self.process is not None and self.process.poll() is None:
            self._signal(signal.SIGKILL)
            self.process.wait(timeout=30)

    def end(self) -> None:
        """Kill it, and remove what it kept."""
        self.kill()
        shutil.rmtree(self.folder)

    def hang(self) -> None:
        """It keeps its connections and takes new ones, and never answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self.process is not None
        main = psutil.Process(self.process.pid)
        # Those of PostgreSQL have process groups of their own.
        for process in (main, *main.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it, in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it can be used."""


class OwnRedis(OwnServer):
    """A Redis with a log of its own, or with `durable=False` one that forgets everything when it ends."""

    def __init__(self, folder: Path, durable: bool = True) -> None:
        program = shutil.which("redis-server")
        if program is None:
            missing("no redis-server is installed")
        super().__init__(folder)
        self.program, self.durable = str(program), durable
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        keeping = ["--appendonly", "yes", "--appendfsync", "always"] if self.durable else ["--appendonly", "no"]
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        return [self.program, *place, "--save", "", "--rdbcompression", "no", *keeping]

    def answers(self) -> bool:
        return _quietly(lambda: redis.Redis.from_url(self.url, socket_timeout=1).ping(), redis.RedisError)


class OwnPostgres(OwnServer):
    """A PostgreSQL of the newest version that is installed."""

    def __init__(self) -> None:
        if not _POSTGRES_PROGRAMS:
            missing("no PostgreSQL server is installed")
        # Not within pytest's folders, which are closed to others: it refuses to run as root.
        super().__init__(Path(tempfile.mkdtemp(prefix="twin-postgres-")))
        self.url = f"host=127.0.0.1 port={self.port} user=tests dbname=postgres"
        other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self._as_user = other if os.getuid() == 0 else []
        if self._as_user:
            shutil.chown(self.folder, "postgres", "postgres")
        data = self.folder / "data"
        made = [*self._as_user, str(_POSTGRES_PROGRAMS[-1] / "initdb"), "-D", str(data), "-U", "tests", "--auth=trust"]
        subprocess.run([*made, "--no-sync", "--no-locale", "--encoding=UTF8"], check=True, capture_output=True)

    def command(self) -> list[str]:
        program = str(_POSTGRES_PROGRAMS[-1] / "postgres")
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        return [*self._as_user, program, "-D", str(self.folder / "data"), "-p", str(self.port), *options]

    def answers(self) -> bool:
        return _quietly(lambda: psycopg.connect(self.url, connect_timeout=2).close(), psycopg.OperationalError)


def _quietly(ask: Callable[[], object], error: type[Exception]) -> bool:
    try:
        ask()
    except error:
        return False
    return True
