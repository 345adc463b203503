"""The calls that send events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from serving.api.ingest_responses import IngestResponse
from serving.client.bodies import given
from serving.client.events import Event, batches, identified, joined
from serving.client.transport import Transport

_CLOUD_EVENTS = "application/cloudevents-batch+json"


class EventCalls:
    """Events, by Segment's protocol or as CloudEvents. Each is durable and in its customer's state once answered."""

    _calls: Transport

    def send(self, events: Iterable[Event]) -> IngestResponse:
        """Send calls of Segment's protocol, each with its `type`, in as many batches as it takes.

        Places in the answer are those in `events`. Where a batch fails, those before it have been taken, and sending
        all again is safe if each has a `messageId`.
        """
        answers: list[tuple[int, IngestResponse]] = []
        first = 0
        for batch in batches(events):
            answers.append((first, self.batch(batch)))
            first += len(batch)
        return joined(answers)

    def batch(self, events: Sequence[Event]) -> IngestResponse:
        """The same in one call."""
        body = {"batch": [identified(event) for event in events]}
        return self._calls.post_packed("/v1/batch", body, IngestResponse)

    def track(self, event: str, properties: Mapping[str, Any] | None = None, **call: Any) -> IngestResponse:
        """Something that a customer did. `call` has the protocol's fields: `userId`, `timestamp`, `context`, ..."""
        return self._segment("track", event=event, properties=properties, **call)

    def identify(self, traits: Mapping[str, Any] | None = None, **call: Any) -> IngestResponse:
        """Who somebody is."""
        return self._segment("identify", traits=traits, **call)

    def page(self, name: str | None = None, properties: Mapping[str, Any] | None = None, **call: Any) -> IngestResponse:
        """A page that was viewed."""
        return self._segment("page", name=name, properties=properties, **call)

    def screen(
        self, name: str | None = None, properties: Mapping[str, Any] | None = None, **call: Any
    ) -> IngestResponse:
        """A screen that was viewed."""
        return self._segment("screen", name=name, properties=properties, **call)

    def group(self, group_id: str, traits: Mapping[str, Any] | None = None, **call: Any) -> IngestResponse:
        """A group that a customer belongs to."""
        return self._segment("group", groupId=group_id, traits=traits, **call)

    def alias(self, user_id: str, previous_id: str, **call: Any) -> IngestResponse:
        """Another id that a customer had before."""
        return self._segment("alias", userId=user_id, previousId=previous_id, **call)

    def _segment(self, kind: str, **call: Any) -> IngestResponse:
        return self._calls.post_packed(f"/v1/{kind}", identified(given(**call)), IngestResponse)

    def events(self, events: Sequence[Event]) -> IngestResponse:
        """Send CloudEvents 1.0, in their JSON format, in one call; `source` and `id` together count once."""
        return self._calls.post_packed("/v1/events", list(events), IngestResponse, _CLOUD_EVENTS)
