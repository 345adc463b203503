"""Gauges that are read when somebody scrapes: what holds for the workspace, whichever process is asked.

Another part of the service adds one with one line: `gauges.register("twin_queue_waiting", "...", read, ("queue",))`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from serving.api.error_log import described
from serving.observing.tally import Labels

logger = logging.getLogger("bentoml.twin")

# By label values, in the order of the labels' names; a gauge without labels has one value, under ().
Read = Callable[[], Mapping[Labels, float]]


@dataclass(frozen=True, slots=True)
class ScrapeGauge:
    """`read` runs in a thread, and may take as long as a scrape may."""

    name: str
    text: str
    read: Read
    labels: tuple[str, ...] = ()


_registered: dict[str, ScrapeGauge] = {}


def register(name: str, text: str, read: Read, labels: Sequence[str] = ()) -> None:
    """Have `read` called at each scrape; a gauge of the same name takes the place of the former."""
    _registered[name] = ScrapeGauge(name, text, read, tuple(labels))


def forget(name: str) -> None:
    """Read a gauge no longer; nothing where there is none."""
    _registered.pop(name, None)


def read_all() -> tuple[list[tuple[ScrapeGauge, Mapping[Labels, float]]], list[str]]:
    """Every gauge with its values, and the names of those that could not be read, such as while a store is away."""
    found: list[tuple[ScrapeGauge, Mapping[Labels, float]]] = []
    failed = []
    for known in list(_registered.values()):
        try:
            found.append((known, known.read()))
        except Exception as error:  # noqa: BLE001 (one store that is away hides no other number)
            logger.warning("%s cannot be read now: %s", known.name, described(error))
            failed.append(known.name)
    return found, failed
