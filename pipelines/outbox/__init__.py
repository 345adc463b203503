"""What triggers set off: where each stands with each customer, and the messages that are to be delivered for it."""

from pipelines.outbox.edges import Act, Edge, Seen, step
from pipelines.outbox.messages import Message, MessageState, message_id
from pipelines.outbox.opening import may_have_outbox, open_outbox
from pipelines.outbox.store import Filter, Outbox, Sweep, Watched

__all__ = [
    "Act",
    "Edge",
    "Filter",
    "Message",
    "MessageState",
    "Outbox",
    "Seen",
    "Sweep",
    "Watched",
    "may_have_outbox",
    "message_id",
    "open_outbox",
    "step",
]
