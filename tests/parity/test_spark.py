"""Spark gives the same bits as the oracle, on the same made-up events as DuckDB and the fold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.parity.harness import Delivery, Point, accept, by_oracle, dense_log, differences, every_operation_spec
from tests.parity.spark import by_spark
from tests.parity.test_generated_events import deliveries, points

pytestmark = pytest.mark.xdist_group("spark")

SPEC = every_operation_spec()
NAMES = tuple(SPEC.by_name)


def gathered(examples: int) -> tuple[list[Delivery], list[Point]]:
    """Examples of Hypothesis as one log, each with customers of its own: Spark answers all in one query."""
    log: list[Delivery] = []
    asked: list[Point] = []

    @settings(
        max_examples=examples,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(deliveries(), points)
    def gather(delivered: list[Delivery], at: list[Point]) -> None:
        example = f"example {len(asked)}"
        log.extend(replace(d, key=f"{example}/{d.key}", customer=f"{example}/{d.customer}") for d in accept(delivered))
        asked.extend(replace(point, customer=f"{example}/{point.customer}") for point in at)

    gather()
    return log, asked


def dense(seeds: range) -> tuple[list[Delivery], list[Point]]:
    """Logs with many events a customer, as one log in the same way."""
    log: list[Delivery] = []
    asked: list[Point] = []
    for seed in seeds:
        delivered, at = dense_log(seed)
        log.extend(replace(d, key=f"{seed}/{d.key}", customer=f"dense {seed}/{d.customer}") for d in accept(delivered))
        asked.extend(replace(point, customer=f"dense {seed}/{point.customer}") for point in at)
    return log, asked


@pytest.mark.slow
def test_spark_gives_the_same_bits() -> None:
    parts = (gathered(200), dense(range(20)))
    log = [delivery for part, _ in parts for delivery in part]
    asked = [point for _, part in parts for point in part]
    found = by_spark(SPEC, NAMES, log, asked)
    assert len(found) == len(asked) > 400
    assert differences(NAMES, by_oracle(SPEC, NAMES, log, asked), found) == []
