"""One look at a customer: where each trigger stands with them now, what is moot by that, and what fires.

    features of all rules, read once -> each rule -> the events behind those that hold -> edges kept -> those due fire

A look is of the present, so it may be repeated, and come late: the next one sees what the last one missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from feature_repo.spec import FeatureSpec
from pipelines.events.moments import Moment as Event
from pipelines.identity.store import IdentityStore
from pipelines.outbox import Edge, Outbox, Seen, Watched, step
from pipelines.outbox.edges import EdgeState, noted
from pipelines.twin.evidence import EvidenceIndex
from pipelines.twin.rules import Trigger
from serving.consent_gate import ConsentGate
from serving.decisions.desk import ids_of
from serving.triggers.evidence import behind, cancelling, cited, newest
from serving.triggers.firing import Firing, Moment
from serving.triggers.reading import Known, TriggerReader

MOOT: Mapping[EdgeState, str] = {
    "clear": "the trigger holds no more",
    "cancelled": "an event made it moot",
}
ONE = "two customers became one"
DENIED = "the customer denied what triggers are read by"


def index_of(triggers: Sequence[Trigger], spec: FeatureSpec) -> EvidenceIndex:
    """Which events are behind what triggers cite. Raises KeyError where a feature is not in the spec."""
    return EvidenceIndex(spec, {name for trigger in triggers for name in trigger.rule.evidence})


def read_by(triggers: Sequence[Trigger]) -> tuple[str, ...]:
    """The features that rules of triggers read, each once."""
    return tuple(sorted({name for trigger in triggers for name in trigger.rule.when.names}))


@dataclass(frozen=True, slots=True)
class Consultant:
    """Looks at customers. Of all processes of a workspace one at a time looks (see `watch`)."""

    triggers: Sequence[Trigger]
    index: EvidenceIndex
    outbox: Outbox
    gate: ConsentGate
    reader: TriggerReader
    events_of: Callable[[str, Known], Sequence[Event]]
    firing: Firing

    def look(self, customer_id: str, identity: IdentityStore, at_least: int = -1) -> bool:
        """Look at a customer now, all of whose events up to position `at_least` must be in their state.

        False where they are not, and nothing was done.

        Raises:
            ApiError: 503, states cannot be read now; and as `Firing.messages`, `TriggerReader` and `Outbox` do.
        """
        asked = self.gate.ask(customer_id)
        ids = ids_of(identity, asked.customer_id)
        edges = self._edges(ids)
        if asked.denied is not None:
            self._clear(edges, DENIED)
            return True
        now, known = self.reader.read(asked.customer_id)
        if at_least >= 0 and (known is None or known.position < at_least):
            return False
        if now is None or known is None:
            self._clear(edges, MOOT["clear"])
            return True
        self._follow(asked.customer_id, now, known, edges)
        return True

    def _edges(self, ids: Sequence[str]) -> dict[str, Edge]:
        """By trigger. Of customers who became one the episode that began last goes on, and the others are over.

        What fired for any of them fired for the one that they are.
        """
        found = self.outbox.edges(ids)
        edges = {edge.trigger: edge for edge in found}
        over = [edge for edge in found if edge is not edges[edge.trigger] and edge.state != "clear"]
        if over:
            self.outbox.save([(replace(edge, state="clear", due_at=None), ONE) for edge in over])
        fired: dict[str, int] = {}
        for edge in found:
            if edge.fired_at is not None:
                fired[edge.trigger] = max(edge.fired_at, fired.get(edge.trigger, edge.fired_at))
        return {name: replace(edge, fired_at=fired.get(name)) for name, edge in edges.items()}

    def _follow(self, customer_id: str, now: int, known: Known, edges: Mapping[str, Edge]) -> None:
        events = _Events(lambda: self.events_of(customer_id, known))
        watched = self.outbox.watched([trigger.rule.name for trigger in self.triggers], now)
        changed: list[tuple[Edge, str | None]] = []
        due: list[tuple[Trigger, Edge]] = []
        for trigger in self.triggers:
            edge = edges.get(trigger.rule.name) or Edge(customer_id, trigger.rule.name)
            seen = self._seen(trigger, edge, now, known, events)
            after, act = step(trigger, edge, seen)
            is_due = after.state == "waiting" and after.due_at is not None and after.due_at <= now
            if is_due and _is_past(watched[trigger.rule.name], seen):
                after, is_due = noted(after), False
            if after != edge:
                changed.append((after, MOOT.get(after.state) if act == "cancel" else None))
            if is_due:
                due.append((trigger, after))
        if changed:
            # Before anything is asked for them: the episode's name must outlive this process.
            self.outbox.save(changed)
        for trigger, edge in due:
            counted = behind(self.index, trigger.rule.evidence, events.all(), now)
            seen_of = Moment(customer_id, now, known.features, cited(counted))
            self.outbox.fire(edge, now, self.firing.messages(trigger, edge, seen_of))

    def _seen(self, trigger: Trigger, edge: Edge, now: int, known: Known, events: _Events) -> Seen:
        if trigger.rule.when.value(known.features) is not True:
            return Seen(now, False)
        if edge.state == "fired" and not trigger.cancelled_by:
            return Seen(now, True)
        counted = behind(self.index, trigger.rule.evidence, events.all(), now)
        known_at = max((moment.available_at for moment in counted), default=None)
        return Seen(now, True, newest(counted), newest(cancelling(trigger, events.all(), now)), known_at)

    def _clear(self, edges: Mapping[str, Edge], because: str) -> None:
        """Nothing is known of the customer any more, or may be read."""
        standing = [edge for edge in edges.values() if edge.state != "clear"]
        if standing:
            names = {trigger.rule.name: trigger for trigger in self.triggers}
            ended = [step(names[edge.trigger], edge, Seen(0, False))[0] for edge in standing if edge.trigger in names]
            self.outbox.save([(edge, because) for edge in ended])


def _is_past(watched: Watched, seen: Seen) -> bool:
    """Whether it held before anybody watched, as far as can be told: a trigger that is new fires nothing for that."""
    return not watched.is_swept and (seen.known_at is None or seen.known_at < watched.since)


class _Events:
    """The events of one customer, read when they are first needed."""

    def __init__(self, read: Callable[[], Sequence[Event]]) -> None:
        self._read = read
        self._known: Sequence[Event] | None = None

    def all(self) -> Sequence[Event]:
        if self._known is None:
            self._known = self._read()
        return self._known
