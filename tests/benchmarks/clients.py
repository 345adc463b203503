"""Clients that ask at once, each as soon as it has its answer: one loop over sockets, so that they cost little."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

_ENDED_HEAD = b"\r\n\r\n"
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answered:
    """What a closed loop of clients saw: seconds of each request, and of all of them together."""

    latencies: tuple[float, ...]
    seconds: float

    @property
    def by_request(self) -> float:
        """Seconds a request, all clients together: the inverse of the throughput."""
        return self.seconds / len(self.latencies)

    def at(self, share: float) -> float:
        """The latency that `share` of the requests stayed below."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Clients:
    """`count` connections to one path of a server, kept open."""

    def __init__(self, port: int, path: str, count: int, headers: Mapping[str, str] | None = None) -> None:
        named = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json", **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        self._head = f"POST {path} HTTP/1.1\r\n{lines}"
        self._path, self._port, self._count = path, port, count

    def ask(self, bodies: Iterator[bytes], requests: int) -> Answered:
        """Ask `requests` times, each client anew once it was answered.

        Raises:
            RuntimeError: an answer other than 200, or none in time.
        """
        with selectors.DefaultSelector() as selector:
            clients = self._sockets[: min(len(self._sockets), requests)]
            asked: dict[socket.socket, float] = {}
            got: dict[socket.socket, bytes] = {}
            latencies: list[float] = []
            left = requests
            began = time.perf_counter()
            for client in clients:
                selector.register(client, selectors.EVENT_READ)
                left = self._send(client, bodies, left, asked, got)
            while len(latencies) < requests:
                ready = selector.select(_PATIENCE_SECONDS)
                if not ready:
                    raise RuntimeError(f"{self._path}: no answer in {_PATIENCE_SECONDS:.0f} s")
                for key, _ in ready:
                    client = key.fileobj
                    assert isinstance(client, socket.socket)
                    got[client] += client.recv(262_144)
                    if not self._is_whole(got[client]):
                        continue
                    latencies.append(time.perf_counter() - asked[client])
                    left = self._send(client, bodies, left, asked, got)
            return Answered(tuple(latencies), time.perf_counter() - began)

    def close(self) -> None:
        for client in self._sockets:
            client.close()

    @cached_property
    def _sockets(self) -> list[socket.socket]:
        # Opened with the first request: a server ends connections that nobody uses.
        return [_connected(self._port) for _ in range(self._count)]

    def _send(
        self,
        client: socket.socket,
        bodies: Iterator[bytes],
        left: int,
        asked: dict[socket.socket, float],
        got: dict[socket.socket, bytes],
    ) -> int:
        if left == 0:
            return 0
        body = next(bodies)
        message = f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        got[client] = b""
        asked[client] = time.perf_counter()
        client.sendall(message)
        return left - 1

    def _is_whole(self, got: bytes) -> bool:
        end = got.find(_ENDED_HEAD)
        if end < 0:
            if not got:
                raise RuntimeError(f"{self._path}: the server hung up")
            return False
        length = int(got[:end].lower().split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])
        if len(got) < end + len(_ENDED_HEAD) + length:
            return False
        if got[9:12] != b"200":
            raise RuntimeError(f"{self._path}: {got[:2_000]!r}")
        return True


def _connected(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
