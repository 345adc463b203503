"""What is asked: a fixed mix of events, predictions and decisions, made from the number of the call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BATCH, MANY = 20, 50
# Of 100 calls.
MIX = {"track": 35, "batch": 5, "predict": 25, "reasons": 15, "predict_many": 5, "decide": 15}
_SPREAD = 37  # has no factor in common with 100: kinds follow each other in a mixed order
KINDS = tuple(kind for kind, count in MIX.items() for _ in range(count))
_PATHS = {
    "track": "/v1/track", "batch": "/v1/batch", "predict": "/v1/predict", "reasons": "/v1/predict",
    "predict_many": "/v1/predict_many", "decide": "/v1/decide",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """`events` are the ids that are durable once it is answered."""

    kind: str
    path: str
    body: bytes
    events: tuple[str, ...] = ()


def call(number: int, prefix: str, customers: Sequence[str]) -> Call:
    """The call with this number; ids of its events begin with `prefix`."""
    kind = KINDS[number * _SPREAD % len(KINDS)]
    customer = customers[number * 7919 % len(customers)]
    if kind in ("track", "batch"):
        names = tuple(f"{prefix}-{number}-{at}" for at in range(BATCH if kind == "batch" else 1))
        items = [_event(name, customers[(number + at) * 104_729 % len(customers)]) for at, name in enumerate(names)]
        return _made(kind, items[0] if kind == "track" else {"batch": items}, names)
    if kind == "predict_many":
        asked = [customers[(number * MANY + at) % len(customers)] for at in range(MANY)]
        return _made(kind, {"customer_ids": asked})
    return _made(kind, {"customer_id": customer, **({"reasons": True} if kind == "reasons" else {})})


def _made(kind: str, body: dict[str, Any], events: tuple[str, ...] = ()) -> Call:
    return Call(kind, _PATHS[kind], json.dumps(body).encode(), events)


def _event(name: str, customer: str) -> dict[str, Any]:
    number = sum(name.encode())
    return {
        "type": "track",
        "messageId": name,
        "userId": customer,
        "event": ["Order Completed", "Product Viewed", "Product Added"][number % 3],
        "properties": {
            "order_id": name,
            "product_id": f"p{number % 50}",
            "total": number / 10,
            "price": 2.5,
            "currency": "THB",
        },
    }
