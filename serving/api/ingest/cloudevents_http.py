"""The HTTP binding of CloudEvents 1.0: a request in binary, structured or batched mode, taken apart into events.

An event in binary mode is put into the JSON format, in which those of the other modes come already.
"""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.datastructures import Headers

from serving.api.errors import ApiError, ErrorDetail, plain
from serving.api.ingest.body import Envelope, check_count, items_of, open_single
from serving.api.ingest.cloudevents import is_json

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
_PREFIX = "ce-"
# Of the body or of the header Content-Type, which such a header would contradict.
_ELSEWHERE = ("data", "data_base64", "datacontenttype")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_raw = msgspec.json.Decoder(msgspec.Raw)


def open_cloud_events(headers: Headers, body: bytes, maximum_events: int) -> tuple[Envelope, bool]:
    """The events of a request, each in the JSON format, and whether it is one alone.

    Raises:
        ApiError: 400 for what is no CloudEvent, or too many of them; 415 for one in another format than JSON.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.startswith("application/cloudevents"):
        return Envelope([_binary(headers, body)], None), True
    charset = headers.get("content-type", "").partition(";")[2].strip().lower().removeprefix("charset=").strip('"')
    if kind not in (STRUCTURED, BATCH) or charset not in ("", "utf-8", "utf8", "us-ascii"):
        expected = f"{STRUCTURED} or {BATCH}, in UTF-8"
        detail = ErrorDetail(field="Content-Type", expected=expected, got=plain(kind))
        raise ApiError(415, "unsupported_media_type", "CloudEvents are read as JSON alone", [detail])
    if kind == STRUCTURED:
        return open_single(body), True
    items = items_of(body, "body")
    check_count(len(items), maximum_events, "body")
    return Envelope(items, None), False


def _binary(headers: Headers, body: bytes) -> bytes:
    event: dict[str, Any] = {}
    details: list[ErrorDetail] = []
    for name, value in headers.items():
        if name.startswith(_PREFIX):
            attribute = name.removeprefix(_PREFIX)
            read = _decoded(value)
            if attribute in event or attribute in _ELSEWHERE or read is None:
                expected = "this header once, percent-encoded UTF-8"
                got = "another encoding" if read is None else "it again, or what stands elsewhere in this mode"
                details.append(ErrorDetail(field=plain(name), expected=expected, got=got))
            event[attribute] = read
    if details:
        raise ApiError(400, "invalid_request", "headers that are none of a CloudEvent", details)
    if "content-type" in headers:
        event["datacontenttype"] = headers["content-type"]
    if body:
        event |= _payload(body, headers.get("content-type", "application/json"))
    return msgspec.json.encode(event)


def _payload(body: bytes, media_type: str) -> dict[str, Any]:
    """The body as a member of the JSON format; bytes that are no JSON as they are, to be refused with the event."""
    try:
        if is_json(media_type):
            body.decode()
            return {"data": _raw.decode(body)}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return {"data_base64": base64.b64encode(body).decode()}


def _decoded(value: str) -> str | None:
    """The text of a header's value: double quotes taken off, then percent-decoded once. None where it is no UTF-8."""
    quoted = _QUOTED.fullmatch(value)
    if quoted:
        value = re.sub(r"\\(.)", r"\1", quoted.group(1))
    try:
        return unquote_to_bytes(value.encode("latin-1")).decode()
    except UnicodeDecodeError:
        return None
