"""What is decided for one customer: values, levers, draws, holdout, cold start, variants, and what is told of it."""

from __future__ import annotations

import pytest

from pipelines.catalogue import NO_ACTION, Budget, Cap, ChannelAnswers, QuietHours
from pipelines.decisions.decide import decide
from pipelines.decisions.situation import Contact, Decision, Predicted
from tests.unit.decide_parts import (
    DAY,
    HESITATING,
    HOUR,
    HOURS,
    NOON,
    OPENED,
    PLAIN,
    action,
    catalogue,
    rule,
    situation,
)

BOTH = {"coupon": Predicted(0.1, 0.3), "reviews": Predicted(0.2, 0.25)}


def _lost(decision: Decision) -> dict[str, str]:
    return {item.action: item.lost for item in decision.alternatives}


def _codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


def _sentence(decision: Decision, code: str) -> str:
    return next(reason.sentence for reason in decision.reasons if reason.code == code)


def test_what_an_action_changes_decides_and_not_what_is_bought_anyway() -> None:
    decision = decide(catalogue(action(), action("reviews")), situation(predicted=BOTH))
    # 0.2 × 5000 − 100, though the coupon's response is higher.
    assert (decision.action, decision.expected_value, decision.cost) == ("reviews", 900.0, 100)
    assert [item.action for item in decision.alternatives] == ["reviews", "coupon", NO_ACTION]
    assert _lost(decision) == {"reviews": "chosen", "coupon": "less_value", NO_ACTION: "less_value"}
    assert decision.alternatives[1].plain_value == 400.0
    assert decision.propensity == 1.0
    assert (decision.stage, decision.variant, decision.channel) == ("usage", "plain", "email")
    assert "0.2" in _sentence(decision, "value")
    assert "5000" in _sentence(decision, "value")


def test_no_action_where_nothing_is_worth_its_cost() -> None:
    decision = decide(catalogue(action(cost=501)), situation())
    assert (decision.action, decision.expected_value, decision.send_at) == (NO_ACTION, 0.0, None)
    assert _codes(decision) == ["nothing_worth_it"]
    assert _lost(decision) == {NO_ACTION: "chosen", "coupon": "not_worth_it"}
    assert decision.alternatives[1].expected_value == -1.0


def test_what_is_worth_exactly_nothing_is_not_done_and_the_first_of_equals_is() -> None:
    assert decide(catalogue(action(cost=500)), situation()).action == NO_ACTION
    equal = {"coupon": Predicted(0.1, None), "reviews": Predicted(0.1, None)}
    assert decide(catalogue(action("reviews"), action()), situation(predicted=equal)).action == "reviews"


def test_levers_decide_and_are_told() -> None:
    lifted = catalogue(action(priority=3.0), action("reviews"))
    decision = decide(lifted, situation(predicted=BOTH))
    assert (decision.action, decision.expected_value) == ("coupon", 1200.0)
    assert decision.alternatives[0].plain_value == 400.0
    assert "priority 3" in _sentence(decision, "lever")
    assert _sentence(decision, "lever_decided").endswith("reviews")
    boosted = decide(catalogue(action(boost=600), action("reviews")), situation(predicted=BOTH))
    assert (boosted.action, boosted.expected_value) == ("coupon", 1000.0)
    both = decide(catalogue(action(priority=2.0, boost=50)), situation())
    assert both.expected_value == 2.0 * 400 + 50  # what is added is not multiplied
    held_back = decide(catalogue(action(boost=-401)), situation())
    assert (held_back.action, _codes(held_back)) == (NO_ACTION, ["nothing_worth_it", "lever_decided"])


def test_a_shadow_price_asks_more_of_what_costs_more() -> None:
    dear, cheap = action(cost=300), action("reviews", cost=10, value=rule("1000", "number"))
    offers = catalogue(dear, cheap)
    assert decide(offers, situation(predicted=BOTH)).action == "coupon"  # 200 against 190
    priced = decide(offers, situation(predicted=BOTH, shadow_price=0.5))
    assert (priced.action, priced.expected_value) == ("reviews", 190.0)
    assert "0.5" in _sentence(priced, "value")
    assert decide(offers, situation(predicted=BOTH, shadow_price=20.0)).action == NO_ACTION


