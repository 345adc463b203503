"""The id of a request: the caller's if it is a sane one, else our own."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar

HEADER = b"x-request-id"
_SANE = re.compile(rb"[A-Za-z0-9_.:-]{1,100}")

current: ContextVar[str] = ContextVar("request_id", default="")


def choose(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The value of `X-Request-Id` among ASGI `headers`, or 32 random hex digits."""
    for name, value in headers:
        if name == HEADER and _SANE.fullmatch(value):
            return value.decode("ascii")
    return secrets.token_hex(16)
