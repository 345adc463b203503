"""Logged decisions, wherever they stand: in the lake or still in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import msgspec

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.decisions.ledger import SOURCE
from pipelines.events.store import Snapshot

_DECISIONS = """
SELECT event_id, properties FROM stored_events
WHERE source = $source {wanted} ORDER BY position DESC {limit}
"""


def stored_decisions(snapshot: Snapshot, decision_ids: Sequence[str], sample: int | None) -> list[tuple[str, Any]]:
    """Decisions of lake and journal, the newest first: id and properties. Those of `decision_ids`, or `sample`, or all.

    Raises:
        UserError: there is none, or not one of those that were asked for.
    """
    wanted = "AND list_contains($ids, event_id)" if decision_ids else ""
    limit = f"LIMIT {int(sample)}" if sample is not None else ""
    values: dict[str, Any] = {"source": SOURCE, **({"ids": list(decision_ids)} if decision_ids else {})}
    with duckdb.connect() as connection:
        snapshot.register(connection, "stored_events")
        rows = connection.execute(_DECISIONS.format(wanted=wanted, limit=limit), values).fetchall()
    found = [(str(name), msgspec.json.decode(properties)) for name, properties in rows]
    missing = sorted(set(decision_ids) - {name for name, _ in found})
    if missing:
        raise UserError("not every decision is in the log", [_unknown(name) for name in missing])
    if not found:
        raise UserError("no decision is in the log", [Problem("log", "decisions", "none", "ask for one: twin decide")])
    return found


def _unknown(name: str) -> Problem:
    return Problem("DECISION_ID", "the id of a decision", name, "`twin decide --json` tells ids")
