"""Identifiers in one way of writing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.identity.normalise import normalise
from pipelines.settings import load_settings
from pipelines.settings.identity import IdentifierKind, Normaliser

NORMALISERS: tuple[Normaliser, ...] = ("text", "lower", "digits", "email", "phone")
BLOCKED = load_settings().identity.blocked


def written(normaliser: Normaliser, value: str) -> str | None:
    return normalise(IdentifierKind(normalise=normaliser), value, BLOCKED)


@pytest.mark.parametrize(
    ("normaliser", "value", "expected"),
    [
        ("text", "  Caf\u0065\u0301 ", "Café"),
        ("text", "C000001", "C000001"),
        ("lower", "AbC", "abc"),
        ("digits", "88-๑๒๓ 4", "881234"),
        ("digits", "no number", None),
        ("email", " Somchai.J@Example.COM ", "somchai.j@example.com"),
        ("email", "s.o.m@gmail.com", "s.o.m@gmail.com"),
        ("email", "somchai", None),
        ("email", "a@b", None),
        ("email", "a b@example.com", None),
        ("email", "a@example..com", None),
        ("email", "a" * 250 + "@b.co", None),
        ("phone", "080-123-4567", "+66801234567"),
        ("phone", "+66 80 123 4567", "+66801234567"),
        ("phone", "0066801234567", "+66801234567"),
        ("phone", "๐๘๐-๑๒๓-๔๕๖๗", "+66801234567"),
        ("phone", "+44 20 7946 0018", "+442079460018"),
        ("phone", "12", None),
        ("phone", "none", None),
    ],
)
def test_values_are_written_in_one_way(normaliser: Normaliser, value: str, expected: str | None) -> None:
    assert written(normaliser, value) == expected


@pytest.mark.parametrize("normaliser", NORMALISERS)
@pytest.mark.parametrize(
    "value", ["", "  ", "null", " NULL ", "N/A", "0", "0000000000", "TEST@shop.co", "a@test.com", "-"]
)
def test_values_that_are_nobodys_are_refused(normaliser: Normaliser, value: str) -> None:
    assert written(normaliser, value) is None


@pytest.mark.parametrize(("normaliser", "refused"), [("text", False), ("digits", True), ("phone", True)])
def test_numbers_are_blocked_however_they_are_written(normaliser: Normaliser, refused: bool) -> None:
    assert (written(normaliser, "000-000-0000") is None) == refused


def test_a_star_stands_for_any_text_and_nothing_else_is_special() -> None:
    kind = IdentifierKind()
    assert normalise(kind, "a.c", ["a.c"]) is None
    assert normalise(kind, "abc", ["a.c"]) == "abc"
    assert normalise(kind, "[x]?", ["[x]*"]) is None
    assert normalise(kind, "x\ny", ["x*"]) is None
    assert normalise(kind, "anything", []) == "anything"


def test_half_a_character_cannot_be_stored_and_names_nobody() -> None:
    assert written("text", "a\ud800") is None


TEXTS = st.one_of(
    st.text(),
    st.text(alphabet="0123456789+-() ๐๘x;=", max_size=20),
    st.text(alphabet="ABcİΣß.@ \u0301\u0345", max_size=20),
    st.from_regex(r"\+?[0-9]{6,15}", fullmatch=True),
    st.text(alphabet=st.characters(codec=None, categories=("Cs", "Ll", "Nd")), max_size=10),
)


@settings(max_examples=600, deadline=None)
@given(normaliser=st.sampled_from(NORMALISERS), value=TEXTS)
def test_no_text_raises_and_what_is_written_stays_so(normaliser: Normaliser, value: str) -> None:
    once = written(normaliser, value)
    assert once is None or (once and written(normaliser, once) == once)
