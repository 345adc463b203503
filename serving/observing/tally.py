"""Numbers that a process counts for operators: a lock and a dictionary, far cheaper than what reads them.

Nothing here knows who reads; `exposition` does.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

Labels: TypeAlias = tuple[str, ...]
# Of a counter or gauge one number; of a histogram one a bucket, one above the last, and the sum of all values.
Numbers: TypeAlias = list[float]
Taken: TypeAlias = dict[str, dict[Labels, Numbers]]


class Measure:
    """What counters, gauges and histograms share. `labels` are names, each with few possible values.

    Measures may share a `lock`: who counts in several of them at each request asks for their `cell`s once, and
    changes those with the lock held.
    """

    kind: Literal["counter", "gauge", "histogram"]

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), lock: threading.Lock | None = None) -> None:
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self._lock = lock or threading.Lock()
        self._values: dict[Labels, Numbers] = {}

    def cell(self, *labels: str) -> Numbers:
        """The numbers of these label values, to be changed in place; they are there from now on. With the lock held."""
        return self._values.setdefault(labels, [0.0])

    def taken(self) -> dict[Labels, Numbers]:
        """A copy of the numbers so far."""
        with self._lock:
            return {labels: list(numbers) for labels, numbers in self._values.items()}


class Counter(Measure):
    """How often something happened. Thread-safe."""

    kind = "counter"

    def add(self, *labels: str, by: float = 1.0) -> None:
        with self._lock:
            self.cell(*labels)[0] += by


class Histogram(Measure):
    """How values spread over `buckets`, whose upper ends are given in ascending order. Thread-safe."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        text: str,
        buckets: Sequence[float],
        labels: Sequence[str] = (),
        lock: threading.Lock | None = None,
    ) -> None:
        super().__init__(name, text, labels, lock)
        self.buckets = tuple(buckets)

    def cell(self, *labels: str) -> Numbers:
        numbers = self._values.get(labels)
        if numbers is None:
            numbers = self._values[labels] = [0.0] * (len(self.buckets) + 2)
        return numbers

    def observe(self, value: float, *labels: str) -> None:
        with self._lock:
            numbers = self.cell(*labels)
            numbers[bisect_left(self.buckets, value)] += 1
            numbers[-1] += value


class Gauge(Measure):
    """Something of this process that is read when it is asked for; those of several processes add up."""

    kind = "gauge"

    def __init__(self, name: str, text: str, read: Callable[[], float]) -> None:
        super().__init__(name, text)
        self._read = read

    def taken(self) -> dict[Labels, Numbers]:
        return {(): [self._read()]}


def added(parts: Iterable[Mapping[str, Mapping[Labels, Numbers]]]) -> Taken:
    """What several processes took, in one."""
    total: Taken = {}
    for part in parts:
        for name, values in part.items():
            known = total.setdefault(name, {})
            for labels, numbers in values.items():
                former = known.get(labels)
                same = former is not None and len(former) == len(numbers)
                known[labels] = [a + b for a, b in zip(former or (), numbers, strict=True)] if same else list(numbers)
    return total
