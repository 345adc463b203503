"""Open the outbox of a workspace, and take a customer out of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from pipelines.outbox.store import Filter, Outbox
from pipelines.settings import Settings


def open_outbox(settings: Settings) -> Outbox:
    """The outbox, made if there is none. Raises sqlite3.Error where its file cannot be used."""
    return Outbox(settings.workspace.outbox)


def may_have_outbox(settings: Settings) -> bool:
    """Whether there is an outbox already."""
    return settings.workspace.outbox.exists()


def messages_kept(settings: Settings, customer_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The messages about a customer, by time; instants in int64 microseconds UTC."""
    if not may_have_outbox(settings):
        return []
    with closing(open_outbox(settings)) as outbox:
        messages = outbox.messages(Filter(customer_ids), limit=None)
    return [
        {
            "id": message.id,
            "trigger": message.trigger,
            "endpoint": message.endpoint,
            "state": message.state,
            "created_at": message.created_at,
            "payload": message.payload,
        }
        for message in messages
    ]


def erase_messages(settings: Settings, customer_ids: Sequence[str]) -> int:
    """Remove all of a customer; how many messages. Nobody may fire or send meanwhile."""
    if not may_have_outbox(settings):
        return 0
    with closing(open_outbox(settings)) as outbox:
        return outbox.erase(customer_ids)
