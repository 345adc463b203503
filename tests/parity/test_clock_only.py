"""Nothing happens but time: a customer's features fall at the exact edges of their windows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.online import FeatureReader
from feature_repo.spec_file import SpecFile, compile_spec
from feature_repo.state.plan import plan_state
from feature_repo.state.storage import stored_state
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from feature_repo.state.tiles import LoggedEvent, fold
from feature_repo.windows import DAY, HOUR, MINUTE, parse_window

WINDOWS = ("5m", "1h", "11h", "12h", "7d", "11d", "12d", "30d", "365d")
SPEC = compile_spec(
    SpecFile.model_validate(
        {
            "version": 1,
            "views": [
                {
                    "name": "orders", "description": "", "owner": "test", "event": "Order Completed",
                    "windows": list(WINDOWS),
                    "features": [
                        {"operation": "count"},
                        {"operation": "sum", "of": "value"},
                        {"operation": "last", "of": "value"},
                        {"operation": "top", "of": "channel"},
                        {"operation": "latest", "of": "channel"},
                        {"operation": "distinct", "of": "channel"},
                        {"operation": "days_since_last"},
                        {"operation": "active_days", "windows": ["7d", "30d"]},
                        {"operation": "longest_streak", "windows": ["7d", "30d"]},
                    ],
                }
            ],
            "services": {"all": {"description": "", "views": ["orders"]}},
        }
    )
)  # fmt: skip
FEATURES = tuple(SPEC.by_name)


def instant(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.fixture
def storage(tmp_path: Path) -> SQLiteStateStorage:
    return SQLiteStateStorage(tmp_path / "state.db")


def after_one_order(storage: SQLiteStateStorage, at: int) -> FeatureReader:
    event = LoggedEvent(1, "Order Completed", at, at, "web", 100, {})
    storage.put_many(SPEC.hash, [stored_state("idle", fold(plan_state(SPEC), None, [event]))])
    return FeatureReader(SPEC, storage, FEATURES)


def values(reader: FeatureReader, as_of: int) -> dict[str, object]:
    return dict(zip(FEATURES, reader.read(["idle"], as_of).values[0], strict=True))


@pytest.mark.parametrize(
    ("window", "leaves"),
    [
        # Short windows move in steps of 5 minutes, those from 12 hours on of an hour, from 12 days on of a day.
        ("5m", "2024-03-07 09:40:00"),
        ("1h", "2024-03-07 10:35:00"),
        ("11h", "2024-03-07 20:35:00"),
        ("12h", "2024-03-07 22:00:00"),
        ("7d", "2024-03-14 10:00:00"),
        ("11d", "2024-03-18 10:00:00"),
        ("12d", "2024-03-20 00:00:00"),
        ("30d", "2024-04-07 00:00:00"),
        ("365d", "2025-03-08 00:00:00"),
    ],
)
def test_an_order_leaves_each_window_at_its_edge(storage: SQLiteStateStorage, window: str, leaves: str) -> None:
    at = instant("2024-03-07 09:31:17")
    reader = after_one_order(storage, at)
    last_inside, first_outside = (values(reader, instant(leaves) + step) for step in (-1, 0))
    name = "order_completed_{}_" + window
    inside = {"count": 1, "value_sum": 100, "value_last": 100, "channel_top": "web", "channel_latest": "web"}
    outside = {"count": 0, "value_sum": None, "value_last": None, "channel_top": None, "channel_latest": None}
    assert {key: last_inside[name.format(key)] for key in inside} == inside
    assert {key: first_outside[name.format(key)] for key in outside} == outside
    assert [read[name.format("channel_distinct")] for read in (last_inside, first_outside)] == [1, 0]
    assert first_outside[name.format("days_since_last")] is None
    if window in ("7d", "30d"):
        assert [last_inside[name.format(key)] for key in ("active_days", "longest_streak")] == [1, 1]
        assert [first_outside[name.format(key)] for key in ("active_days", "longest_streak")] == [0, 0]


def test_an_order_counts_from_the_instant_after_it(storage: SQLiteStateStorage) -> None:
    at = instant("2024-03-07 09:31:17")
    reader = after_one_order(storage, at)
    assert values(reader, at)["order_completed_count_5m"] == 0
    assert values(reader, at + 1)["order_completed_count_5m"] == 1


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 40_000 * DAY),
    st.sampled_from(WINDOWS),
    st.sampled_from([0, 1, MINUTE, HOUR, DAY]),
    st.sampled_from([-1, 0, 1]),
)
def test_reading_alone_changes_nothing_and_the_clock_alone_decides(
    tmp_path_factory: pytest.TempPathFactory, at: int, window: str, later: int, nudge: int
) -> None:
    storage = SQLiteStateStorage(tmp_path_factory.mktemp("idle") / "state.db")
    reader = after_one_order(storage, at)
    before = storage.get_many(SPEC.hash, ["idle"])
    length = parse_window(window).length
    assert length is not None
    as_of = max(at + length + later + nudge, at + 1)
    width = 5 * MINUTE if length < 12 * HOUR else HOUR if length < 12 * DAY else DAY
    inside = at >= (as_of - length) - (as_of - length) % width
    assert values(reader, as_of)[f"order_completed_count_{window}"] == int(inside)
    assert storage.get_many(SPEC.hash, ["idle"]) == before
