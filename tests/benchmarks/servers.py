"""Servers in processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import httpx

from pipelines.settings import CHECKOUT, Workspace

READY_SECONDS = 120.0
# Takes the body of a request; gives status and body of the answer.
Predict = Callable[[bytes], tuple[int, bytes]]

# A connection waits for its turn while the others are measured, longer than the default of 5 seconds.
SERVE = ["bentoml", "serve", "--timeout-keep-alive", "600"]
SERVERS = {
    "empty": [*SERVE, "tests.benchmarks.services:Empty"],
    "ours": [*SERVE, "serving.service:CustomerTwin"],
    "stock": [*SERVE, "tests.benchmarks.services:Stock"],
}


class KeepAlive:
    """One connection, one request at a time, at next to no cost: a slow client would flatter every ratio."""

    def __init__(self, port: int, path: str = "/v1/predict", headers: Mapping[str, str] | None = None) -> None:
        self._port = port
        named = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json", **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        self._head = f"POST {path} HTTP/1.1\r\n{lines}"

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Raises ConnectionError if the server hangs up."""
        self._socket.sendall(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        got = self._more(b"")
        while (end := got.find(b"\r\n\r\n")) < 0:
            got = self._more(got)
        length = int(got[:end].lower().split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])
        while len(got) < end + 4 + length:
            got = self._more(got)
        return int(got[9:12]), got[end + 4 :]

    @cached_property
    def _socket(self) -> socket.socket:
        # Opened with the first request: a server ends a connection that nobody uses.
        made = socket.create_connection(("127.0.0.1", self._port), timeout=30.0)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _more(self, got: bytes) -> bytes:
        part = self._socket.recv(65_536)
        if not part:
            raise ConnectionError("the server hung up")
        return got + part


@contextmanager
def serving(command: Sequence[str], workspace: Workspace, variables: Mapping[str, str] | None = None) -> Iterator[int]:
    """Start a server over `workspace` by `command` and the options for its address; its port, once it is ready.

    `variables` are of its environment.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    metrics = workspace.root / "metrics" / port
    environment = {
        **os.environ,
        "TWIN_WORKSPACE": workspace.name,
        "BENTOML_HOME": str(workspace.bentoml_home),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        **(variables or {}),
    }
    metrics.mkdir(parents=True)
    address = ["--host", "127.0.0.1", "--port", port]
    log = workspace.root / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, *address],
            cwd=CHECKOUT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/readyz", process, log)
        yield int(port)
    finally:
        # Not SIGKILL: BentoML's workers are in sessions of their own, and only their starter ends them.
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(url, timeout=5.0, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise RuntimeError(f"no server:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
