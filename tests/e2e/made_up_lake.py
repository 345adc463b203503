"""A small lake of made-up events, written as ingests leave it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from feature_repo.event_table import EVENT_SCHEMA
from feature_repo.windows import DAY
from pipelines.settings import Workspace

BEGIN = 1_767_225_600_000_000  # 2026-01-01


@dataclass(frozen=True)
class Made:
    """An event `day` days after 2026-01-01; it is known at once."""

    customer: str
    event: str
    day: float
    channel: str = "app"
    value: int | None = None
    properties: dict[str, Any] = field(default_factory=dict)


def write_lake(workspace: Workspace, events: Sequence[Made]) -> None:
    """Append `events`, of a source whose customers may be learned from."""
    at = [BEGIN + int(event.day * DAY) for event in events]
    columns = {
        "position": list(range(1, len(events) + 1)),
        "source": ["online_retail"] * len(events),
        "event_id": [str(number) for number in range(len(events))],
        "event": [event.event for event in events],
        "event_time": at,
        "available_at": at,
        "user_id": [event.customer for event in events],
        "anonymous_id": [None] * len(events),
        "identifiers": ["{}"] * len(events),
        "channel": [event.channel for event in events],
        "value": [event.value for event in events],
        "currency": ["THB"] * len(events),
        "properties": [json.dumps(event.properties) for event in events],
    }
    write_deltalake(str(workspace.lake), pa.table(columns, schema=EVENT_SCHEMA), mode="append")
