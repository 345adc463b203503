"""Spark gives the same bits as the oracle and DuckDB, on the same made-up events."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.parity.harness import Delivery, Point, accept, by_oracle, by_sql, differences, every_operation_spec
from tests.parity.spark import by_spark
from tests.parity.test_generated_events import deliveries, points

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


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True], ids=["interpreted", "compiled"])
def test_spark_gives_the_same_bits(compiled: bool) -> None:
    log, asked = gathered(200)
    found = by_spark(SPEC, NAMES, log, asked, compiled)
    assert len(found) == len(asked) > 200
    assert differences(NAMES, by_oracle(SPEC, NAMES, log, asked), found) == []
    assert differences(NAMES, by_sql(SPEC, NAMES, log, asked), found) == []