@pytest.mark.parametrize(
    ("changed", "lost"),
    [
        ({"starts": NOON + 1}, "not_valid_yet"),
        ({"ends": NOON}, "expired"),
        ({"purpose": "personalisation"}, "consent"),
        ({"eligible": rule("orders > 2")}, "not_eligible"),
        ({"eligible": rule("opened_hour_1 > 2")}, "not_eligible"),  # not known, which is not True
        ({"cost": 101}, "budget"),
        ({"quiet_hours": QuietHours(11 * 60, 13 * 60), "ends": NOON + HOUR}, "quiet_hours"),
        ({"id": "unheard_of"}, "unknown_to_model"),
        ({"value": rule("mean / opened", "number")}, "unknown_to_model"),
        ({"value": rule("1e308", "number"), "priority": 1e5}, "unknown_to_model"),
    ],
)
def test_each_obstacle_by_its_name(changed: dict[str, object], lost: str) -> None:
    decision = decide(catalogue(action(**changed), budget=Budget(100, DAY)), situation())
    assert decision.action == NO_ACTION
    assert decision.alternatives[1].lost == lost
    assert decision.alternatives[1].propensity == 0.0


def test_dates_are_from_the_first_instant_on_and_before_the_last() -> None:
    assert decide(catalogue(action(starts=NOON, ends=NOON + 1)), situation()).action == "coupon"


def test_a_rule_may_ask_for_consent_and_stage() -> None:
    asked = catalogue(action(eligible=rule("stage == 'usage' and not consent.profiling")))
    assert decide(asked, situation()).action == NO_ACTION
    assert decide(asked, situation(consents=("marketing",))).action == "coupon"
    empty = {"orders": None, "mean": 5000.0}
    assert decide(asked, situation(consents=("marketing",), features=empty)).stage == "awareness"


@pytest.mark.parametrize(
    ("cap", "contact", "counts"),
    [
        (Cap(1, DAY), Contact("other", "line", NOON - DAY), True),
        (Cap(1, DAY), Contact("other", "line", NOON - DAY - 1), False),
        (Cap(1, DAY), Contact("task", None, NOON), False),
        (Cap(2, DAY), Contact("other", "line", NOON), False),
        (Cap(1, DAY, channel="email"), Contact("other", "email", NOON), True),
        (Cap(1, DAY, channel="line"), Contact("other", "line", NOON), False),
        (Cap(1, DAY, action="coupon"), Contact("coupon", "email", NOON), True),
        (Cap(1, DAY, action="other"), Contact("other", "email", NOON), False),
        # Decided on by a call whose clock is ahead.
        (Cap(1, DAY), Contact("other", "line", NOON + 1), True),
    ],
)
def test_caps_count_what_they_are_about(cap: Cap, contact: Contact, counts: bool) -> None:
    decision = decide(catalogue(action(), caps=(cap,)), situation(contacts=(contact,)))
    assert decision.action == (NO_ACTION if counts else "coupon")
    assert (_lost(decision)["coupon"] == "cap") == counts


def test_a_task_of_an_employee_has_no_channel_but_may_have_a_cap() -> None:
    task = action(channel=None, quiet_hours=QuietHours(0, 1439))
    decision = decide(catalogue(task, caps=(Cap(0, DAY),)), situation())
    assert (decision.action, decision.send_at, decision.channel) == ("coupon", None, None)
    capped = catalogue(task, caps=(Cap(1, DAY, action="coupon"),))
    assert decide(capped, situation(contacts=(Contact("coupon", None, NOON - 1),))).action == NO_ACTION


def test_what_costs_nothing_fits_into_a_spent_budget() -> None:
    spent = situation(spent=200)
    assert decide(catalogue(action(cost=0), budget=Budget(100, DAY)), spent).action == "coupon"
    assert decide(catalogue(action(cost=1), budget=Budget(100, DAY)), spent).action == NO_ACTION


def test_hesitation_leads_to_another_strategy_with_its_reason() -> None:
    offers = catalogue(action(variants=(HESITATING, PLAIN)))
    opened = {"mean": 5000.0, "opened": 3, "clicked": 0}
    hesitating = decide(offers, situation(features=opened))
    assert hesitating.variant == "reassurance"
    reason = next(reason for reason in hesitating.reasons if reason.code == "variant")
    assert reason.names == ("opened", "clicked")
    assert "opened, and none clicked (opened = 3, clicked = 0)" in reason.sentence
    clicked = decide(offers, situation(features={**opened, "clicked": 1}))
    assert clicked.variant == "plain"
    assert "variant" not in _codes(clicked)


def test_those_held_out_get_nothing_and_are_told_what_they_could_have_got() -> None:
    offers = catalogue(action(), action("old", ends=NOON), holdout_share=1.0, exploration_share=1.0)
    decision = decide(offers, situation())
    assert (decision.action, decision.holdout, decision.explored, decision.propensity) == (NO_ACTION, True, False, 1.0)
    assert _lost(decision) == {NO_ACTION: "chosen", "coupon": "holdout", "old": "expired"}
    assert decision.alternatives[1].expected_value == 400.0
    assert _codes(decision) == ["holdout"]


