"""Events of a lake as plain Python values, for oracles."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deltalake import DeltaTable

from feature_repo.state.tiles import LoggedEvent


def logged_events(lake: Path) -> dict[str, list[LoggedEvent]]:
    """Every event of every customer, in order of position."""
    by_customer: dict[str, list[LoggedEvent]] = {}
    rows = DeltaTable(str(lake)).to_pyarrow_table().sort_by("position").to_pylist()
    for row in rows:
        if row["user_id"] is None:
            continue
        event = LoggedEvent(
            position=row["position"],
            event=row["event"],
            event_time=microseconds(row["event_time"]),
            available_at=microseconds(row["available_at"]),
            channel=row["channel"],
            value=row["value"],
            properties=json.loads(row["properties"]),
        )
        by_customer.setdefault(row["user_id"], []).append(event)
    return by_customer


def microseconds(instant: object) -> int:
    """int64 microseconds UTC of an aware datetime, without passing through a float."""
    if not isinstance(instant, datetime):
        raise TypeError(f"expected a datetime, got {type(instant)}")
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
