"""The ledger: what was decided, so that caps and the budget hold however many decide at once. The port.

One call is one transaction, which has the customer and, where there is a budget, its period to itself: whoever decides
sees every contact and all that was spent before. What is committed counts, also where its process dies at once.

It is an outbox too. Each decision is an event, which stands here until it is in the journal. Whoever was to append it
may die in between; then it is `waiting`, and appended by whoever looks next. Its key makes that safe to repeat.

Instants are int64 microseconds UTC, money is in minor units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from pipelines.console import UserError
from pipelines.decisions.situation import Contact
from pipelines.events.journal import JournalUnavailable, NewEvent

SOURCE = "decision-api"
"""No key and no file can have this name, so that nobody else's events are taken for decisions."""


class LedgerUnavailable(JournalUnavailable):
    """The ledger cannot be read or written now. Nothing is half-written; repeating the call is safe."""


class OtherQuestion(UserError):
    """There is a decision with this id, and it answered another question."""


@dataclass(frozen=True, slots=True)
class Period:
    """One period of the budget: `per` microseconds from `begins` on."""

    begins: int
    per: int


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be decided for whom. `body` tells it from another question with the same id.

    `customer_ids` are all ids that the customer's contacts may stand under, their own first: two who became one have
    had the contacts of both. Contacts count from `since` on.
    """

    decision_id: str
    customer_ids: tuple[str, ...]
    body: str
    since: int
    period: Period | None = None

    @property
    def customer_id(self) -> str:
        return self.customer_ids[0]


@dataclass(frozen=True, slots=True)
class Before:
    """What there was before a decision: contacts, the earliest first, and what was spent in the period."""

    contacts: tuple[Contact, ...]
    spent: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A decision as it is kept. `event` is what goes into the journal; its key is `SOURCE` and the decision's id.

    `at` is when the contact reaches the customer, or what was decided where there is none; `as_of` when it was decided.
    """

    action: str
    channel: str | None
    contacted: bool
    cost: int
    as_of: int
    at: int
    event: NewEvent


@dataclass(frozen=True, slots=True)
class Answered:
    """What was decided, and whether that was so before this call."""

    kept: Kept
    is_known: bool


Make = Callable[[Before], Kept]


class Ledger(Protocol):
    """Thread-safe; processes, and hosts where it is on a server, share it. All calls raise LedgerUnavailable."""

    def decide(self, question: Question, make: Make) -> Answered:
        """The decision with this id, made by `make` where there is none yet; durable when this returns.

        What `make` raises is raised, and nothing is kept then. It must not use the ledger. Raises OtherQuestion.
        """

    def find(self, decision_id: str) -> Kept | None:
        """A decision that stands here whole."""

    def waiting(self, limit: int) -> list[NewEvent]:
        """Events of decisions that may not be in the journal yet; those that are just being appended are among them."""

    def journaled(self, decision_ids: Sequence[str]) -> None:
        """Note that these events are in the journal. Written with the next decision, or by `settle`."""

    def settle(self) -> None:
        """Write what is noted."""

    def contacts(self, since: int) -> dict[str, list[Contact]]:
        """Of every customer the contacts from `since` on, the earliest first; for batches."""

    def spent(self, period: Period) -> int:
        """What was spent in a period of the budget."""

    def decisions_of(self, customer_ids: Sequence[str]) -> list[Kept]:
        """All that stands here of these customers, by time; of old contacts the event is without properties."""

    def prune(self, contacts_before: int, others_before: int) -> None:
        """Forget contacts that reached customers before one instant, and whatever else was decided before the other.

        Contacts in between keep nothing but what caps and budgets count. What is not in the journal stays.
        """

    def erase(self, customer_ids: Sequence[str]) -> int:
        """Remove all that is of these customers for good; how many decisions. What was spent stays spent."""

    def close(self) -> None:
        """Settle, and let go of connections."""


def event_text(event: NewEvent) -> str:
    """An event as it stands in the ledger."""
    return msgspec.json.encode(event).decode()


def event_of(text: str) -> NewEvent:
    """The inverse of `event_text`."""
    return msgspec.json.decode(text, type=NewEvent)


def is_whole(kept: Kept) -> bool:
    """Whether a decision still has all that it was kept with."""
    return bool(kept.event.properties)


def without_properties(event: NewEvent) -> NewEvent:
    """What is left of an event that is pruned: nothing that says what was known of the customer."""
    return NewEvent(event.source, event.event_id, event.event, event.event_time, event.available_at, event.channel)


def check_same(stored: str, question: Question) -> None:
    """Raises OtherQuestion where the stored body is not the question's."""
    if stored != question.body:
        raise other_question()


def other_question() -> OtherQuestion:
    return OtherQuestion("there is a decision with this id, and it answered another question")
