"""One attempt to deliver a message: a signed POST, as Standard Webhooks has it, that ends in time."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import httpx
from standardwebhooks.webhooks import Webhook

from serving.triggers.backoff import retry_after_seconds

Verdict = Literal["arrived", "gone", "failed"]
_ASKS_TO_WAIT = (429, 503)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of it. `error` names nobody; `wait_seconds` is what the receiver asked for."""

    verdict: Verdict
    error: str | None = None
    wait_seconds: float | None = None


class Sender:
    """For one thread; `timeout_seconds` is for all of an attempt, from looking the name up to the answer's headers."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        # Reading the certificates of authorities takes longer than an attempt.
        self._tls = ssl.create_default_context()
        self._runner = asyncio.Runner()

    def send(self, url: str, secret: str, name: str, payload: str, at: datetime) -> Attempt:
        """POST `payload` as the message `name`, signed at the instant `at` (UTC)."""
        headers = {
            "content-type": "application/json",
            "user-agent": "customer-twin",
            **signed(secret, name, payload, at),
        }
        return self._runner.run(self._within(url, headers, payload.encode()))

    def close(self) -> None:
        self._runner.close()

    async def _within(self, url: str, headers: dict[str, str], body: bytes) -> Attempt:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._post(url, headers, body)
        except TimeoutError:
            return Attempt("failed", f"no answer within {self._timeout_seconds:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            return Attempt("failed", f"not reached: {type(error).__name__}")

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> Attempt:
        limits = httpx.Timeout(self._timeout_seconds)
        async with (
            # A redirect would take the message to where nobody configured it, and a proxy of the environment too.
            httpx.AsyncClient(verify=self._tls, follow_redirects=False, trust_env=False, timeout=limits) as client,
            # Of the answer nothing but its head is read.
            client.stream("POST", url, content=body, headers=headers) as response,
        ):
            return judged(response.status_code, response.headers.get("retry-after"), datetime.now(UTC))


def signed(secret: str, name: str, payload: str, at: datetime) -> dict[str, str]:
    """The three headers of Standard Webhooks."""
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(name, at, payload),
    }


def judged(status: int, retry_after: str | None, now: datetime) -> Attempt:
    """What a status says."""
    if 200 <= status < 300:
        return Attempt("arrived")
    if status == 410:
        return Attempt("gone", "the endpoint wants no more: 410")
    wait = retry_after_seconds(retry_after, now) if status in _ASKS_TO_WAIT else None
    return Attempt("failed", f"the endpoint answered {status}", wait)
