"""Triggers by hand, and a workspace in which they are watched by a clock that tests set."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import msgspec

from pipelines.events.journal import NewEvent
from pipelines.expressions import Kind, compile_expression
from pipelines.outbox import Filter, Message, Outbox, open_outbox
from pipelines.settings import Settings
from pipelines.settings.webhooks import Endpoint, WebhooksProfile
from pipelines.twin.rules import Rule, Trigger
from serving.consent_gate import ConsentGate
from serving.decisions.offered import catalogue_now
from serving.served_log import ServedLog
from serving.triggers.consult import Consultant, index_of, read_by
from serving.triggers.firing import Firing
from serving.triggers.reading import TriggerReader
from serving.triggers.watch import Watch
from serving.triggers.wiring import EventsOf
from tests.unit.desk_parts import DAY, HOUR, Office

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def trigger(settings: Settings, name: str, when: str, **parts: Any) -> Trigger:
    """A trigger over features of the settings."""
    kinds: dict[str, Kind] = {
        feature: "text" if known.kind == "text" else "number" for feature, known in settings.features.by_name.items()
    }
    rule = compile_expression(when, kinds, "boolean")
    evidence = tuple(parts.pop("evidence", rule.names))
    defaults: dict[str, Any] = {
        "after": 0, "again_after": 0, "predictions": (), "decide": False, "offer": (), "cancelled_by": frozenset()
    }  # fmt: skip
    return Trigger(rule=Rule(name, f"about {name}", rule, evidence), **(defaults | parts))


def hesitating(settings: Settings, **parts: Any) -> Trigger:
    """Three e-mails opened, none clicked: another strategy."""
    when = "email_opened_message_id_distinct_14d >= 3 and email_link_clicked_count_14d == 0"
    defaults: dict[str, Any] = {
        "evidence": ("email_opened_message_id_distinct_14d",), "predictions": ("conversion",), "decide": True,
        "offer": ("line_coupon",), "cancelled_by": frozenset({"Email Link Clicked", "Order Completed"}),
    }  # fmt: skip
    return trigger(settings, "hesitating", when, **(defaults | parts))


def cart_left(settings: Settings, **parts: Any) -> Trigger:
    """Something lies in the cart for an hour."""
    when = (
        "product_added_count_7d >= 1 and (order_completed_days_since_last_lifetime is None "
        "or order_completed_days_since_last_lifetime > product_added_days_since_last_lifetime)"
    )
    defaults: dict[str, Any] = {
        "evidence": ("product_added_count_7d",), "after": HOUR, "decide": True,
        "cancelled_by": frozenset({"Order Completed"}),
    }  # fmt: skip
    return trigger(settings, "cart_left", when, **(defaults | parts))


def happened(name: str, customer: str, at: int, number: object = "", **properties: Any) -> NewEvent:
    """An event that arrives when it happens."""
    return NewEvent(
        "web", f"{name}-{customer}-{number or at}", name, at, at, "web", user_id=customer, properties=properties
    )


def opened(customer: str, at: int, number: int) -> NewEvent:
    return happened("Email Opened", customer, at, number, message_id=f"mail-{number}", campaign_id="spring")


@dataclass
class Station:
    """An office with triggers. `now` is what the clock shows that triggers and the outbox go by."""

    settings: Settings
    triggers: Sequence[Trigger]
    now: int = 0
    office: Office = field(init=False)
    outbox: Outbox = field(init=False)
    watch: Watch = field(init=False)
    firing: Firing = field(init=False)

    def __post_init__(self) -> None:
        self.office = Office(self.settings)
        self.outbox = open_outbox(self.settings)
        # Decisions go by the same clock.
        self.office.desk._readings._clock = lambda reader: self.tick  # type: ignore[method-assign]
        self.office.desk._arrives_at = self.tick  # type: ignore[method-assign]
        files = self.office.ingestion.files
        self.gate = ConsentGate(self.settings)
        self.firing = Firing(
            self.settings.profile.webhooks.endpoints, self.office.connection.wiring,
            partial(catalogue_now, self.office.watch), self.office.desk, files, ServedLog(self.settings),
            self.tick,
        )  # fmt: skip
        reader = TriggerReader(self.settings, read_by(self.triggers), None, self.tick)
        consultant = Consultant(
            self.triggers, index_of(self.triggers, self.settings.features), self.outbox, self.gate, reader,
            EventsOf(self.settings, files), self.firing,
        )  # fmt: skip
        self.watch = Watch(self.settings, consultant, self.outbox, files)
        # Watched from the very instant that is given, however often the clock was looked at by now.
        self.outbox.watched([each.rule.name for each in self.triggers], self.now)
        self.watch.begin()

    def tick(self) -> int:
        self.now += 1
        return self.now

    def happen(self, *events: NewEvent) -> None:
        """Events come in at the instant of the last of them, and are looked at."""
        self.office.keep(*events)
        self.now = max(self.now, max(event.available_at for event in events) + 1)
        self.watch.round()

    def pass_time(self, until: int) -> None:
        self.now = until
        self.watch.round()

    def messages(self, **wanted: Any) -> list[Message]:
        return self.outbox.messages(Filter(**wanted), None)

    def told(self, **wanted: Any) -> list[dict[str, Any]]:
        """What the messages say."""
        return [msgspec.json.decode(message.payload)["data"] for message in self.messages(**wanted)]

    def states(self) -> list[tuple[str, str]]:
        return [(message.trigger, message.state) for message in self.messages()]

    def close(self) -> None:
        self.outbox.close()
        self.office.close()


def with_endpoints(settings: Settings, *endpoints: Mapping[str, Any], **limits: Any) -> Settings:
    """The settings with webhooks."""
    made = tuple(Endpoint(**endpoint) for endpoint in endpoints)
    webhooks = WebhooksProfile(endpoints=made, **limits)
    return replace(settings, profile=settings.profile.model_copy(update={"webhooks": webhooks}))


def recently() -> int:
    """Long enough ago that a day of a test is over by now."""
    return time.time_ns() // 1000 - 3 * DAY
