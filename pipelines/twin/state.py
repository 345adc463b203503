"""What the twin says of a customer: the values that `fold.twin_at` makes of their events.

All instants are int64 microseconds UTC. Every part cites the events that it follows from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from feature_repo.state.read import FeatureValue
from pipelines.events.moments import Scalar

Outcome = Literal["negative", "met", "exceeded"]


class Cited(msgspec.Struct, frozen=True):
    """An event that something follows from."""

    event: str
    at: int
    channel: str
    source: str
    event_id: str
    properties: Mapping[str, Scalar]


class Ruled(msgspec.Struct, frozen=True):
    """A declared rule that holds: its name, the values of the features it reads, and the events behind them."""

    name: str
    description: str
    features: Mapping[str, FeatureValue]
    evidence: tuple[Cited, ...]


class Step(msgspec.Struct, frozen=True):
    """From `at` on the customer was in `stage`; `moved_by` is None where it was time that passed."""

    stage: str
    at: int
    moved_by: Cited | None


class Standing(msgspec.Struct, frozen=True):
    """Where a customer stands, of the stages of a journey or of a relationship.

    `path` is how they came there, oldest first, the present stage last; it is not whole where older events are not
    kept. `now` is the rule that holds.
    """

    stage: str
    now: Ruled
    path: tuple[Step, ...]
    path_is_whole: bool

    @property
    def since(self) -> int | None:
        """When the present stage began; None for one without any event."""
        return self.path[-1].at if self.path else None


class Signal(msgspec.Struct, frozen=True):
    """How one event was experienced: `emotion` is -1 (worst) to 1 (best)."""

    outcome: Outcome
    emotion: float
    because: Cited


class Touchpoint(msgspec.Struct, frozen=True):
    """How a channel was experienced: the latest outcome, and emotions, newer ones counting more."""

    channel: str
    outcome: Outcome
    emotion: float
    signals: tuple[Signal, ...]


class Experience(msgspec.Struct, frozen=True):
    """The latest outcome over all channels, what is to follow it, and each touchpoint; None without any signal."""

    outcome: Outcome | None
    emotion: float | None
    follow_up: str | None
    touchpoints: tuple[Touchpoint, ...]


class Persona(msgspec.Struct, frozen=True):
    """A persona that the customer behaves like; weights of all add up to 1, unless there is none."""

    name: str
    description: str
    weight: float
    features: Mapping[str, FeatureValue]
    evidence: tuple[Cited, ...]


class Barrier(msgspec.Struct, frozen=True):
    """Why there may have been no purchase: `share` of the evidence (with a share left to what is unknown)."""

    reason: str
    share: float
    evidence: tuple[Cited, ...]


class Contact(msgspec.Struct, frozen=True):
    """Something that was sent or decided to be sent to the customer."""

    at: int
    channel: str
    event: str
    action: str | None
    event_id: str


class Profile(msgspec.Struct, frozen=True):
    """What the customer said of themselves (the latest of each trait), and where they were seen.

    `sealed` traits hold what names a person, encrypted.
    """

    traits: Mapping[str, Scalar]
    sealed: tuple[str, ...]
    first_seen: int | None
    last_seen: int | None
    channels: Mapping[str, int]


class Twin(msgspec.Struct, frozen=True):
    """One customer at `as_of`; `position` is that of the newest event of theirs in the log that was known then."""

    customer_id: str
    as_of: int
    position: int
    profile: Profile
    stage: Standing
    relationship: Standing
    dropped_at: str | None
    experience: Experience
    personas: tuple[Persona, ...]
    triggers: tuple[Ruled, ...]
    barriers: tuple[Barrier, ...]
    contacts: tuple[Contact, ...]
