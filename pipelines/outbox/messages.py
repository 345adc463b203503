"""A message of the outbox: one firing of a trigger, for one endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

MessageState = Literal["waiting", "sent", "cancelled", "failed", "kept"]


@dataclass(frozen=True, slots=True)
class Message:
    """`id` is the webhook's, the same for every attempt. Instants in int64 microseconds UTC.

    `began_at` is the episode of the trigger. It is not sent before `not_before`, nor without the customer's consent to
    `purpose` where that names one. `payload` is the body, to the byte. `error` says why it failed or was cancelled, in
    words that name nobody. `endpoint` is None of a message that is kept: nobody is to be told, it can be read.
    """

    id: str
    customer_id: str
    trigger: str
    began_at: int
    endpoint: str | None
    created_at: int
    payload: str
    purpose: str | None = None
    not_before: int | None = None
    state: MessageState = "waiting"
    attempts: int = 0
    next_attempt_at: int = 0
    error: str | None = None
    sent_at: int | None = None


def message_id(customer_id: str, trigger: str, began_at: int, endpoint: str | None) -> str:
    """The same for the same firing, whoever makes it, and for no other."""
    named = "\0".join([customer_id, trigger, str(began_at), endpoint or ""])
    return "msg_" + blake2b(named.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def decision_id(customer_id: str, trigger: str, began_at: int) -> str:
    """The id of the decision that an episode asks for, so that it is decided once."""
    return "trigger_" + message_id(customer_id, trigger, began_at, None).removeprefix("msg_")
