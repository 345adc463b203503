"""Two services over one workspace, many clients for a while, and the log held against the rules afterwards."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from pipelines.catalogue import NO_ACTION, Catalogue
from pipelines.decisions.ledger_event import Recorded
from tests.e2e.test_decisions import decide, place
from tests.live_decisions.rules import broken
from tests.unit.desk_parts import changed

# So many calls of a client, and it takes a consent back.
_CALLS_A_REFUSAL = 40


@dataclass(slots=True)
class Asked:
    """What clients did. `refused` are the decisions that were asked for after a no was answered."""

    acknowledged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    other_answers: list[int] = field(default_factory=list)
    deniers: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Counted:
    """`broken` is what breaks a rule; `missing` are acknowledged decisions that are not in the log.

    `lost` says in how many decisions an action was kept back by a rule, so that the rules were at work at all.
    """

    decisions: int
    contacts: int
    spent: int
    refused: int
    deniers: int
    other_answers: int
    broken: list[str]
    missing: list[str]
    lost: dict[str, int]

    @property
    def passed(self) -> bool:
        """Each rule had something to keep back, and none was broken."""
        at_work = self.contacts > 0 and self.refused > 0 and self.lost.keys() >= {"cap", "budget", "consent"}
        return at_work and not (self.broken or self.missing)

    def text(self) -> str:
        """The result for a person."""
        lines = [
            f"{self.decisions:,} decisions, {self.contacts:,} contacts, {self.spent:,} minor units spent;"
            f" {self.deniers} customers took consent back, and {self.refused:,} decisions were asked for after that"
            f" ({self.other_answers:,} calls were answered with another status than 200)",
            "kept back by: " + ", ".join(f"{why} {count:,}" for why, count in sorted(self.lost.items())),
            f"{len(self.broken):,} break a rule, {len(self.missing):,} are not in the log",
        ]
        return "\n".join([*lines, *self.broken[:20]])


def count_under_load(folder: Path, seconds: float, clients: int, customers: int) -> Counted:
    """`clients` to each of two services, all customers asked for by all of them, with a budget that runs out."""
    tight = changed(budget={"amount": customers * 5 // 2, "per": "1d"}, exploration={"share": 1.0})
    with place("test-live", folder, tight, customers) as made:
        servers = [made.serve(), made.serve()]
        # The first call of each opens its files, whose time is not the clients'.
        for server in servers:
            decide(server, "c0")
        asked = Asked()
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(2 * clients) as pool:
            running = [
                pool.submit(_client, servers[number % 2], number, customers, until, asked)
                for number in range(2 * clients)
            ]
            for one in running:
                one.result()
        for server in servers:
            server.close()
        made.kill()
        catalogue = made.settings.catalogue
        log = made.logged()
    if catalogue is None:
        raise RuntimeError("the catalogue is mistaken")
    return _counted(catalogue, log, asked)


def _counted(catalogue: Catalogue, log: Sequence[Recorded], asked: Asked) -> Counted:
    names = {one.decision.decision_id for one in log}
    return Counted(
        len(log),
        sum(one.decision.action != NO_ACTION for one in log),
        sum(one.decision.cost for one in log),
        len(asked.refused),
        len(asked.deniers),
        len(asked.other_answers),
        broken(catalogue, log, asked.refused),
        [name for name in asked.acknowledged if name not in names],
        dict(Counter(why for one in log for why in {item.lost for item in one.decision.alternatives})),
    )


def _client(server: httpx.Client, number: int, customers: int, until: float, asked: Asked) -> None:
    chance = random.Random(number)
    calls = 0
    while time.monotonic() < until:
        calls += 1
        customer = f"c{chance.randrange(customers)}"
        if calls % _CALLS_A_REFUSAL == number + 1:
            body = {"customer_id": customer, "purposes": {"marketing": False}}
            if server.post("/v1/consent", json=body).status_code == 200:
                asked.deniers.add(customer)
            continue
        had_refused = customer in asked.deniers
        name = f"{number}-{calls}"
        answer = server.post("/v1/decide", json={"customer_id": customer, "decision_id": name})
        if answer.status_code != 200:
            asked.other_answers.append(answer.status_code)
            continue
        asked.acknowledged.append(name)
        if had_refused:
            asked.refused.append(name)
