"""Who a customer is, from the newest of what events say."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.events.journal import NewEvent
from pipelines.events.opening import event_store
from pipelines.identity.names import Name
from pipelines.identity.profiles import Profile, read_date, read_profiles
from pipelines.settings import Settings, Workspace, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(load_settings("demo"), workspace=Workspace("demo", checkout=tmp_path))


def _event(number: int, user: str | None, event: str = "Customer Identified", **parts: Any) -> NewEvent:
    return NewEvent("web", f"m{number}", event, number * 1_000_000, number * 1_000_000, "web", user, **parts)


def _profiles(settings: Settings, *events: NewEvent, **options: Any) -> dict[str, Profile]:
    with event_store(settings) as store:
        store.journal.append(events)
    return {profile.customer_id: profile for profile in read_profiles(settings, **options)}


def test_the_newest_value_counts_and_lists_keep_the_older_ones(settings: Settings) -> None:
    found = _profiles(
        settings,
        _event(
            3, "u1", properties={"name_th": "นายสมชาย ใจดี", "postcode": "50200"}, identifiers={"phone": "081 234 5678"}
        ),
        _event(1, "u1", properties={"name": "Somchai J.", "birthday": "14/02/2528", "postcode": "10110"}),
        _event(2, "u1", "Product Viewed", identifiers={"email": "Somchai@Example.com", "phone": "0899999999"}),
    )
    assert found["u1"] == Profile(
        "u1",
        names=(Name("สมชาย", "ใจดี"), Name("somchai", "j")),
        emails=("somchai@example.com",),
        phones=("+66812345678", "+66899999999"),
        birth_date=date(1985, 2, 14),
        postcode="50200",
    )


def test_names_in_two_parts_and_values_of_the_wrong_kind(settings: Settings) -> None:
    traits = {"firstName": "Malee", "lastName": "Thongdee", "birth_date": 1985, "name_en": None, "province": ["x"]}
    found = _profiles(settings, _event(1, "u1", properties=traits))
    assert found["u1"] == Profile("u1", names=(Name("malee", "thongdee"),))


def test_other_events_do_not_tell_who_somebody_is(settings: Settings) -> None:
    """A product has a name too."""
    found = _profiles(
        settings, _event(1, "u1", "Screen Viewed", properties={"name": "Home"}, identifiers={"email": "a@b.co"})
    )
    assert found["u1"] == Profile("u1", emails=("a@b.co",))


def test_what_names_nobody_is_left_out(settings: Settings) -> None:
    found = _profiles(
        settings,
        _event(1, "u1", identifiers={"email": "test@shop.co", "phone": "0000000000"}),
        _event(2, None, identifiers={"email": "a@b.co"}),
        _event(3, "null", identifiers={"email": "a@b.co"}),
    )
    assert found == {"u1": Profile("u1")}


def test_a_mailbox_of_many_is_nobodys(settings: Settings) -> None:
    most = settings.identity.kinds["email"].shared_beyond
    few = [_event(i, f"few{i}", identifiers={"email": "family@b.co"}) for i in range(most)]
    many = [_event(100 + i, f"many{i}", identifiers={"email": "office@b.co"}) for i in range(most + 1)]
    found = _profiles(settings, *few, *many)
    assert found["few0"].emails == ("family@b.co",)
    assert found["many0"].emails == ()


def test_personal_values_are_read_by_what_opens_them(settings: Settings) -> None:
    asked = []

    def opened(kind: str, value: str) -> str:
        asked.append((kind, value))
        return value.removeprefix("enc:1:")

    event = _event(1, "u1", properties={"name_en": "enc:1:Malee D"}, identifiers={"phone": "enc:1:0812345678"})
    found = _profiles(settings, event, opened=opened)
    assert found["u1"] == Profile("u1", names=(Name("malee", "d"),), phones=("+66812345678",))
    assert asked == [("phone", "enc:1:0812345678"), ("name_en", "enc:1:Malee D")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1985-02-14", date(1985, 2, 14)), ("1985-02-14T00:00:00Z", date(1985, 2, 14)),
        ("14/02/1985", date(1985, 2, 14)),
        ("14.2.2528", date(1985, 2, 14)), ("2528-02-14", date(1985, 2, 14)), ("29/02/2543", date(2000, 2, 29)),
        ("31/02/2528", None), ("14/02/85", None), ("", None), ("yesterday", None), ("9999-01-01", date(9456, 1, 1)),
    ],
)  # fmt: skip
def test_days_are_read_in_both_orders_and_eras(text: str, expected: date | None) -> None:
    assert read_date(text) == expected


@given(st.one_of(st.text(), st.from_regex(r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}", fullmatch=True)))
def test_no_text_is_too_much_for_reading_days(text: str) -> None:
    assert read_date(text) is None or isinstance(read_date(text), date)


def test_no_events_no_profiles(settings: Settings) -> None:
    assert read_profiles(settings) == []
