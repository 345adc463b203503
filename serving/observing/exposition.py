"""The numbers of all workers as Prometheus reads them.

One worker keeps its numbers in memory alone. Of several each writes its own to a file once a second, and the one that
is scraped adds up all files: counting stays as cheap as with one. Of a worker that died the counts stay, its gauges
do not.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from serving.observing.gauges import read_all
from serving.observing.measures import ALL
from serving.observing.tally import Histogram, Labels, Measure, Numbers, Taken, added

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_WRITE_EVERY_SECONDS = 1.0
_FAILED = "twin_scrape_failures"


def exposition(folder: Path | None) -> bytes:
    """All there is to scrape; `folder` has the files of the other workers, if there are any.

    Reads stores: for a thread.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Gathered(folder))
    return generate_latest(registry)


class Sharing:
    """Writes the numbers of this worker for the others to add."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write()
        self._thread.start()

    def close(self) -> None:
        """Write the last numbers."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self.write()

    def write(self) -> None:
        """Raises OSError."""
        kept = {name: [[list(labels), numbers] for labels, numbers in of.items()] for name, of in _own().items()}
        file = self.folder / f"worker-{os.getpid()}.json"
        new = file.with_suffix(".new")
        new.write_text(json.dumps(kept))
        new.replace(file)

    def _run(self) -> None:
        while not self._stopping.wait(_WRITE_EVERY_SECONDS):
            try:
                self.write()
            except OSError:
                # A full disk: the numbers of this worker stand still for the others until there is room again.
                continue


class _Gathered(Collector):
    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        total = added([_own(), *_others(self._folder)])
        for measure in ALL:
            yield _family(measure, total.get(measure.name, {}))
        found, failed = read_all()
        for known, values in found:
            family = GaugeMetricFamily(known.name, known.text, labels=known.labels)
            for labels, value in values.items():
                family.add_metric(list(labels), value)
            yield family
        yield GaugeMetricFamily(_FAILED, "Gauges that could not be read at this scrape.", value=len(failed))


def _own() -> Taken:
    return {measure.name: measure.taken() for measure in list(ALL)}


def _others(folder: Path | None) -> Iterable[Taken]:
    if folder is None:
        return
    gauges = {measure.name for measure in ALL if measure.kind == "gauge"}
    for file in sorted(folder.glob("worker-*.json")):
        process = int(file.stem.removeprefix("worker-"))
        if process == os.getpid():
            continue
        lives = psutil.pid_exists(process)
        yield {name: of for name, of in _read(file).items() if lives or name not in gauges}


def _read(file: Path) -> Taken:
    kept: dict[str, list[tuple[Sequence[str], Numbers]]] = json.loads(file.read_text())
    return {name: {tuple(labels): numbers for labels, numbers in of} for name, of in kept.items()}


def _family(measure: Measure, values: dict[Labels, Numbers]) -> Metric:
    if isinstance(measure, Histogram):
        histogram = HistogramMetricFamily(measure.name, measure.text, labels=measure.labels)
        for labels, numbers in values.items():
            histogram.add_metric(list(labels), _cumulative(measure.buckets, numbers), numbers[-1])
        return histogram
    kind = CounterMetricFamily if measure.kind == "counter" else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = kind(measure.name, measure.text, labels=measure.labels)
    for labels, numbers in values.items():
        family.add_metric(list(labels), numbers[0])
    return family


def _cumulative(buckets: Sequence[float], numbers: Numbers) -> list[tuple[str, float]]:
    ends = [*map(repr, buckets), "+Inf"]
    total = 0.0
    told = []
    for end, count in zip(ends, numbers[:-1], strict=True):
        total += count
        told.append((end, total))
    return told
