"""What a call of the client can end in, other than its answer."""

from __future__ import annotations

from pydantic import ValidationError

from serving.api.errors import ErrorDetail, ErrorResponse


class TwinError(Exception):
    """The service did not give the answer that was asked for.

    `status` is None where nothing came back. `details` has a mistake each: field, expected, got, hint.
    `retry_after` in seconds, where the service says when to come again.
    """

    def __init__(
        self,
        status: int | None,
        code: str,
        message: str,
        details: tuple[ErrorDetail, ...] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.request_id = request_id
        self.retry_after = retry_after
        super().__init__(self._text())

    def _text(self) -> str:
        told = [f"{item.field}: expected {item.expected}, got {item.got}" for item in self.details[:3]]
        return "; ".join([f"{self.code}: {self.message}", *told])


class InvalidRequest(TwinError):
    """400, 413, 415, 431: the call has mistakes; the same call will never go through."""


class Unauthorized(TwinError):
    """401: no key, or one that is not known there."""


class Forbidden(TwinError):
    """403: the key has not the scope, or the customer denied what the call needs (`consent_denied`)."""


class NotFound(TwinError):
    """404: nobody has this id, or there is no such model."""


class Conflict(TwinError):
    """409: the id is that of another decision."""


class Unavailable(TwinError):
    """429, 503, 504: not now. The same call may be sent again."""


class Unreachable(Unavailable):
    """No answer came: nobody listens there, or it took too long."""


class ServerFault(TwinError):
    """500, and whatever is no answer of this service. Its log has the cause under `request_id`."""


_KINDS: dict[int, type[TwinError]] = {
    400: InvalidRequest, 401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict, 413: InvalidRequest,
    415: InvalidRequest, 429: Unavailable, 431: InvalidRequest, 503: Unavailable, 504: Unavailable,
}  # fmt: skip


def failure_of(status: int, body: bytes, retry_after: float | None) -> TwinError:
    """The error of an answer with a status of 400 or more."""
    kind = _KINDS.get(status, ServerFault)
    try:
        error = ErrorResponse.model_validate_json(body).error
    except ValidationError:
        # Such as a proxy's own page.
        return kind(status, "no_error_shape", f"an answer of status {status} that is not this service's")
    return kind(status, error.code, error.message, error.details, error.request_id, retry_after)
