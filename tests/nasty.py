"""Values that break services, as JSON text, and a slow, strict reader that says what each of them is."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

DEEP = 10_000

TEXTS = {
    "path": "../../etc/passwd",
    "file url": "file:///etc/passwd",
    "null escape": "nothing%00.db",
    "sql": "'; DROP TABLE journal_events; --",
    "sql union": '" UNION SELECT hash FROM access_keys --',
    "template": "{{7*7}}${jndi:ldap://nowhere/a}",
    "html": "<script>alert(1)</script>",
    "format": "%s%n{0.__class__}",
    "thai": "สมชาย ใจดี 😀",
    "right to left": "\u202eabcdef",
    "byte order mark": "\ufeffabcdef",
    "line separator": "abc\u2028def",
    "header": "abc\r\nX-Injected: 1",
    "nul": "abc\0def",
    "257 characters": "x" * 257,
    "10,000 characters": "y" * 10_000,
    "a money name": "$call",
    "empty": "",
    "blank": " \t",
    "year 9999": "9999-12-31T23:59:59Z",
    "year 0": "0000-01-01T00:00:00Z",
    "before year 1": "0001-01-01T00:00:00+14:00",
    "year 1": "0001-01-02T00:00:00Z",
    "silly offset": "2019-03-07T09:30:00+99:99",
    "offset of a day": "2019-03-07T09:30:00-24:00",
    "30 February": "2026-02-30T00:00:00Z",
    "hour 25": "2019-03-07T25:00:00Z",
    "second 61": "2019-03-07T09:30:61Z",
    "no offset": "2019-03-07T09:30:00",
    "other digits": "２０１９-03-07T09:30:00Z",
}

RAW: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "false": b"false",
    "0": b"0",
    "-0.0": b"-0.0",
    "-1": b"-1",
    "1.5": b"1.5",
    "10^18": b"1" + b"0" * 18,
    "2^63": b"9223372036854775808",
    "-2^64": b"-18446744073709551616",
    "400 digits": b"9" * 400,
    "5,000 digits": b"9" * 5_000,
    "a fraction of 5,000 digits": b"0." + b"3" * 5_000,
    "1e400": b"1e400",
    "-1e400": b"-1e400",
    "1e-400": b"1e-400",
    "an exponent of 20 digits": b"1e" + b"9" * 20,
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "-Infinity": b"-Infinity",
    "nan": b"nan",
    "hex": b"0x10",
    "leading zero": b"007",
    "single quotes": b"'a'",
    "empty list": b"[]",
    "list": b"[1]",
    "list of null": b"[null]",
    "empty object": b"{}",
    "object": b'{"a": 1}',
    "duplicate keys": b'{"a": 1, "a": {"b": 2}, "a": 3}',
    "prototype": b'{"__proto__": {"a": 1}, "constructor": 1, "__class__": "x"}',
    "empty key": b'{"": 1}',
    "nul key": b'{"a\\u0000b": 1}',
    "infinite inside": b'{"a": [1e400]}',
    "surrogate": b'"abc\\ud800"',
    "low surrogate": b'"\\udc00abc"',
    "surrogates swapped": b'"\\udc00\\ud800"',
    "surrogate key": b'{"\\ud800": 1}',
    "raw surrogate": b'"\xed\xa0\x80"',
    "no UTF-8": b'"\xff\xfe"',
    "overlong": b'"\xc0\xaf\xc0\xae"',
    "raw NUL": b'"abc\x00def"',
    "raw line feed": b'"abc\ndef"',
    "bad escape": b'"\\x41"',
    "unclosed": b'"abc',
    "40 lists": b"[" * 40 + b"]" * 40,
    "200 lists": b"[" * 200 + b"]" * 200,
    "200 objects": b'{"a":' * 200 + b"1" + b"}" * 200,
    "10,000 lists": b"[" * DEEP + b"]" * DEEP,
    "5,000 objects": b'{"a":' * (DEEP // 2) + b"1" + b"}" * (DEEP // 2),
    "10,000 lists, open": b"[" * DEEP,
    **{name: json.dumps(text, ensure_ascii=False).encode() for name, text in TEXTS.items()},
}

# What must never come back to a client or stand in a log. The rest is too short to be told from other words.
TELLTALES = [
    *(text for text in TEXTS.values() if len(text.strip()) > 5),
    *(text[:40] for text in ("9" * 400, "3" * 5_000, "[" * DEEP, '{"a":' * DEEP)),
]


class Unreadable(ValueError):
    """No JSON by the letter of RFC 8259 in UTF-8, or beyond what is read here."""


def read(raw: bytes) -> Any:
    """The value of JSON text, fractions as Decimal. Raises Unreadable."""

    def refuse(_: str) -> Any:
        raise Unreadable

    try:
        value = json.loads(raw.decode(), parse_float=Decimal, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise Unreadable from error
    return value


def storable(value: Any, deepest: int = 45) -> bool:
    """Whether 64-bit numbers can hold what a value has of fractions, and its depth is no attack."""
    if isinstance(value, Decimal):
        return abs(value) < Decimal("1.7e308")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return deepest > 0 and all(storable(item, deepest - 1) for item in value)
    return True
