"""What the twin says of a customer: given these events, then this."""

from __future__ import annotations

import pytest

from pipelines.twin.ruled import due_at
from pipelines.twin.state import Cited
from tests.unit.twin_parts import at, happened, ids, settings, trigger, twin_of


def opened(day: float, message: str, event_id: str = ""):  # type: ignore[no-untyped-def]
    return happened("Email Opened", day, event_id=event_id, message_id=message)


def test_three_mails_opened_and_none_clicked_is_hesitation() -> None:
    opens = [opened(0, "m1"), opened(1, "m2"), opened(2, "m3")]
    assert trigger(twin_of(opens[:2], 3), "hesitating") is None

    found = trigger(twin_of(opens, 3), "hesitating")
    assert found is not None
    assert [cited.properties["message_id"] for cited in found.evidence] == ["m3", "m2", "m1"]
    assert found.features == {"email_opened_message_id_distinct_14d": 3, "email_link_clicked_count_14d": 0}


def test_the_same_mail_again_is_no_third() -> None:
    twice = [opened(0, "m1"), opened(1, "m2"), opened(2, "m2")]
    assert trigger(twin_of(twice, 3), "hesitating") is None


def test_a_duplicate_changes_nothing() -> None:
    opens = [opened(0, "m1"), opened(1, "m2"), opened(2, "m3", "the-third")]
    assert twin_of([*opens, opens[1], opens[2]], 3) == twin_of(opens, 3)


def test_a_click_ends_hesitation() -> None:
    opens = [opened(0, "m1"), opened(1, "m2"), opened(2, "m3")]
    click = happened("Email Link Clicked", 2.5, message_id="m3")
    assert trigger(twin_of([*opens, click], 3), "hesitating") is None


def test_hesitation_is_over_once_the_opens_are_old() -> None:
    opens = [opened(0, "m1"), opened(1, "m2"), opened(2, "m3")]
    assert trigger(twin_of(opens, 20), "hesitating") is None


def test_a_trial_of_14_days_ends_from_day_12_on() -> None:
    events = [
        happened("Trial Started", 0, channel="app", trial_days=14),
        *(happened("Application Opened", day) for day in range(1, 12)),
    ]
    assert trigger(twin_of(events, 11.9), "trial_ending") is None
    found = trigger(twin_of(events, 12.1), "trial_ending")
    assert found is not None
    assert [cited.event for cited in found.evidence] == ["Application Opened"] * 11 + ["Trial Started"]
    assert trigger(twin_of(events, 14.1), "trial_ending") is None

    subscribed = [*events, happened("Subscription Started", 12)]
    assert trigger(twin_of(subscribed, 12.1), "trial_ending") is None


def test_a_cart_is_left_until_it_is_ordered() -> None:
    added = happened("Product Added", 0, product_id="p1", price=10_000)
    found = trigger(twin_of([added], 0.1), "cart_left")
    assert found is not None
    assert ids(found.evidence) == [added.event_id]
    (declared,) = [of for of in settings().twin.triggers if of.rule.name == "cart_left"]
    assert due_at(declared, found) == at(1 / 24)

    ordered = happened("Order Completed", 0.05, order_id="o1", total=10_000)
    assert trigger(twin_of([added, ordered], 0.1), "cart_left") is None
    again = happened("Product Added", 0.08, product_id="p2", price=10_000)
    assert trigger(twin_of([added, ordered, again], 0.1), "cart_left") is not None
    assert "Order Completed" in declared.cancelled_by


@pytest.mark.parametrize("reason", ["price", "size", "shade"])
def test_what_does_not_suit_is_a_trigger_with_its_report(reason: str) -> None:
    report = happened("Product Mismatch Reported", 0, product_id="p1", reason=reason)
    twin = twin_of([report], 1)
    assert [found.name for found in twin.triggers] == [f"{reason}_mismatch"]
    assert ids(twin.triggers[0].evidence) == [report.event_id]


def test_high_intent_and_a_detractor() -> None:
    events = [happened("Checkout Started", 0, total=5_000), happened("Survey Answered", 0, survey="nps", score=6)]
    assert [found.name for found in twin_of(events, 0.5).triggers] == ["high_intent", "detractor"]
    assert [found.name for found in twin_of(events, 2).triggers] == ["detractor"]


def viewed(days: int):  # type: ignore[no-untyped-def]
    return [happened("Product Viewed", day, product_id="p1", price=90_000) for day in range(days)]


def test_why_there_was_no_purchase_is_ranked_by_the_signs_of_it() -> None:
    shades = [happened("Product Mismatch Reported", day, product_id="p1", reason="shade") for day in (1, 2)]
    price = happened("Product Mismatch Reported", 3, product_id="p1", reason="price")
    barriers = twin_of([*viewed(5), *shades, price], 6).barriers
    # Three signs, and one left to what is unknown.
    assert [(found.reason, found.share) for found in barriers] == [("shade", 0.5), ("price", 0.25), ("unknown", 0.25)]
    assert ids(barriers[0].evidence) == ids(
        [Cited(e.event, e.event_time, e.channel, e.source, e.event_id, {}) for e in reversed(shades)]
    )


def test_without_a_sign_the_reason_is_unknown() -> None:
    (only,) = twin_of(viewed(5), 6).barriers
    assert (only.reason, only.share, only.evidence) == ("unknown", 1.0, ())


def test_nobody_asks_why_of_those_who_bought_or_hardly_looked() -> None:
    shade = happened("Product Mismatch Reported", 1, reason="shade")
    assert twin_of([*viewed(4), shade], 6).barriers == ()
    assert twin_of([*viewed(5), shade, happened("Order Completed", 2, order_id="o", total=1)], 6).barriers == ()


def test_mixed_behaviour_is_several_personas_whose_weights_add_up() -> None:
    events = [
        *(happened("Order Completed", day, order_id=f"o{day}", total=100) for day in (1, 2)),
        *(happened("Coupon Applied", day, coupon_id="c") for day in (1, 2)),
        happened("Email Link Clicked", 3, message_id="m"),
    ]
    personas = twin_of(events, 4).personas
    assert [(of.name, of.weight) for of in personas] == [("bargain_hunter", 5 / 9), ("loyal_regular", 4 / 9)]
    assert [cited.event for cited in personas[0].evidence] == ["Email Link Clicked", "Coupon Applied", "Coupon Applied"]


def test_personas_are_those_of_the_instant() -> None:
    early = [happened("Coupon Applied", day, coupon_id="c") for day in (0, 1)]
    late = [happened("Application Opened", day) for day in range(100, 120)]
    assert [of.name for of in twin_of(early + late, 2).personas] == ["bargain_hunter"]
    assert [of.name for of in twin_of(early + late, 120).personas] == ["app_native"]


def test_a_persona_of_a_small_share_is_left_out_and_the_others_make_up_for_it() -> None:
    events = [happened("Coupon Applied", day, coupon_id="c") for day in range(20)]
    events.append(happened("Application Opened", 1))
    (only,) = twin_of(events, 21).personas
    assert (only.name, only.weight) == ("bargain_hunter", 1.0)


def test_nobody_without_behaviour_has_a_persona() -> None:
    assert twin_of([happened("Email Delivered", 0, message_id="m")], 1).personas == ()
