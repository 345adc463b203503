"""A client of few instructions, so that the service is what is measured: HTTP/1.1 over a connection that stays open."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass


@dataclass(slots=True)
class Connection:
    """One connection of one coroutine. It is opened anew after a failure."""

    host: str
    port: int
    key: str
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. Raises OSError, EOFError and ValueError where there is none."""
        try:
            return await self._post(path, body)
        except BaseException:
            self.close()
            raise

    async def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        if self.reader is None or self.writer is None:
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        basic = base64.b64encode(f"{self.key}:".encode()).decode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Basic {basic}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.writer.write(head.encode() + body)
        told = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(told.split(b"content-length:")[1].split(b"\r\n")[0])
        content = await self.reader.readexactly(length)
        if b"connection: close" in told:
            self.close()
        return int(told.split(b" ", 2)[1]), content

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None
