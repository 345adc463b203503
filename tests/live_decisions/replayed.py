"""Many decisions by the desk over a lake and a journal that grows in between, and all of them made again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.decisions.replay import Replay, replay_decisions
from pipelines.settings import Settings, Workspace
from pipelines.state_build import build_state
from tests.made_up_lake import BEGIN, Made, write_lake
from tests.unit.desk_parts import DAY, HOUR, Office, changed, decision_settings, furnish, order, write_catalogue

# An order of somebody comes in between so many decisions; each is an hour after the one before.
_DECISIONS_AN_ORDER = 10


@dataclass(frozen=True, slots=True)
class Replayed:
    """`actions` says how often each was decided."""

    actions: dict[str, int]
    replay: Replay

    @property
    def passed(self) -> bool:
        """All decisions were made again, from their record and from the log, to the last bit."""
        made = sum(self.actions.values())
        whole = self.replay.decisions == self.replay.from_record == self.replay.from_log == made
        return whole and self.replay.passed

    def text(self) -> str:
        """The result for a person."""
        told = ", ".join(f"{name} {count:,}" for name, count in sorted(self.actions.items()))
        return f"decided: {told}\n{self.replay.text()}"


def decide_and_replay(folder: Path, decisions: int, customers: int) -> Replayed:
    """`decisions` for customers of a made-up lake in turn, with the clock of the data, which orders move on."""
    settings = _place(folder, customers)
    counts: dict[str, int] = {}
    office = Office(settings)
    end = BEGIN + 101 * DAY
    try:
        for number in range(decisions):
            if number % _DECISIONS_AN_ORDER == 0:
                # Not in the lake: these stand in the journal, and are in the states of decisions from here on.
                buyer = _name((7 * number) % customers)
                office.keep(order(number, buyer, end + number // _DECISIONS_AN_ORDER * HOUR))
            action = office.decide(_name(number % customers)).recorded.decision.action
            counts[action] = counts.get(action, 0) + 1
    finally:
        office.close()
    return Replayed(counts, replay_decisions(settings))


def _place(folder: Path, customers: int) -> Settings:
    workspace = Workspace("live-decisions", checkout=folder)
    first = decision_settings(folder, workspace)
    write_catalogue(folder / "configs", changed(exploration={"share": 0.3}, holdout={"share": 0.1, "salt": "shown"}))
    write_lake(first.workspace, [made for number in range(customers) for made in _history(number)])
    settings = decision_settings(folder, workspace)
    build_state(settings)
    furnish(settings, customers=0)
    return settings


def _history(number: int) -> list[Made]:
    who = _name(number)
    spoken = Made(who, "Customer Identified", 1.0, "web", None, {"language": "th" if number % 2 else "en"})
    said = Made(who, "Consent Updated", 2.0, "web", None, {"purpose": "marketing", "granted": number % 7 > 0})
    orders = [
        Made(who, "Order Completed", 3.0 + (17 * number + 23 * at) % 97, "web", 10_000 + 61 * number + at)
        for at in range(number % 5)
    ]
    return [spoken, said, *orders]


def _name(number: int) -> str:
    return f"c{number}"
