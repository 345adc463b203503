"""The one error shape of the whole server, and the exception that carries it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from pydantic import BaseModel, ConfigDict, Field

RETRY_AFTER_SECONDS = "2"
_PLAIN = re.compile(r"[A-Za-z0-9_./:-]{1,60}")


class ErrorDetail(BaseModel):
    """One mistake, worded for the person who has to mend it."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="path of the field, such as `customer_ids.3`")
    expected: str
    got: str = Field(description="the kind of value that came, never the value of a customer")
    hint: str = ""


class ItemError(BaseModel):
    """What went wrong with one item of a list, while the others were answered."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    details: tuple[ErrorDetail, ...] = ()


class ErrorContent(ItemError):
    request_id: str


class ErrorResponse(BaseModel):
    """The body of every answer with a status of 400 or more."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "example": {
                "error": {
                    "code": "invalid_request",
                    "message": "1 mistake in the request",
                    "details": [
                        {
                            "field": "customer_id",
                            "expected": "text of 1 to 256 characters",
                            "got": "a whole number",
                            "hint": "",
                        }
                    ],
                    "request_id": "9f86d081884c4d659a2feaa0c55ad015",
                }
            }
        },
    )

    error: ErrorContent


class ApiError(Exception):
    """An answer other than the one asked for; a 503 says when to come again. Its text never holds personal data."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Iterable[ErrorDetail] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`headers` belong to the answer, beside its body."""
        self.status = status
        self.code = code
        self.message = message
        self.details = tuple(details)
        # Whatever is not there now may be there in a moment.
        self.headers = ({"Retry-After": RETRY_AFTER_SECONDS} if status == 503 else {}) | dict(headers or {})
        super().__init__(f"{code}: {message}")

    def item(self) -> ItemError:
        return ItemError(code=self.code, message=self.message, details=self.details)

    def anew(self) -> ApiError:
        """The same answer, to be raised once: an exception that is raised again keeps the frames of every time."""
        return ApiError(self.status, self.code, self.message, self.details, self.headers)

    def body(self, request_id: str) -> bytes:
        """JSON in UTF-8."""
        content = ErrorContent(code=self.code, message=self.message, details=self.details, request_id=request_id)
        return ErrorResponse(error=content).model_dump_json().encode()


# status: code, message, field, expected, got. For answers that a library gave with a status and no more.
_BY_STATUS = {
    404: ("not_found", "there is nothing at this path", "path", "one of: {paths}", "another path"),
    405: (
        "method_not_allowed",
        "this path does not answer to this method",
        "method",
        "the method in the `Allow` header",
        "another method",
    ),
    429: (
        "too_many_requests",
        "the server is at its limit of concurrent requests",
        "request",
        "fewer requests at a time",
        "one too many",
    ),
    503: ("unavailable", "the server cannot answer now", "request", "another try in a moment", "no answer"),
    504: ("timeout", "the answer took too long", "request", "a smaller request", "no answer in time"),
}


def of_status(status: int, paths: Iterable[str] = ()) -> ApiError:
    """The error for an answer that some library gave with nothing but a status.

    `paths` are what the server answers to, for the one who mistyped a path.
    """
    if status in _BY_STATUS:
        code, message, field, expected, got = _BY_STATUS[status]
        detail = ErrorDetail(field=field, expected=expected.format(paths=", ".join(paths)), got=got)
        return ApiError(status, code, message, [detail])
    if status >= 500:
        return internal_error(status)
    phrase = HTTPStatus(status).phrase.lower() if status in set(HTTPStatus) else "refused"
    return ApiError(status, re.sub(r"[^a-z]+", "_", phrase), phrase)


def internal_error(status: int = 500) -> ApiError:
    """A fault of the server; what it was is in the server's log under the same request id."""
    return ApiError(status, "internal_error", "the server failed; its log has the cause under this request id")


def state_unavailable(lost: bool) -> ApiError:
    """The states of customers cannot be read or written now; `lost` says that the store may have forgotten some."""
    message = "the states of customers cannot be used now"
    hint = "send the same call again after `Retry-After` seconds; what is stored already counts once"
    detail = ErrorDetail(field="state", expected="a store that answers", got="none", hint=hint)
    if lost:
        message = "the states of customers are not whole: their store was emptied or started again"
        hint = "they are compared with the log by themselves; where that is not enough, build them: twin state rebuild"
        detail = ErrorDetail(field="state", expected="the states of all customers", got="some may be lost", hint=hint)
    return ApiError(503, "state_unavailable", message, [detail], {"Retry-After": RETRY_AFTER_SECONDS})


def plain(text: str) -> str:
    """`text` if it is a short technical name, else a placeholder: nothing else is ever echoed."""
    return text if _PLAIN.fullmatch(text) else "(not a plain name)"
