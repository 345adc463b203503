"""From ids to predictions, below HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_repo.state.read import AsOfTooEarly
from serving.api.answers import iso
from serving.api.errors import ApiError
from serving.bootstrap import wire
from serving.features import MemoryReader, MemoryRows
from serving.instant import CLOCK_MAY_LAG
from serving.predictor import SLICE, Prediction, Predictor
from tests.unit.serving_parts import CUSTOMERS, DATA_END, make_shop


@dataclass(slots=True)
class AheadReader(MemoryReader):
    """States that hold what arrived at `arrived`; no earlier instant can be read."""

    def read(self, customer_ids: Sequence[str], as_of: int, context: Mapping[str, Any] | None = None) -> MemoryRows:
        if as_of <= self.arrived:
            raise AsOfTooEarly
        return MemoryReader.read(self, customer_ids, as_of)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    shop = make_shop(tmp_path_factory.mktemp("shop"))
    shop.publish()
    return wire(shop.settings, shop.open_reader).predictor("churn")


def behind(predictor: Predictor, kind: type[MemoryReader], microseconds: int) -> Predictor:
    """The predictor with a clock that is that much behind the newest arrival."""
    still = predictor.reader
    assert isinstance(still, MemoryReader)
    reader = kind(still.values, still.width, still.spec_hash, still.end, arrived=DATA_END + microseconds)
    return Predictor(predictor.champion, reader, predictor.meanings, reader.data_end)


@pytest.mark.parametrize("kind", [MemoryReader, AheadReader])
@pytest.mark.parametrize("microseconds", [0, 1, 3_600_000_000, CLOCK_MAY_LAG - 1])
def test_behind_a_clock_that_stepped_back_all_that_arrived_counts(
    predictor: Predictor, kind: type[MemoryReader], microseconds: int
) -> None:
    expected = predictor.one(CUSTOMERS[0], False)[1]
    lagging = behind(predictor, kind, microseconds)
    assert lagging.one(CUSTOMERS[0], False) == (DATA_END + microseconds + 1, expected)
    as_of, predictions = asyncio.run(lagging.many([CUSTOMERS[0], "nobody"], False))
    assert (as_of, predictions) == (DATA_END + microseconds + 1, [expected, Prediction("nobody", None)])


def test_with_a_clock_that_is_right_the_clock_says_when(predictor: Predictor) -> None:
    right = behind(predictor, AheadReader, -1)
    assert right.one(CUSTOMERS[0], False)[0] == DATA_END
    assert asyncio.run(right.many([CUSTOMERS[0]], False))[0] == DATA_END


def test_a_clock_that_is_more_than_a_day_behind_is_an_error(predictor: Predictor) -> None:
    lagging = behind(predictor, AheadReader, CLOCK_MAY_LAG)
    with pytest.raises(ApiError, match="state_ahead"):
        lagging.one(CUSTOMERS[0], False)
    with pytest.raises(ApiError, match="state_ahead"):
        asyncio.run(lagging.many(CUSTOMERS, False))


def test_many_gives_single_requests_their_turn(predictor: Predictor) -> None:
    async def run() -> tuple[list[Prediction], int]:
        turns = 0

        async def single() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(single())
        predictions = (await predictor.many(CUSTOMERS * 4, True))[1]
        other.cancel()
        return predictions, turns

    predictions, turns = asyncio.run(run())
    assert turns >= len(CUSTOMERS) * 4 // SLICE
    assert [prediction.customer_id for prediction in predictions] == list(CUSTOMERS * 4)
    assert predictions[: len(CUSTOMERS)] == predictions[len(CUSTOMERS) : 2 * len(CUSTOMERS)]


def test_contributions_of_every_row_sum_to_its_log_odds(predictor: Predictor) -> None:
    matrix = predictor.reader.read(CUSTOMERS, DATA_END).matrix
    champion = predictor.champion
    gaps = champion.contributions(matrix).sum(axis=1) - champion.scores(matrix)
    assert np.abs(gaps).max() <= 1e-9
    np.testing.assert_allclose(champion.probabilities(matrix), 1 / (1 + np.exp(-champion.scores(matrix))), rtol=1e-12)


def test_wiring_refuses_without_touching_the_workspace(tmp_path: Path) -> None:
    wiring = wire(make_shop(tmp_path).settings)
    assert wiring.problem is not None
    assert wiring.problem.code == "model_missing"
    assert not (tmp_path / ".twin").exists()


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (DATA_END, "2011-08-31T17:19:00.000001Z"),
        (1_709_210_096_789_012, "2024-02-29T12:34:56.789012Z"),
    ],
)
def test_instants_are_iso_in_utc_with_microseconds(instant: int, text: str) -> None:
    assert iso(instant) == text
