"""What `python -m tests.live_decisions` shows, at a small size; and that its slow count finds what is broken."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.catalogue import NO_ACTION, Catalogue
from pipelines.decisions.ledger_event import Recorded
from tests.live_decisions.replayed import decide_and_replay
from tests.live_decisions.rules import broken
from tests.unit.desk_parts import DAY, HOUR, NOON, Office, changed, decision_settings, furnish, write_catalogue

CUSTOMERS = 6


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("live")
    decision_settings(folder)
    write_catalogue(folder / "configs", changed(budget={"amount": 14, "per": "1d"}, exploration={"share": 1.0}))
    settings = decision_settings(folder)
    furnish(settings, CUSTOMERS)
    made = Office(settings)
    yield made
    made.close()


@pytest.fixture(scope="module")
def log(office: Office) -> list[Recorded]:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: office.decide(f"c{number % CUSTOMERS}"), range(40)))
    return office.logged()


def catalogue_of(office: Office) -> Catalogue:
    catalogue = office.watch.offered.catalogue
    assert catalogue is not None
    return catalogue


def test_decisions_over_a_growing_journal_are_made_again(tmp_path: Path) -> None:
    shown = decide_and_replay(tmp_path, decisions=60, customers=20)
    assert shown.passed, shown.text()
    assert shown.actions.keys() == {"email_coupon", "line_coupon", NO_ACTION}
    # One that is missing is told.
    assert not replace(shown, actions={**shown.actions, NO_ACTION: 60}).passed


def test_many_at_once_break_no_rule(office: Office, log: list[Recorded]) -> None:
    assert broken(catalogue_of(office), log) == []
    assert sum(one.decision.cost for one in log) == 1_400


def other(one: Recorded, **changes: Any) -> Recorded:
    return replace(one, decision=replace(one.decision, **changes))


def test_the_count_finds_each_rule_broken(office: Office, log: list[Recorded]) -> None:
    catalogue = catalogue_of(office)
    contact = next(one for one in log if one.decision.action != NO_ACTION)
    name = contact.decision.decision_id
    assert "2 times" in broken(catalogue, [*log, contact])[0]
    many = [other(contact, decision_id=f"d{n}", send_at=NOON + n * DAY, cost=0) for n in range(4)]
    assert [line for line in broken(catalogue, many) if "4 contacts" in line]
    assert broken(catalogue, many[:3]) == []
    apart = [other(contact, decision_id=f"d{n}", send_at=NOON + 3 * n * DAY, cost=0) for n in range(4)]
    assert broken(catalogue, apart) == []
    assert "minute 180" in broken(catalogue, [other(contact, send_at=NOON - 9 * HOUR)])[0]
    assert "did not grant" in broken(catalogue, log, [name])[0]
    unasked = replace(contact, situation=replace(contact.situation, consents=()))
    assert "did not grant" in broken(catalogue, [unasked])[0]
    assert "1500 was spent of 1400" in broken(catalogue, [other(contact, cost=1_500)])[0]
