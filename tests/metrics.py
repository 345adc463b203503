"""What `/metrics` says, for tests to compare."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


def samples(text: str) -> Samples:
    """By name of the sample and its labels, sorted."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(text: str, name: str, **labels: str) -> float:
    """The sum of all samples of this name that have these labels; 0 where there is none."""
    asked = set(labels.items())
    return sum(number for of, number in samples(text).get(name, {}).items() if asked <= set(of))
