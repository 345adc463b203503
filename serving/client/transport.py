"""One call over HTTP: sent, sent again where the service asks for it, and its answer read."""

from __future__ import annotations

import gzip
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from serving.client.failures import ServerFault, TwinError, Unavailable, Unreachable, failure_of

Answer = TypeVar("Answer", bound=BaseModel)
# Below this a body gains nothing.
_WORTH_PACKING = 4_096
_COME_AGAIN = (429, 503)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a call is sent at most, and how long is waited between two of them, in seconds.

    The service's `Retry-After` counts where it names one, else `first_wait`, doubled each time and spread by chance.
    Who is told to wait longer than `longest_wait` gets the error at once.
    """

    attempts: int = 4
    first_wait: float = 0.2
    longest_wait: float = 30.0


class Transport:
    """Calls of one service. Thread-safe.

    All calls are safe to send again: they read, or they carry an id that the service counts once.
    """

    def __init__(self, http: httpx.Client, patience: Patience, sleep: Callable[[float], None] = time.sleep) -> None:
        self._http = http
        self._patience = patience
        self._sleep = sleep

    def get(self, path: str, answer: type[Answer]) -> Answer:
        return _read(self._sent("GET", path, None, {}), answer)

    def post(self, path: str, body: Mapping[str, Any], answer: type[Answer], timeout: float | None = None) -> Answer:
        """`timeout` in seconds, where another than the client's. Raises TwinError."""
        sent = self._sent("POST", path, _encoded(body), {"Content-Type": "application/json"}, timeout)
        return _read(sent, answer)

    def post_packed(self, path: str, body: Any, answer: type[Answer], media_type: str = "application/json") -> Answer:
        """The same, as gzip where the body is large; for routes that read gzip. Raises TwinError."""
        content, headers = _encoded(body), {"Content-Type": media_type}
        if len(content) >= _WORTH_PACKING:
            content, headers = gzip.compress(content, compresslevel=5), {**headers, "Content-Encoding": "gzip"}
        return _read(self._sent("POST", path, content, headers), answer)

    def close(self) -> None:
        self._http.close()

    def _sent(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], timeout: float | None = None
    ) -> httpx.Response:
        own = httpx.USE_CLIENT_DEFAULT if timeout is None else timeout
        request = self._http.build_request(method, path, content=content, headers=dict(headers), timeout=own)
        attempt = 1
        while True:
            try:
                return self._once(request)
            except TwinError as error:
                wait = self._wait(error, attempt)
                if wait is None:
                    raise
            self._sleep(wait)
            attempt += 1

    def _once(self, request: httpx.Request) -> httpx.Response:
        try:
            response = self._http.send(request)
        except httpx.ConnectError as error:
            raise Unreachable(None, "unreachable", f"no service answers at {self._http.base_url}") from error
        except httpx.TransportError as error:
            raise Unreachable(None, "no_answer", f"no answer: {type(error).__name__}") from error
        if response.is_success:
            return response
        raise failure_of(response.status_code, response.content, _seconds(response.headers.get("retry-after")))

    def _wait(self, error: TwinError, attempt: int) -> float | None:
        """Seconds until the call is sent again; None where it is not."""
        asked_to = isinstance(error, Unavailable) and error.status in _COME_AGAIN
        if attempt >= self._patience.attempts or not (asked_to or error.code == "unreachable"):
            return None
        own = self._patience.first_wait * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311
        wait = own if error.retry_after is None else error.retry_after
        return wait if wait <= self._patience.longest_wait else None


def _encoded(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _read(response: httpx.Response, answer: type[Answer]) -> Answer:
    try:
        return answer.model_validate_json(response.content)
    except ValidationError as error:
        mistake = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(map(str, mistake["loc"])) or "body"
        message = f"an answer that this client cannot read, in {field}: {mistake['type']}"
        raise ServerFault(
            response.status_code, "unreadable_answer", message, (), response.headers.get("x-request-id")
        ) from None


def _seconds(text: str | None) -> float | None:
    """`Retry-After` in seconds; None for none, and for a date."""
    return float(text) if text is not None and text.isdecimal() else None
