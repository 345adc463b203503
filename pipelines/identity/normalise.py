"""One way of writing every identifier, so that equal ones are equal texts, and those that name nobody are told."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache

import phonenumbers

from pipelines.settings.identity import IdentifierKind, Normaliser

_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")
_EMAIL_LENGTH = 254
_NOT_DIGITS = re.compile(r"\D+")
# Half of a character: JSON can carry it, UTF-8 and so no store can.
_SURROGATES = re.compile("[\ud800-\udfff]")
_POSSIBLE = phonenumbers.ValidationResult.IS_POSSIBLE


def normalise(kind: IdentifierKind, value: str, blocked: Sequence[str]) -> str | None:
    """The one way of writing `value`, or None where it names nobody: it is unusable, or blocked.

    `blocked` holds patterns in lower case in which `*` stands for any text; they are compared with the
    value as it came, as it is normalised, and for numbers with the digits of both. Idempotent, and
    no text makes it raise.

    text: NFC without blanks at the ends; lower: that in lower case; digits: the digits of any script,
    in ASCII; email: like lower, if it is shaped like an address; phone: E.164 by the kind's region, if
    its length is one that the country has.
    """
    came = _clean(value)
    if came is None:
        return None
    written = _NORMALISERS[kind.normalise](came, kind)
    if not written or _is_blocked(kind.normalise, came, written, _pattern(tuple(blocked))):
        return None
    return written


def _clean(value: str) -> str | None:
    if value.isascii():
        return value.strip()
    return None if _SURROGATES.search(value) else unicodedata.normalize("NFC", value).strip()


def _lower(value: str) -> str:
    lowered = value.lower()
    return lowered if lowered.isascii() else unicodedata.normalize("NFC", lowered).strip()


def _digits(value: str) -> str:
    kept = _NOT_DIGITS.sub("", value)
    return kept if kept.isascii() else "".join(str(unicodedata.decimal(digit)) for digit in kept)


def _email(value: str) -> str | None:
    lowered = _lower(value)
    return lowered if len(lowered) <= _EMAIL_LENGTH and _EMAIL.fullmatch(lowered) else None


# A number is parsed in some 50 µs, and the same callers come again and again.
@lru_cache(maxsize=1 << 16)
def _phone(value: str, region: str) -> str | None:
    # Written from abroad, as 0066...; Thailand's own prefix 006 would make it a number of Palau.
    abroad = f"00{phonenumbers.country_code_for_region(region)}"
    if value.startswith(abroad):
        value = f"+{value[2:]}"
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != _POSSIBLE:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


_NORMALISERS: dict[Normaliser, Callable[[str, IdentifierKind], str | None]] = {
    "text": lambda value, kind: value,
    "lower": lambda value, kind: _lower(value),
    "digits": lambda value, kind: _digits(value),
    "email": lambda value, kind: _email(value),
    "phone": lambda value, kind: _phone(value, kind.region),
}


def _is_blocked(normaliser: Normaliser, came: str, written: str, pattern: re.Pattern[str]) -> bool:
    forms = {_lower(came), _lower(written)}
    if normaliser in ("digits", "phone"):
        forms |= {_digits(form) for form in forms}
    return any(pattern.fullmatch(form) for form in forms)


@lru_cache(maxsize=64)
def _pattern(blocked: tuple[str, ...]) -> re.Pattern[str]:
    texts = (".*".join(map(re.escape, text.split("*"))) for text in blocked)
    return re.compile("|".join(f"(?:{text})" for text in texts) or "(?!)", re.DOTALL)
