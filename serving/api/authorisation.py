"""Who may call which route. A key comes as `Authorization: Bearer KEY`, or as user name of Basic authentication.

Each call looks its key up in the file, by hash (about 10 µs): a revoked key is refused at the very next call.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
from pathlib import Path
from typing import Protocol

import bentoml
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from pipelines.access import AccessKey, Keys
from serving.api.errors import ApiError, ErrorDetail

_CHALLENGE = 'Basic realm="customer-twin", Bearer realm="customer-twin"'
_HOW = "send it as `Authorization: Bearer KEY`, or as user name of Basic authentication"


class Access:
    """The keys of one workspace, opened when the first one is shown. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: Keys | None = None

    def authorise(self, request: HTTPConnection, scope: str) -> AccessKey:
        """The key that `request` shows, which may do what `scope` says.

        Raises:
            ApiError: 401 for no key or one that is not known or revoked; 403 for one without the scope; 503 where
                keys cannot be read.
        """
        return self.check(key_of(request.headers), scope)

    def check(self, text: str | None, scope: str) -> AccessKey:
        """The key with this text. Raises ApiError as `authorise`."""
        try:
            found = self._find(text) if text else None
        except sqlite3.Error as error:
            detail = ErrorDetail(field="access.db", expected="a file of keys", got=type(error).__name__)
            raise ApiError(503, "access_unavailable", "keys cannot be read now", [detail]) from error
        if found is None:
            raise _unauthorised(scope, "another" if text else "nothing")
        if scope not in found.scopes:
            raise _forbidden(scope, found)
        return found

    def _find(self, text: str) -> AccessKey | None:
        if self._keys is None:
            if not self._path.exists():
                return None
            self._keys = Keys(self._path)
        return self._keys.find(text)


class HasAccess(Protocol):
    access: Access


def authorise(request: HTTPConnection, scope: str) -> AccessKey:
    """`Access.authorise` of the running service."""
    service: HasAccess = bentoml.get_current_service()
    return service.access.authorise(request, scope)


def key_of(headers: Headers) -> str | None:
    """The text of the key that the header `Authorization` shows, if any."""
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[0] or None
    except (binascii.Error, ValueError):
        return None


def _unauthorised(scope: str, got: str) -> ApiError:
    also = "; to Segment's routes also as `writeKey` in the body" if scope == "ingest" else ""
    detail = ErrorDetail(
        field="Authorization",
        expected=f"a key of this service with the scope {scope}",
        got=got,
        hint=f"make one with `twin keys create --scopes {scope}`; {_HOW}{also}",
    )
    name = "write key" if scope == "ingest" else "key"
    headers = {"WWW-Authenticate": _CHALLENGE}
    return ApiError(401, "unauthorized", f"the {name} is not known here", [detail], headers)


def _forbidden(scope: str, key: AccessKey) -> ApiError:
    detail = ErrorDetail(
        field="Authorization",
        expected=f"a key with the scope {scope}",
        got=f"key {key.key_id} with {', '.join(key.scopes)}",
        hint=f"make one with `twin keys create --scopes {scope}`",
    )
    headers = {"WWW-Authenticate": f'Bearer realm="customer-twin", error="insufficient_scope", scope="{scope}"'}
    return ApiError(403, "forbidden", f"this key does not have the scope {scope}", [detail], headers)
