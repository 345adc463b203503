"""The trace that a request belongs to, by the header `traceparent` of W3C Trace Context."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import TypeAlias

HEADER = b"traceparent"
_SHAPE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
# The headers of the request that is answered, read only where a line is logged; or the id itself.
current: ContextVar[Headers | str] = ContextVar("trace", default="")


def trace_id() -> str:
    """32 hex digits, or nothing where the request that is being answered belongs to no trace."""
    known = current.get()
    return known if isinstance(known, str) else of_headers(known)


def of_headers(headers: Headers) -> str:
    """The trace id that ASGI `headers` name, or nothing."""
    for name, value in headers:
        if name == HEADER:
            found = _SHAPE.fullmatch(value)
            return found[1].decode() if found else ""
    return ""
