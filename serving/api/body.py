"""Turn the bytes of a request into a checked request, or into one error that names every mistake."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from serving.api.errors import ApiError, ErrorDetail, plain
from serving.api.requests import RequestBody

Body = TypeVar("Body", bound=RequestBody)
MOST_DETAILS = 100


def parse_body(raw: bytes, model: type[Body]) -> Body:
    """Check the bytes of a body against `model`.

    Raises:
        ApiError: 400, with a detail for each mistake (the first 100 of them); no value is echoed.
    """
    try:
        body: Body = model.model_validate_json(raw)
        return body
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
    if found[0]["type"] == "json_invalid":
        raise invalid_json(found[0]["msg"].removeprefix("Invalid JSON: "))
    count = len(found)
    message = f"{count} mistake{'s' if count != 1 else ''} in the request"
    raise ApiError(400, "invalid_request", message, [_detail(item, model) for item in found[:MOST_DETAILS]])


def invalid_json(finding: str) -> ApiError:
    """`finding` is the parser's text: what it stumbled over and where, without any content."""
    hint = "check quotes, commas and the encoding"
    return ApiError(
        400,
        "invalid_json",
        "the body is not JSON",
        [ErrorDetail(field="body", expected="one JSON object in UTF-8", got=finding, hint=hint)],
    )


def _detail(item: Any, model: type[RequestBody]) -> ErrorDetail:
    place = item["loc"]
    if not place:
        example = "{" + ", ".join(f'"{name}": ...' for name in model.expected if "." not in name) + "}"
        return ErrorDetail(field="body", expected="a JSON object", got=kind_of(item["input"]), hint=f"send {example}")
    field = ".".join(plain(str(part)) for part in place)
    if item["type"] == "extra_forbidden":
        known = ", ".join(name for name in model.expected if "." not in name)
        return ErrorDetail(field=field, expected="no such key", got="an unknown key", hint=f"known here: {known}")
    name = str(place[0]) if len(place) == 1 else f"{place[0]}.item"
    expected = model.expected.get(name, "another value")
    if item["type"] == "missing":
        return ErrorDetail(field=field, expected=expected, got="nothing", hint="add this key")
    if item["type"] == "string_pattern_mismatch":
        return ErrorDetail(field=field, expected=expected, got="text with control characters")
    hint = "quote it" if item["type"] == "string_type" and isinstance(item["input"], int | float) else ""
    return ErrorDetail(field=field, expected=expected, got=kind_of(item["input"]), hint=hint)


def kind_of(value: object) -> str:
    """What sort of JSON value this is, and its size, without the value itself."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return "a whole number"
        case float():
            return "a number"
        case str():
            return f"text of {len(value)} characters"
        case list():
            return f"a list of {len(value)} items"
        case dict():
            return f"an object of {len(value)} keys"
    return type(value).__name__
