"""How a customer experienced what happened, who they say they are, and what was sent to them."""

from __future__ import annotations

import pytest

from tests.unit.twin_parts import at, happened, ids, settings, twin_of


@pytest.mark.parametrize(
    ("score", "outcome", "follow_up"),
    [(2, "negative", "stylist_appointment"), (7, "met", "conditioner"), (10, "exceeded", "personal_trend_news")],
)
def test_an_outcome_three_ways_and_what_follows_it(score: int, outcome: str, follow_up: str) -> None:
    answer = happened("Survey Answered", 0, survey="visit", score=score)
    experience = twin_of([answer], 1).experience
    assert (experience.outcome, experience.follow_up) == (outcome, follow_up)
    (touchpoint,) = experience.touchpoints
    assert ids([signal.because for signal in touchpoint.signals]) == [answer.event_id]


def test_the_latest_outcome_counts_and_each_touchpoint_has_its_own() -> None:
    events = [
        happened("Survey Answered", 0, survey="visit", score=10),
        happened("Support Call Completed", 1, resolved=False),
        happened("Order Refunded", 2, channel="pos", order_id="o", total=100),
        happened("Support Call Completed", 3, resolved=True),
    ]
    experience = twin_of(events, 4).experience
    assert (experience.outcome, experience.follow_up) == ("met", "conditioner")
    assert {of.channel: of.outcome for of in experience.touchpoints} == {
        "call_centre": "met",
        "pos": "negative",
        "survey": "exceeded",
    }
    calls = next(of for of in experience.touchpoints if of.channel == "call_centre")
    assert [(signal.emotion, signal.because.properties["resolved"]) for signal in calls.signals] == [
        (0.2, True),
        (-0.7, False),
    ]


def test_an_emotion_counts_half_after_its_half_life() -> None:
    half_life_days = settings().twin.half_life / (24 * 3600 * 1_000_000)
    events = [
        happened("Survey Answered", 0, survey="visit", score=0),
        happened("Survey Answered", half_life_days, survey="visit", score=10),
    ]
    assert twin_of(events, half_life_days + 1).experience.emotion == pytest.approx((1.0 - 0.5) / 1.5)


def test_of_two_outcomes_at_one_instant_the_worse_counts() -> None:
    events = [happened("Survey Answered", 0, survey=name, score=score) for name, score in (("a", 10), ("b", 1))]
    assert twin_of(events, 1).experience.outcome == twin_of(events[::-1], 1).experience.outcome == "negative"


def test_a_call_that_does_not_say_whether_it_was_resolved_says_nothing() -> None:
    events = [happened("Support Call Completed", 0), happened("Support Call Completed", 1, resolved="perhaps")]
    assert twin_of(events, 2).experience.outcome is None


def test_the_latest_of_each_trait_and_which_are_sealed() -> None:
    sealed = "enc:1:" + "a" * 30
    events = [
        happened("Customer Registered", 0, channel="pos", name_en=sealed, province="Phuket"),
        happened("Customer Identified", 1, channel="web", language="th"),
        happened("Customer Identified", 2, channel="web", language="en"),
        happened("Email Delivered", 3, message_id="m"),
    ]
    profile = twin_of(events, 4).profile
    assert profile.traits == {"language": "en", "name_en": sealed, "province": "Phuket"}
    assert profile.sealed == ("name_en",)
    # A mail that was sent is no sign of the customer.
    assert (profile.first_seen, profile.last_seen, profile.channels) == (at(0), at(2), {"pos": 1, "web": 2})


def test_contacts_are_what_was_sent_and_decided_to_be_sent() -> None:
    decided = {"decision_id": "d", "propensity": 1.0, "basis": "none", "holdout": False, "explored": False}
    events = [
        happened("Email Delivered", 0, event_id="mail", message_id="m", campaign_id="spring"),
        happened("LINE Message Delivered", 1, event_id="line", message_id="m"),
        happened("Decision Made", 2, action_id="line_coupon", contacted=True, contact_channel="line", **decided),
        happened("Decision Made", 3, action_id="no_action", contacted=False, **decided),
        happened("Email Opened", 4, message_id="m"),
    ]
    contacts = twin_of(events, 5).contacts
    assert [(contact.at, contact.channel, contact.event, contact.action) for contact in contacts] == [
        (at(2), "line", "Decision Made", "line_coupon"),
        (at(1), "line", "LINE Message Delivered", None),
        (at(0), "email", "Email Delivered", "spring"),
    ]
    assert contacts[-1].event_id == "mail"


def test_what_has_not_happened_or_arrived_is_not_known() -> None:
    events = [
        happened("Survey Answered", 0, survey="visit", score=10),
        happened("Survey Answered", 1, arrived=5, survey="visit", score=0),
        happened("Survey Answered", 9, survey="visit", score=0),
    ]
    assert twin_of(events, 4).experience.outcome == "exceeded"
    assert twin_of(events, 6).experience.outcome == "negative"
