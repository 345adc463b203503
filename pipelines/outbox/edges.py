"""Where a trigger stands with a customer, and what follows from a look at them. Pure.

    clear --holds--> waiting --due--> fired --holds no more--> clear
                        |               |
                        +---moot--------+---> cancelled --newer evidence--> waiting

An episode is one stretch of time in which the rule holds; it fires once. What a look sees is the present, whatever
order events came in, so that a late event moves a trigger to where it would stand had it come in time. An event that
is evidence itself cancels nothing.

All instants are int64 microseconds UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pipelines.twin.rules import Trigger

EdgeState = Literal["clear", "waiting", "fired", "cancelled"]
# cancel: what was not sent yet is moot.
Act = Literal["nothing", "cancel"]
NEVER = -1


@dataclass(frozen=True, slots=True)
class Edge:
    """A trigger and a customer. `began_at` names the episode, the newest one that there was.

    `due_at` is when it fires if it holds still; `fired_at` is when it fired last, in whichever episode.
    """

    customer_id: str
    trigger: str
    state: EdgeState = "clear"
    began_at: int = NEVER
    due_at: int | None = None
    fired_at: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look saw at `now`: whether the rule holds, and the newest event of its evidence and of those that cancel.

    None where there is no such event. `known_at` is when the last of the evidence came in.
    """

    now: int
    holds: bool
    evidence_at: int | None = None
    cancelled_at: int | None = None
    known_at: int | None = None

    @property
    def is_moot(self) -> bool:
        """An event that cancels happened, and nothing of the evidence after it."""
        return self.cancelled_at is not None and (self.evidence_at is None or self.cancelled_at > self.evidence_at)


def step(trigger: Trigger, edge: Edge, seen: Seen) -> tuple[Edge, Act]:
    """Where the trigger stands after a look. A waiting edge whose `due_at` has come is to fire."""
    if not seen.holds:
        return _ended(edge, "clear")
    if seen.is_moot:
        return _ended(edge, "cancelled")
    if edge.state == "fired":
        return edge, "nothing"
    is_new = edge.state != "waiting"
    # An episode has a name of its own, also where two begin at one instant of a clock that stands.
    began_at = max(seen.now, edge.began_at + 1) if is_new else edge.began_at
    return replace(edge, state="waiting", began_at=began_at, due_at=_due_at(trigger, edge, seen, began_at)), "nothing"


def noted(edge: Edge) -> Edge:
    """The edge of an episode that is from before anybody watched: it stands, and fired nothing."""
    return replace(edge, state="fired", due_at=None)


def fired(edge: Edge, now: int) -> Edge:
    """The edge after it fired."""
    return replace(edge, state="fired", due_at=None, fired_at=now)


def _ended(edge: Edge, state: EdgeState) -> tuple[Edge, Act]:
    if edge.state == state:
        return edge, "nothing"
    return replace(edge, state=state, due_at=None), "cancel" if edge.state == "fired" else "nothing"


def _due_at(trigger: Trigger, edge: Edge, seen: Seen, began_at: int) -> int:
    # Without an event behind it, time is counted from when it was first seen to hold.
    since = began_at if seen.evidence_at is None else seen.evidence_at
    due_at = since + trigger.after if trigger.after else began_at
    return due_at if edge.fired_at is None else max(due_at, edge.fired_at + trigger.again_after)
