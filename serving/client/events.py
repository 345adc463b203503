"""Events on their way to the service: an id for each, and as many a call as the service takes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from serving.api.ingest_responses import IngestResponse, RejectedEvent

Event = Mapping[str, Any]
# What Segment's own clients keep to, far below what the service takes by default.
MOST_EVENTS, MOST_BYTES = 100, 500_000


def identified(event: Event) -> dict[str, Any]:
    """The event with a `messageId`, so that it counts once however often it is sent."""
    return {"messageId": str(uuid.uuid4()), **event}


def batches(events: Iterable[Event]) -> Iterator[list[dict[str, Any]]]:
    """The events in their order, at most `MOST_EVENTS` and about `MOST_BYTES` at a time."""
    batch: list[dict[str, Any]] = []
    size = 0
    for event in map(identified, events):
        weight = len(json.dumps(event, ensure_ascii=False).encode())
        if batch and (len(batch) == MOST_EVENTS or size + weight > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += weight
    if batch:
        yield batch


def joined(answers: Sequence[tuple[int, IngestResponse]]) -> IngestResponse:
    """One answer of several, each with the place of its first event. `request_id` is that of the last."""
    rejected = [_moved(item, first) for first, answer in answers for item in answer.rejected]
    return IngestResponse(
        success=True,
        request_id=answers[-1][1].request_id if answers else "",
        accepted=sum(answer.accepted for _, answer in answers),
        duplicates=sum(answer.duplicates for _, answer in answers),
        rejected_events=sum(answer.rejected_events for _, answer in answers),
        rejected=rejected,
        unplanned=[first + place for first, answer in answers for place in answer.unplanned],
        clamped=[first + place for first, answer in answers for place in answer.clamped],
    )


def _moved(item: RejectedEvent, first: int) -> RejectedEvent:
    return item.model_copy(update={"index": first + item.index})
