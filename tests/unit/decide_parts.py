"""Catalogues and situations for tests of decisions, by hand and drawn by Hypothesis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from pipelines.catalogue import Action, Budget, Cap, Catalogue, ChannelAnswers, QuietHours, SendTime, Variant
from pipelines.decisions.situation import Contact, Predicted, Situation
from pipelines.expressions import Expression, Kind, compile_expression

HOUR = 3_600_000_000
DAY = 24 * HOUR
# 2026-03-04 05:00 UTC: noon in Bangkok.
NOON = 1_772_600_400_000_000
HOURS = tuple(f"opened_hour_{hour}" for hour in range(24))
NAMES: Mapping[str, Kind] = {
    "orders": "number", "mean": "number", "opened": "number", "clicked": "number", "language": "text", "zone": "text",
    "stage": "text", "consent.marketing": "boolean", "consent.profiling": "boolean",
    **dict.fromkeys(HOURS, "number"),
}  # fmt: skip


@cache
def rule(text: str, kind: Kind = "boolean") -> Expression:
    return compile_expression(text, dict(NAMES), kind)


PLAIN = Variant("plain", None, "", {"en": "Hello"}, {})
HESITATING = Variant("reassurance", rule("opened >= 3 and clicked == 0"), "opened, and none clicked", {"en": "Hi"}, {})


def action(name: str = "coupon", **changed: Any) -> Action:
    base = Action(
        id=name, description="", channel="email", cost=100, value=rule("mean", "number"), eligible=None,
        purpose="marketing", starts=None, ends=None, quiet_hours=None, priority=1.0, boost=0, variants=(PLAIN,),
    )  # fmt: skip
    return replace(base, **changed)


def catalogue(*actions: Action, **changed: Any) -> Catalogue:
    """Nobody is held out and nothing is drawn unless it is asked for."""
    base = Catalogue(
        hash="made-up", currency="THB", model="next_best_action", fallback_model="conversion", actions=actions, caps=(),
        rules={}, stages={"usage": rule("orders >= 1"), "awareness": rule("True")}, traits={"tongue": "language"},
        time_zone="Asia/Bangkok", time_zone_feature="zone", holdout_share=0.0, holdout_salt="2026",
        exploration_share=0.0, cold_start_exploration_share=0.0, budget=None, shadow_price=0.0, send_time=None,
        best_channel=None,
        features=("orders", "mean", "opened", "clicked", "language", "zone"),
    )  # fmt: skip
    return replace(base, **changed)


def situation(**changed: Any) -> Situation:
    base = Situation(
        decision_id="d-1", customer_id="c-1", as_of=NOON, basis="effect",
        features={"orders": 2, "mean": 5000.0, "opened": 0, "clicked": 0, "language": "th", "zone": None},
        consents=("marketing", "profiling"), contacts=(), predicted={"coupon": Predicted(0.1, 0.3)}, spent=0,
        shadow_price=0.0,
    )  # fmt: skip
    return replace(base, **changed)


# A whole catalogue takes its time to draw, more so on a busy machine.
drawn = partial(settings, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ANSWERED = ChannelAnswers({"email": ("opened", "clicked"), "line": ("orders", "mean")}, "line", 5)
OPENED = SendTime({"email": HOURS}, 19, 5, utc_offset=7 * HOUR)

# The clocks of Santiago and London change within a day of the last of these; Lord Howe's by half an hour.
_ZONES = ["Asia/Bangkok", "Europe/London", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu", "nowhere", None]
_INSTANTS = st.one_of(
    st.integers(NOON - 2 * DAY, NOON + 2 * DAY),
    st.sampled_from([1_774_745_940_000_000, 1_775_314_800_000_000, 1_792_884_000_000_000]).flatmap(
        lambda at: st.integers(at - DAY, at + DAY)
    ),
)
_QUIET = st.none() | st.builds(QuietHours, st.integers(0, 1439), st.integers(0, 1439))
_ELIGIBLE = [
    None,
    "orders > 0",
    "language == 'th'",
    "not consent.profiling",
    "stage == 'usage'",
    "mean > 2000 or opened > 1",
]
_VALUES = ["mean", "0.5 * mean", "300", "mean - 4000", "mean / orders"]
_CHANNELS = [None, "email", "line"]
NAMED = ("a", "b", "c", "d")


@st.composite
def actions(draw: Any, name: str, as_of: int) -> Action:
    edge = st.none() | st.integers(as_of - DAY, as_of + DAY) | st.just(as_of)
    eligible = draw(st.sampled_from(_ELIGIBLE))
    return action(
        name,
        channel=draw(st.sampled_from(_CHANNELS)),
        cost=draw(st.integers(0, 400)),
        value=rule(draw(st.sampled_from(_VALUES)), "number"),
        eligible=rule(eligible) if eligible else None,
        purpose=draw(st.sampled_from([None, "marketing", "profiling"])),
        starts=draw(st.none() | st.just(as_of) | st.integers(as_of - DAY, as_of + HOUR)),
        ends=draw(edge),
        quiet_hours=draw(_QUIET),
        priority=draw(st.sampled_from([1.0, 1.0, 0.5, 2.0])),
        boost=draw(st.sampled_from([0, 0, 50, -50])),
        variants=draw(st.sampled_from([(PLAIN,), (HESITATING, PLAIN)])),
    )


def _caps() -> st.SearchStrategy[Cap]:
    within = st.integers(1, 3 * DAY)
    whose = st.sampled_from([*[{"action": name} for name in NAMED], {"channel": "email"}, {"channel": "line"}, {}])
    return st.builds(lambda contacts, within, who: Cap(contacts, within, **who), st.integers(1, 3), within, whose)


_NUMBER = st.none() | st.integers(0, 5)
_FEATURES = st.fixed_dictionaries(
    {
        "orders": _NUMBER, "mean": st.none() | st.floats(0, 10_000), "opened": _NUMBER, "clicked": _NUMBER,
        "language": st.sampled_from(["th", "en", None]), "zone": st.sampled_from(_ZONES),
    }
)  # fmt: skip
_OPENED = st.dictionaries(st.sampled_from(HOURS), st.integers(0, 9), max_size=3)
FEATURES = st.builds(lambda features, opened: {**features, **opened}, _FEATURES, _OPENED)
CONSENTS = st.lists(st.sampled_from(["marketing", "profiling"]), unique=True).map(tuple)
_AMOUNTS = st.none() | st.floats(-0.2, 0.5)


@st.composite
def contacts(draw: Any, as_of: int) -> tuple[Contact, ...]:
    one = st.builds(
        Contact,
        st.sampled_from([*NAMED, "old"]),
        st.sampled_from(_CHANNELS),
        st.integers(as_of - 4 * DAY, as_of + HOUR),
    )
    return tuple(draw(st.lists(one, max_size=5)))


@st.composite
def cases(draw: Any) -> tuple[Catalogue, Situation]:
    """A catalogue and a situation for it."""
    as_of = draw(_INSTANTS)
    made = [draw(actions(name, as_of)) for name in NAMED[: draw(st.integers(0, 4))]]
    share = st.sampled_from([0.0, 0.1, 0.5, 1.0])
    chosen = catalogue(
        *made,
        caps=tuple(draw(st.lists(_caps(), max_size=3))),
        holdout_share=draw(st.sampled_from([0.0, 0.0, 0.3])),
        exploration_share=draw(share),
        cold_start_exploration_share=draw(share),
        budget=draw(st.none() | st.builds(Budget, st.integers(0, 500), st.just(DAY))),
        send_time=draw(st.sampled_from([None, OPENED])),
        best_channel=draw(st.sampled_from([None, ANSWERED])),
    )
    known = draw(st.lists(st.sampled_from(NAMED), unique=True))
    return chosen, situation(
        decision_id=draw(st.text(max_size=5)),
        customer_id=draw(st.text(max_size=5)),
        as_of=as_of,
        basis=draw(st.sampled_from(["effect", "effect", "propensity", "none"])),
        features=draw(FEATURES),
        consents=draw(CONSENTS),
        contacts=draw(contacts(as_of)),
        predicted={name: Predicted(draw(_AMOUNTS), draw(_AMOUNTS)) for name in known},
        spent=draw(st.integers(0, 500)),
        shadow_price=draw(st.sampled_from([0.0, 0.5, 2.0])),
    )
