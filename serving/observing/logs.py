"""Logs as lines of JSON, those of BentoML and the server below it too.

A line has time (UTC), level, logger and message, and where a request is being answered its id and trace; access lines
have route, status and duration as well. Of an exception it has kind and place, never the text.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal

import bentoml
from bentoml._internal import log as bentoml_log

from serving.api import request_id
from serving.api.error_log import described
from serving.observing import trace_parent

access = logging.getLogger("bentoml.twin.access")
# What an access line has beside its message.
_FIELDS = ("route", "method", "status", "duration_ms")
# Whose messages are worded here, or are known to hold nothing of a caller's.
_OWN = ("bentoml", "uvicorn", "circus")


class JsonLines(logging.Formatter):
    """One line of JSON a record."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        told |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        asked, trace = request_id.current.get(), trace_parent.trace_id()
        if asked:
            told["request_id"] = asked
        if trace:
            told["trace_id"] = trace
        if record.exc_info and record.exc_info[1] is not None:
            told["failure"] = described(record.exc_info[1])
        return json.dumps(told, ensure_ascii=False)


def configure(log_format: Literal["text", "json"]) -> None:
    """Have this process log as the profile says: `text` leaves BentoML's own format."""
    if log_format == "text":
        return
    formatter = {"()": JsonLines}
    # BentoML applies one of these as it starts a server, and the other in each worker.
    bentoml_log.CLI_LOGGING_CONFIG["formatters"]["simple"] = formatter
    bentoml_log.CLI_LOGGING_CONFIG["root"]["handlers"] = ["defaulthandler"]
    bentoml_log.SERVER_LOGGING_CONFIG["formatters"]["traced"] = formatter
    if bentoml.server_context.worker_index is not None:
        bentoml_log.configure_server_logging()


def log_access(method: str, route: str, status: int, seconds: float) -> None:
    """One line about a request that has been answered; 499 where the client went away."""
    milliseconds = round(seconds * 1000, 3)
    told = {"route": route, "method": method, "status": status, "duration_ms": milliseconds}
    access.info("%s %s %d %.1f ms", method, route, status, milliseconds, extra=told)


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    # Others put what went wrong, with its text, into the lines below the first.
    return text if record.name.startswith(_OWN) else text.partition("\n")[0]
