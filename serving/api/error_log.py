"""What the log may have of a failure: its kind and place in the code. Never a text, which may hold personal data."""

from __future__ import annotations

import logging
import traceback

from serving.api import request_id

logger = logging.getLogger("bentoml.twin")


def log_failure(error: BaseException) -> None:
    """Log one line about `error` under the id of the request that is being answered."""
    logger.error("request %s failed: %s", request_id.current.get() or "-", described(error))


def described(error: BaseException) -> str:
    """The types of `error`, its causes and members, each with the code it passed through, outermost first.

    No message, no argument and no local variable of an exception is in it.
    """
    seen: set[int] = set()
    told = []
    waiting: list[tuple[str, BaseException | None]] = [("", error)]
    while waiting:
        link, found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        told.append(link + _one(found))
        waiting.append(("caused by ", found.__cause__ if found.__suppress_context__ else found.__context__))
        if isinstance(found, BaseExceptionGroup):
            waiting += [("holding ", member) for member in found.exceptions]
    return "; ".join(told)


def _one(error: BaseException) -> str:
    # Without `lookup_lines` no source file is read while a request waits.
    frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
    places = " > ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__module__}.{type(error).__qualname__} at {places or 'an unknown place'}"
