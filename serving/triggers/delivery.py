"""Delivery: a thread for each endpoint, so that a slow one holds up no other. Workers share the messages by leases.
One thread more removes what is done, messages that no endpoint takes too.

Before a message goes out it is asked once more whether it may: nobody erased or cancelled it, and the customer still
allows what it needs. No erasure runs from there until the answer is noted. A process that dies in between leaves the
message to whoever comes when the lease is over, so that a receiver may get it twice, with the same id.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.events.exclusion import ErasureRuns, taking_events
from pipelines.identity.store import IdentityStore
from pipelines.outbox import Message, Outbox
from pipelines.settings import Settings
from pipelines.settings.webhooks import Endpoint, secret_of
from serving.api.error_log import described
from serving.consent_gate import ConsentGate
from serving.decisions.desk import granted
from serving.triggers.backoff import SECOND, delay_seconds
from serving.triggers.reading import Clock, wall
from serving.triggers.sending import Attempt, Sender

logger = logging.getLogger("bentoml.twin")

LOOK_EVERY_SECONDS = 0.5
# Beyond an attempt's own time-out: noting what became of it.
_LEASE_MARGIN_SECONDS = 5.0
_PRUNE_EVERY_SECONDS = 3_600.0
# States that are away keep looks waiting, and another process that looks does not tell: messages go out all the same.
_FIRST_LOOK_SECONDS = 30.0
_DAY = 24 * 3_600 * SECOND
DENIED = "the customer does not allow {purpose} any more"


@dataclass(frozen=True, slots=True)
class Courier:
    """Delivers the messages of one endpoint, one after the other. `chance` gives numbers in [0, 1)."""

    settings: Settings
    outbox: Outbox
    endpoint: Endpoint
    gate: ConsentGate
    identity: Callable[[], IdentityStore]
    sender: Sender
    wall: Clock = wall
    chance: Callable[[], float] = random.random

    def deliver_one(self) -> bool:
        """Take the next message that is to be sent now, if there is one, and try; whether there was one."""
        secret = secret_of(self.endpoint)
        if secret is None:
            raise SecretMissing(self.endpoint)
        lease, now = uuid.uuid4().hex, self.wall()
        held = (self.settings.profile.webhooks.timeout_seconds + _LEASE_MARGIN_SECONDS) * SECOND
        message = self.outbox.lease(self.endpoint.name, now, now + int(held), lease)
        if message is None:
            return False
        try:
            with taking_events(self.settings.workspace.erasure_lock):
                self._send(message, secret, lease)
        except ErasureRuns:
            self.outbox.release(message.id, lease)
            return False
        return True

    def _send(self, leased: Message, secret: str, lease: str) -> None:
        # Erased or cancelled between the lease and now.
        message = self.outbox.find(leased.id)
        if message is None or message.state != "waiting":
            return
        denied = self._denied(message)
        if denied is not None:
            self.outbox.cancel(message.id, DENIED.format(purpose=denied))
            return
        at = datetime.fromtimestamp(self.wall() / SECOND, UTC)
        attempt = self.sender.send(self.endpoint.url, secret, message.id, message.payload, at)
        self._note(message, lease, attempt)

    def _denied(self, message: Message) -> str | None:
        """The purpose that the customer does not allow, of what the message needs; None where it may be sent."""
        asked = self.gate.ask(message.customer_id)
        if asked.denied is not None:
            return asked.denied
        purpose = message.purpose
        if purpose is None or purpose in granted(self.identity(), asked.customer_id, [purpose]):
            return None
        return purpose

    def _note(self, message: Message, lease: str, attempt: Attempt) -> None:
        limits, now = self.settings.profile.webhooks, self.wall()
        error = attempt.error or ""
        if attempt.verdict == "arrived":
            self.outbox.sent(message.id, now)
        elif attempt.verdict == "gone":
            count = self.outbox.disable(self.endpoint.name, now, error)
            logger.error("endpoint %s answered 410, and gets no more: %d messages failed", self.endpoint.name, count)
        elif message.attempts + 1 >= limits.attempts:
            self.outbox.failed(message.id, lease, error)
            logger.error("message %s failed after %d attempts: %s", message.id, message.attempts + 1, error)
        else:
            wait = delay_seconds(
                message.attempts + 1, limits.first_delay_seconds, limits.maximum_delay_seconds, self.chance()
            )
            self.outbox.again(message.id, lease, now + int(max(wait, attempt.wait_seconds or 0.0) * SECOND), error)


class SecretMissing(Exception):
    """Nothing can be signed for an endpoint; its messages wait."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(f"endpoint {endpoint.name} has no secret: set {endpoint.secret_variable} to whsec_ and base64")


class Delivery:
    """The threads of one process, one for each endpoint, and one that removes what is done."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        gate: ConsentGate,
        identity: Callable[[], IdentityStore],
        looked: threading.Event | None = None,
    ) -> None:
        """`looked` is set once events of before the start were looked at: until then, or half a minute, all waits.

        What they made moot is not to be sent.
        """
        self._looked = looked
        self._settings, self._outbox, self._gate, self._identity = settings, outbox, gate, identity
        self._stopping = threading.Event()
        self._rounds = [_Rounds(endpoint) for endpoint in settings.profile.webhooks.endpoints]
        self._threads: Sequence[threading.Thread] = [
            threading.Thread(target=self._run, args=(each,), name=f"webhooks {each.endpoint.name}", daemon=True)
            for each in self._rounds
        ]
        self._pruning = threading.Thread(target=self._prune, name="outbox", daemon=True)

    def start(self) -> None:
        for thread in (*self._threads, self._pruning):
            thread.start()

    def wake(self) -> None:
        """There may be new messages. Never waits."""
        for each in self._rounds:
            each.waking.set()

    def close(self) -> None:
        """Let attempts that go on end."""
        self._stopping.set()
        self.wake()
        for thread in (*self._threads, self._pruning):
            if thread.is_alive():
                thread.join(self._settings.profile.webhooks.timeout_seconds + _LEASE_MARGIN_SECONDS)

    def _run(self, each: _Rounds) -> None:
        sender = Sender(self._settings.profile.webhooks.timeout_seconds)
        courier = Courier(self._settings, self._outbox, each.endpoint, self._gate, self._identity, sender)
        self._await_first_look()
        while not self._stopping.is_set():
            each.waking.wait(LOOK_EVERY_SECONDS)
            each.waking.clear()
            try:
                while not self._stopping.is_set() and courier.deliver_one():
                    pass
                each.tell("")
            except SecretMissing as error:
                each.tell(str(error))
            except Exception as error:  # noqa: BLE001 (the thread has to live on, whatever an attempt died of)
                each.tell(described(error))
        sender.close()

    def _await_first_look(self) -> None:
        until = time.monotonic() + _FIRST_LOOK_SECONDS
        while self._looked is not None and not self._stopping.is_set() and time.monotonic() < until:
            if self._looked.wait(LOOK_EVERY_SECONDS):
                return

    def _prune(self) -> None:
        while not self._stopping.is_set():
            try:
                self._outbox.prune(wall() - self._settings.profile.webhooks.keep_days * _DAY)
            except sqlite3.Error as error:
                logger.error("the outbox is not pruned now, but in an hour: %s", described(error))
            self._stopping.wait(_PRUNE_EVERY_SECONDS)


class _Rounds:
    """What wakes the thread of an endpoint, and what it said last."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.waking = threading.Event()
        self._told = ""

    def tell(self, what: str) -> None:
        """Once for each time that something else is wrong."""
        if what and what != self._told:
            logger.error("messages wait: %s", what)
        self._told = what
