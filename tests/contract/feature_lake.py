"""A small lake of made-up events, with what stores have to cope with: late, equal and future instants."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake

from feature_repo.event_table import EVENT_SCHEMA
from feature_repo.windows import DAY, HOUR

END = 20_000 * DAY + 9 * HOUR
CUSTOMERS = [f"c{i}" for i in range(40)]


def write_lake(path: Path, events: int = 4_000, customers: list[str] = CUSTOMERS, seed: int = 5) -> None:
    """Write `events` events of the last 500 days of `customers` as a Delta table."""
    chance = random.Random(seed)
    rows = [_row(chance, position, customers) for position in range(events)]
    write_deltalake(str(path), pa.Table.from_pylist(rows, schema=EVENT_SCHEMA))


def _row(chance: random.Random, position: int, customers: list[str]) -> dict[str, object]:
    event = chance.choice(["Order Completed", "Order Refunded", "Page Viewed", "Email Opened", "Survey Answered"])
    event_time = END - chance.randrange(500 * DAY) // HOUR * HOUR
    products = [{"product_id": f"p{chance.randrange(30)}"} for _ in range(3)]
    properties = {
        "Order Completed": {"units": chance.randrange(1, 9), "lines": 3, "products": products},
        "Survey Answered": {"survey": "nps", "score": chance.randrange(11)},
    }
    anonymous = chance.random() < 0.1
    return {
        "position": position,
        "source": "online_retail",
        "event_id": str(position),
        "event": event,
        "event_time": event_time,
        "available_at": event_time + chance.choice([0, 0, 0, HOUR, 3 * DAY]),
        "user_id": None if anonymous else chance.choice(customers),
        "anonymous_id": "visitor" if anonymous else None,
        "identifiers": "{}",
        "channel": chance.choice(["web", "app", "pos"]),
        "value": chance.randrange(100, 90_000) if event.startswith("Order") else None,
        "currency": "THB" if event.startswith("Order") else None,
        "properties": json.dumps(properties.get(event, {})),
    }
