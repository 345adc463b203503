"""Reads off the event loop: few at a time, and no more waiting than can be answered in time."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from feature_repo.configuration import ConfigurationError
from feature_repo.state.storage import StatesLost, StateUnavailable
from pipelines.console import UserError
from pipelines.events.exclusion import ErasureRuns
from pipelines.events.journal import JournalUnavailable
from pipelines.events.live_states import StatesBusy
from pipelines.identity.manual import UnknownIdentifier
from pipelines.privacy import EncryptionKeyMissing
from serving.api.errors import ApiError, ErrorDetail, state_unavailable

logger = logging.getLogger("bentoml.twin")
Result = TypeVar("Result")

# A read of the lake keeps a core busy for tens of milliseconds: events and predictions have theirs all the same.
THREADS = 2
MOST_WAITING = 64


class ReadThreads:
    """Apart from the threads of live events, which no read is to keep waiting."""

    def __init__(self, threads: int = THREADS, most_waiting: int = MOST_WAITING) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="read")
        self._most = most_waiting
        # Until they have really ended: a call that was given up keeps its place.
        self._waiting: set[Future[Any]] = set()

    async def run(self, work: Callable[[], Result]) -> Result:
        """What `work` gives, with the context of this request. For one event loop.

        Raises:
            ApiError: 503 where too many wait, or files or servers cannot be read now; what `work` raises, in the words
                of the API.
        """
        if len(self._waiting) >= self._most:
            raise _not_now("overloaded", "too many calls are waiting", "fewer calls at a time", "one too many")
        future = self._threads.submit(copy_context().run, told, work)
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Finish what runs."""
        self._threads.shutdown()


def told(work: Callable[[], Result]) -> Result:
    """What `work` gives; what it raises as ApiError."""
    try:
        return work()
    except StateUnavailable as error:
        raise state_unavailable(isinstance(error, StatesLost)) from error
    except (JournalUnavailable, OSError, sqlite3.Error) as error:
        logger.error("events cannot be read now: %s", type(error).__name__)
        message = "events cannot be read now"
        raise _not_now("log_unavailable", message, "a log that can be read", type(error).__name__) from error
    except StatesBusy:
        message = "the states of customers are being built"
        raise _not_now("states_busy", message, "another try in a moment", "a build that runs") from None
    except ErasureRuns:
        message = "a customer is being erased"
        raise _not_now("erasure_runs", message, "another try in a moment", "an erasure that runs") from None
    except EncryptionKeyMissing as error:
        message = "personal data cannot be read now"
        raise ApiError(503, "encryption_key_missing", message, _details(error)) from None
    except UnknownIdentifier as error:
        raise ApiError(404, "unknown_identifier", error.message, _details(error)) from None
    except (UserError, ConfigurationError) as error:
        message = error.message if isinstance(error, UserError) else "the configuration has mistakes"
        raise ApiError(400, "invalid_request", message, _details(error)) from None


def _not_now(code: str, message: str, expected: str, got: str) -> ApiError:
    hint = "send the same call again after `Retry-After` seconds"
    return ApiError(503, code, message, [ErrorDetail(field="request", expected=expected, got=got, hint=hint)])


def _details(error: UserError | ConfigurationError) -> list[ErrorDetail]:
    return [ErrorDetail(field=p.field, expected=p.expected, got=p.got, hint=p.hint) for p in error.problems]
