"""The gauges that every service has: how fresh its data is, what waits in the journal, and what is served."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from pipelines.events.journal import Journal
from serving.bootstrap import Wiring
from serving.observing import gauges
from serving.observing.tally import Labels
from serving.served_log import ServedLog

Opened = Callable[[], Journal | None]


def watch(wiring: Callable[[], Wiring], journal: Opened, served: ServedLog) -> None:
    """Have them read at each scrape."""
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
    register(
        "twin_served_log_lost", "Served vectors of this process that could not be logged.", lambda: {(): served.lost}
    )


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
