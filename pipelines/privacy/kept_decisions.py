"""The ledger of decisions: what stands there of somebody, and the ledger without it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from pipelines.decisions.ledger import Kept
from pipelines.decisions.ledger_open import may_have_ledger, open_ledger
from pipelines.settings import Settings


def decisions_kept(settings: Settings, customer_ids: Sequence[str]) -> list[dict[str, Any]]:
    """What caps and the budget count of a customer, by time; instants in int64 microseconds UTC, cost in minor units.

    All else of a decision is in its event.
    """
    if not may_have_ledger(settings):
        return []
    with closing(open_ledger(settings)) as ledger:
        return [_told(kept) for kept in ledger.decisions_of(customer_ids)]


def erase_decisions(settings: Settings, customer_ids: Sequence[str]) -> int:
    """Remove all of it; how many decisions. Nobody may decide meanwhile."""
    if not may_have_ledger(settings):
        return 0
    with closing(open_ledger(settings)) as ledger:
        return ledger.erase(customer_ids)


def _told(kept: Kept) -> dict[str, Any]:
    return {
        "decision_id": kept.event.event_id,
        "action": kept.action,
        "channel": kept.channel,
        "cost": kept.cost,
        "as_of": kept.as_of,
        "at": kept.at,
    }