def test_a_cold_start_ranks_by_response_and_says_so() -> None:
    offers = catalogue(action(), action("reviews"), exploration_share=1.0, cold_start_exploration_share=0.0)
    responses = {"coupon": Predicted(None, 0.3), "reviews": Predicted(None, 0.25)}
    decision = decide(offers, situation(basis="propensity", predicted=responses))
    assert (decision.action, decision.basis, decision.expected_value) == ("coupon", "propensity", 1400.0)
    assert "cold_start" in _codes(decision)
    assert decision.alternatives[0].effect is None


def test_without_any_model_only_a_draw_acts() -> None:
    offers = catalogue(action(), cold_start_exploration_share=0.0)
    decision = decide(offers, situation(basis="none", predicted={}))
    assert (decision.action, _codes(decision)) == (NO_ACTION, ["nothing_worth_it", "cold_start"])
    assert _lost(decision)["coupon"] == "unknown_to_model"
    drawn = catalogue(action(), cold_start_exploration_share=1.0)
    found = {decide(drawn, situation(basis="none", decision_id=str(at))).action for at in range(50)}
    assert found == {"coupon", NO_ACTION}


def test_a_draw_is_told_with_what_it_was_drawn_instead_of() -> None:
    offers = catalogue(action(), exploration_share=1.0)
    drawn = [decide(offers, situation(decision_id=str(at))) for at in range(40)]
    other = next(decision for decision in drawn if decision.action == NO_ACTION)
    assert other.explored
    assert other.propensity == 0.5
    assert _lost(other) == {NO_ACTION: "chosen", "coupon": "not_drawn"}
    assert _codes(other) == ["explored"]
    assert "coupon" in _sentence(other, "explored")


def test_the_channel_that_a_customer_answers_is_told_with_its_confidence() -> None:
    answers = ChannelAnswers({"email": ("opened", "clicked"), "line": ("orders", "mean")}, "line", 20)
    known = {"mean": 5000.0, "opened": 40, "clicked": 50, "orders": 900}
    found = decide(catalogue(action(), best_channel=answers), situation(features=known))
    assert (found.best_channel, found.best_channel_is_fallback) == ("email", False)
    assert found.best_channel_confidence is not None
    assert found.best_channel_confidence > 0.99
    assert "email is answered most often" in _sentence(found, "channel")
    few = decide(
        catalogue(action(), best_channel=answers), situation(features={"mean": 5.0, "opened": 3, "clicked": 1})
    )
    assert (few.best_channel, few.best_channel_confidence, few.best_channel_is_fallback) == ("line", None, True)


def test_a_message_goes_out_at_the_hour_that_suits_the_customer() -> None:
    twenty_opens = {"mean": 5000.0, "zone": "Asia/Bangkok", HOURS[19]: 4, HOURS[20]: 12, HOURS[21]: 4}
    offers = catalogue(action(), send_time=OPENED)
    decision = decide(offers, situation(features=twenty_opens))
    assert (decision.hour, decision.hour_is_fallback, decision.send_at) == (20, False, NOON + 8 * HOUR)
    assert decision.hour_confidence is not None
    assert decision.hour_confidence > 0.95
    in_tokyo = decide(offers, situation(features={**twenty_opens, "zone": "Asia/Tokyo"}))
    assert (in_tokyo.hour, in_tokyo.send_at) == (22, NOON + 8 * HOUR)  # the same instant on another clock
    few = decide(offers, situation(features={"mean": 5000.0, HOURS[20]: 4}))
    assert (few.hour, few.hour_is_fallback, few.hour_confidence, few.send_at) == (19, True, None, NOON + 7 * HOUR)
    assert "send_time_fallback" in _codes(few)


def test_quiet_hours_put_a_message_off() -> None:
    quiet = QuietHours(21 * 60, 9 * 60)
    at_night = situation(as_of=NOON + 10 * HOUR)
    assert decide(catalogue(action(quiet_hours=quiet)), at_night).send_at == NOON + 21 * HOUR
    late = {"mean": 5000.0, HOURS[22]: 20}
    decision = decide(catalogue(action(quiet_hours=quiet), send_time=OPENED), situation(features=late))
    # The hour that suits lies within quiet hours: the first allowed instant instead.
    assert (decision.hour, decision.send_at) == (22, NOON)
    assert "within quiet hours" in _sentence(decision, "send_time")
