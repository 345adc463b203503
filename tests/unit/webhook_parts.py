"""A receiver of webhooks: a real HTTP server that answers what it is told to, and verifies what it gets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook

Answer = tuple[int, dict[str, str]]
ARRIVED: Answer = (204, {})


@dataclass
class Receiver:
    """`answers` are given one after the other, then 204. `received` are id, body and instant of each verified call."""

    secret: str
    answers: list[Answer] = field(default_factory=list)
    received: list[tuple[str, dict[str, Any], float]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    pause: Callable[[], None] = lambda: None
    port: int = 0

    def url(self, path: str = "/hooks") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def ids(self) -> list[str]:
        return [name for name, _, _ in self.received]

    def take(self, headers: dict[str, str], body: bytes) -> Answer:
        try:
            content = Webhook(self.secret).verify(body, headers)
        except Exception as error:  # noqa: BLE001 (told to the test)
            self.refused.append(str(error))
            return 400, {}
        self.received.append((headers["webhook-id"], content, time.monotonic()))
        self.pause()
        return self.answers.pop(0) if self.answers else ARRIVED


@contextmanager
def receiving(secret: str, *answers: Answer, port: int = 0) -> Iterator[Receiver]:
    """A receiver on a port of this machine."""
    made = Receiver(secret, list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, headers = made.take({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
