"""The bytes of a call: who sends it, and its items, each still as raw JSON."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request

from serving.api.authorisation import key_of
from serving.api.body import invalid_json
from serving.api.errors import ApiError, ErrorDetail

_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Envelope:
    """A call taken apart. `context` and `sent_at` hold for items that have none."""

    items: list[bytes]
    write_key: str | None
    context: Any = None
    sent_at: Any = None


class _Batch(msgspec.Struct, rename="camel"):
    batch: msgspec.Raw = msgspec.Raw(b"null")
    write_key: Any = None
    context: Any = None
    sent_at: Any = None


class _Single(msgspec.Struct, rename="camel"):
    write_key: Any = None


# Fractions as in items: a number that 64 bits cannot hold matters only where it is kept.
_batch = msgspec.json.Decoder(_Batch, float_hook=Decimal)
_items = msgspec.json.Decoder(list[msgspec.Raw])
_single = msgspec.json.Decoder(_Single, float_hook=Decimal)


async def read_bytes(request: Request, maximum: int) -> bytes:
    """The body, unpacked where it came as gzip.

    Raises:
        ApiError: 400 where it is larger than `maximum`, packed or unpacked, or no gzip; 415 for another encoding.
        ClientDisconnect: the client went away.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", ""):
        detail = ErrorDetail(field="Content-Encoding", expected="gzip or identity", got="another encoding")
        raise ApiError(415, "unsupported_media_type", "the body is in an encoding that is not read here", [detail])
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > maximum:
            raise _too_large(maximum)
        chunks.append(chunk)
    body = b"".join(chunks)
    return _unpacked(body, maximum) if encoding == "gzip" else body


def _unpacked(body: bytes, maximum: int) -> bytes:
    unpacking = zlib.decompressobj(_GZIP)
    try:
        found = unpacking.decompress(body, maximum + 1)
    except zlib.error:
        raise _bad_gzip("bytes that are no gzip") from None
    if len(found) > maximum:
        raise _too_large(maximum)
    if not unpacking.eof:
        raise _bad_gzip("a part of one")
    if unpacking.unused_data:
        raise _bad_gzip("one with more behind it")
    return found


def open_single(body: bytes) -> Envelope:
    """The envelope of one call. Raises ApiError (400): not a JSON object."""
    return Envelope([body], _text(_decoded(_single, body).write_key))


def open_batch(body: bytes, maximum_items: int) -> Envelope:
    """The envelope of a batch.

    Raises:
        ApiError: 400, not a JSON object with a list `batch`, or with more than `maximum_items`.
    """
    found = _decoded(_batch, body)
    items = items_of(bytes(found.batch), "batch")
    if not items:
        raise _no_list("batch", "a list of at least one call")
    check_count(len(items), maximum_items, "batch")
    return Envelope(items, _text(found.write_key), found.context, found.sent_at)


def items_of(batch: bytes, field: str) -> list[bytes]:
    """The items of a JSON list. Raises ApiError (400): another JSON value, or no JSON."""
    try:
        return [bytes(item) for item in _items.decode(batch)]
    except msgspec.ValidationError:
        raise _no_list(field, "a list") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise invalid_json("text that is not JSON") from None


def check_count(count: int, maximum: int, field: str) -> None:
    """Raises ApiError (400) for more than `maximum` items."""
    if count > maximum:
        hint = "split the batch; the limit is `ingestion.maximum_events` of the profile"
        detail = ErrorDetail(field=field, expected=f"at most {maximum} items", got=f"{count}", hint=hint)
        raise ApiError(400, "too_many_events", f"one batch may hold {maximum} events", [detail])


def _no_list(field: str, expected: str) -> ApiError:
    detail = ErrorDetail(field=field, expected=expected, got="nothing of that kind")
    return ApiError(400, "invalid_request", "1 mistake in the request", [detail])


def write_key_of(headers: Headers, envelope: Envelope) -> str | None:
    """The key of a call: of its header `Authorization`, else `writeKey` in the body."""
    scheme = headers.get("authorization", "").partition(" ")[0].lower()
    return key_of(headers) if scheme in ("basic", "bearer") else envelope.write_key


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        detail = ErrorDetail(field="body", expected="a JSON object", got="another JSON value")
        raise ApiError(400, "invalid_request", "1 mistake in the request", [detail]) from None
    except msgspec.DecodeError:
        raise invalid_json("text that is not JSON") from None
    except UnicodeDecodeError:
        raise invalid_json("bytes that are not UTF-8") from None
    except RecursionError:
        raise invalid_json("objects and lists too deep in each other") from None
    except ArithmeticError:
        raise invalid_json("a number with too large an exponent") from None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _too_large(maximum: int) -> ApiError:
    hint = "split the call; the limit is `ingestion.maximum_body_bytes` of the profile"
    detail = ErrorDetail(field="body", expected=f"at most {maximum} bytes, also unpacked", got="more", hint=hint)
    return ApiError(400, "body_too_large", f"the body is larger than {maximum} bytes", [detail])


def _bad_gzip(got: str) -> ApiError:
    detail = ErrorDetail(field="body", expected="one whole gzip stream", got=got, hint="see Content-Encoding")
    return ApiError(400, "invalid_gzip", "the body is not what its Content-Encoding says", [detail])


def shared_context(given: Any, own: Any) -> dict[str, Any]:
    """The batch's context with the item's own over it; nulls and what is no object count as nothing."""
    merged: dict[str, Any] = {}
    for part in (given, own):
        if isinstance(part, Mapping):
            merged |= {key: value for key, value in part.items() if value is not None}
    return merged
