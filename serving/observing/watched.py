"""The gauges that every service has: how fresh its data is, what waits in the journal, and what is served."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pipelines.events.journal import Journal
from pipelines.outbox import MessageState, Outbox
from pipelines.settings.webhooks import Endpoint
from serving.bootstrap import Wiring
from serving.observing import gauges
from serving.observing.measures import gauge
from serving.observing.tally import Labels, Total
from serving.served_log import ServedLog

Opened = Callable[[], Journal | None]
# Name and text: the state of the messages that are counted.
_OUTBOX: Mapping[tuple[str, str], MessageState] = {
    ("twin_outbox_waiting", "Messages that triggers set off and that are to be sent."): "waiting",
    ("twin_outbox_failed", "Those that no attempt could send, and that wait for somebody to retry."): "failed",
}


def watch(wiring: Callable[[], Wiring], journal: Opened, logs: Sequence[ServedLog]) -> None:
    """Have them read at each scrape; `logs` are all of this process."""
    register = gauges.register
    register("twin_newest_event_age_seconds", "Age of the newest event in the states.", lambda: _age(wiring()))
    register(
        "twin_journal_waiting_events",
        "Positions from the journal's first row to its last: events that are not in the lake yet, and gaps between.",
        lambda: {(): _waiting(journal())},
    )
    names = ("model", "version", "kind", "spec_hash")
    register("twin_model_info", "What is served: 1 for each model.", lambda: _models(wiring()), names)
    register("twin_model_served", "Whether a configured model is served.", lambda: _served(wiring()), ("model",))
    gauge(
        Total(
            "twin_served_log_written_total",
            "Served predictions that were logged.",
            lambda: sum(log.written for log in logs),
        )
    )
    gauge(Total("twin_served_log_lost_total", "Those that could not be.", lambda: sum(log.lost for log in logs)))


def watch_outbox(outbox: Outbox, endpoints: Sequence[Endpoint]) -> None:
    """The same of what triggers set off; `endpoints` are told also where nothing is there for them."""
    none = {endpoint.name: 0 for endpoint in endpoints}
    for (name, text), state in _OUTBOX.items():
        gauges.register(name, text, partial(_messages, outbox, state, none), ("endpoint",))


def forget_outbox() -> None:
    """Before it is closed."""
    for name, _ in _OUTBOX:
        gauges.forget(name)


def _messages(outbox: Outbox, state: MessageState, none: Mapping[str, int]) -> Mapping[Labels, float]:
    return {(endpoint,): float(count) for endpoint, count in {**none, **outbox.counts(state)}.items()}


def _age(wiring: Wiring) -> Mapping[Labels, float]:
    """By no label; nothing where there is no event."""
    ends = [end for predictor in wiring.served.values() if (end := predictor.reader.data_end()) is not None]
    return {(): time.time() - max(ends) / 1e6} if ends else {}


def _waiting(journal: Journal | None) -> float:
    first = [] if journal is None else journal.read_rows(0, 1)
    return journal.last_position() - first[0][0] + 1 if journal is not None and first else 0


def _models(wiring: Wiring) -> Mapping[Labels, float]:
    champions = [predictor.champion for predictor in wiring.served.values()]
    return {(c.model, c.version, str(c.manifest.get("kind", "")), c.spec_hash): 1.0 for c in champions}


def _served(wiring: Wiring) -> Mapping[Labels, float]:
    return {(name,): float(name in wiring.served) for name in wiring.configured}
