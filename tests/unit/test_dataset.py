from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.event_table import EVENT_SCHEMA
from feature_repo.windows import DAY
from pipelines.artefacts import load_dataset
from pipelines.console import UserError
from pipelines.dataset import build_dataset
from pipelines.dataset.build import content_hash, fold_of
from pipelines.dataset.labels import label_rows, log_range
from pipelines.dataset.snapshots import LogRange, plan_snapshots
from pipelines.settings import Settings
from pipelines.settings.labels import ChurnLabel, microseconds
from pipelines.settings.models import ModelConfig
from tests.reference.churn_labels import Event, churn_labels
from tests.unit.model_parts import make_dataset, make_settings

BEGIN = 1_290_000_000_000_000 // DAY * DAY
STEP = DAY // 2


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


def churn_config(project: Settings, label: dict[str, Any] | None = None, **sections: dict[str, Any]) -> ModelConfig:
    raw = project.model("churn").model_dump()
    raw["label"] |= label or {}
    for name, values in sections.items():
        raw[name] |= values
    return ModelConfig.model_validate(raw)


def with_view(events: list[Event]) -> duckdb.DuckDBPyConnection:
    columns = {name: [getattr(event, name) for event in events] for name in Event.__dataclass_fields__}
    kinds = {"customer_id": pa.string(), "event": pa.string(), "event_time": pa.int64(), "available_at": pa.int64()}
    connection = duckdb.connect()
    table = pa.table({name: pa.array(columns[name], kind) for name, kind in kinds.items()})
    connection.register("customer_events", table)
    return connection


# Times on a coarse grid, so that window edges and equal instants are met often.
EVENTS = st.builds(
    lambda customer, kind, step, delay: Event(customer, kind, step * STEP, (step + delay) * STEP),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["Order Completed", "Order Refunded"]),
    st.integers(0, 40),
    st.integers(-1, 8),
)


def as_tuples(rows: pd.DataFrame) -> list[tuple[int, str, int]]:
    return sorted(zip(rows["as_of"].tolist(), rows["customer_id"], rows["label"].tolist(), strict=True))


@settings(max_examples=150, deadline=None)
@given(
    events=st.lists(EVENTS, max_size=25),
    instants=st.lists(st.integers(0, 40).map(lambda step: step * STEP), min_size=1, max_size=4, unique=True),
    activity=st.integers(1, 6),
    gap=st.integers(0, 3),
    horizon=st.integers(1, 6),
)
def test_labels_are_those_of_the_oracle(
    events: list[Event], instants: list[int], activity: int, gap: int, horizon: int
) -> None:
    label = ChurnLabel(
        kind="churn",
        qualifying_events=("Order Completed",),
        activity_window=f"{activity}d",
        gap=f"{gap}d",
        horizon=f"{horizon}d",
    )
    with with_view(events) as connection:
        found = label_rows(connection, label, instants)
    expected = churn_labels(events, {"Order Completed"}, instants, activity * DAY, gap * DAY, horizon * DAY)
    assert as_tuples(found) == expected


@settings(max_examples=60, deadline=None)
@given(events=st.lists(EVENTS, max_size=25), step=st.integers(0, 40))
def test_the_population_is_known_from_what_had_arrived(events: list[Event], step: int) -> None:
    label = ChurnLabel(kind="churn", qualifying_events=("Order Completed",), activity_window="5d", horizon="4d")
    cut = [event for event in events if event.available_at <= step * STEP and event.event_time < step * STEP]
    with with_view(events) as whole, with_view(cut) as truncated:
        everything = label_rows(whole, label, [step * STEP])
        known_then = label_rows(truncated, label, [step * STEP])
    assert everything["customer_id"].tolist() == known_then["customer_id"].tolist()


@settings(max_examples=100, deadline=None)
@given(events=st.lists(EVENTS, max_size=25), step=st.integers(0, 30), later=st.integers(0, 20))
def test_train_labels_are_those_of_the_log_cut_where_the_test_begins(
    events: list[Event], step: int, later: int
) -> None:
    label = ChurnLabel(kind="churn", qualifying_events=("Order Completed",), activity_window="5d", horizon="4d")
    cutoff = (step + later) * STEP
    with with_view(events) as connection:
        found = label_rows(connection, label, [step * STEP], known_by=cutoff)
    cut = [event for event in events if event.available_at <= cutoff]
    assert as_tuples(found) == churn_labels(cut, {"Order Completed"}, [step * STEP], 5 * DAY, 0, 4 * DAY)


def test_the_log_ends_with_its_newest_event_that_is_not_dated_ahead() -> None:
    label = ChurnLabel(kind="churn", qualifying_events=("Order Completed",), activity_window="5d", horizon="4d")
    events = [
        Event("a", "Order Completed", 10 * DAY, 10 * DAY),
        Event("a", "Order Completed", 90 * DAY, 20 * DAY),  # a clock that ran ahead
        Event("a", "Order Completed", 12 * DAY, 50 * DAY),  # arrived late
        Event("b", "Order Refunded", 99 * DAY, 99 * DAY),  # another feed
    ]
    with with_view(events) as connection:
        assert log_range(connection, label) == LogRange(10 * DAY, 20 * DAY + 1)
    with with_view([]) as connection, pytest.raises(UserError, match="Order Completed"):
        log_range(connection, label)


@settings(max_examples=200, deadline=None)
@given(
    length=st.integers(1, 900),
    ragged=st.integers(0, DAY - 1),
    every=st.integers(1, 60),
    most=st.integers(2, 12),
    tests=st.integers(1, 3),
    spans=st.tuples(st.integers(1, 120), st.integers(0, 10), st.integers(1, 120), st.integers(0, 5)),
)
def test_snapshots_keep_their_promises(
    length: int, ragged: int, every: int, most: int, tests: int, spans: tuple[int, int, int, int]
) -> None:
    activity, gap, horizon, delay = (span * DAY for span in spans)
    config = PLAIN.model_copy(
        update={
            "label": PLAIN.label.model_copy(
                update={
                    "activity_window": f"{spans[0]}d",
                    "gap": f"{spans[1]}d",
                    "horizon": f"{spans[2]}d",
                    "arrival_delay": f"{spans[3]}d",
                }
            ),
            "snapshots": PLAIN.snapshots.model_copy(update={"every": f"{every}d", "most": most}),
            "split": PLAIN.split.model_copy(update={"test_snapshots": tests}),
        }
    )
    log = LogRange(BEGIN, BEGIN + length * DAY + ragged)
    try:
        plan = plan_snapshots(config, log)
    except UserError:
        needed = activity + 2 * (gap + horizon + delay) + (tests + 1) * every * DAY + 2 * DAY
        assert log.end - log.start < needed
        return
    every_one = [*plan.train, *plan.dropped, *plan.test]
    assert every_one[-1] % DAY == 0
    assert len(plan.test) == tests
    assert len(plan.train) <= max(1, most - tests)
    assert np.all(np.diff(every_one) == every * DAY)
    assert all(log.start + activity <= at and at + gap + horizon + delay <= log.end for at in every_one)
    assert all(at + gap + horizon + delay <= plan.test[0] for at in plan.train)
    assert all(at + gap + horizon + delay > plan.test[0] for at in plan.dropped)


PLAIN = ModelConfig.model_validate({
    "name": "churn", "description": "-", "owner": "-", "feature_service": "churn",
    "label": {"kind": "churn", "qualifying_events": ["Order Completed"], "activity_window": "90d", "horizon": "60d"},
    "snapshots": {"every": "14d", "most": 12},
    "tune": {"trials": 1, "budget_seconds": 1},
    "baselines": {"logistic": {"features": ["r", "f", "m", "a"]}},
})  # fmt: skip


def test_a_short_history_says_what_to_change() -> None:
    with pytest.raises(UserError) as caught:
        plan_snapshots(PLAIN, LogRange(BEGIN, BEGIN + 100 * DAY))
    text = str(caught.value)
    assert "label.horizon" in text
    assert "100 days" in text
    assert "ingest a longer history" in text


def test_folds_are_the_same_on_every_machine() -> None:
    assert [fold_of(customer, 5) for customer in ("17850", "13047", "ลูกค้า-1")] == [2, 4, 4]
    assert {fold_of(str(number), 5) for number in range(100)} == {0, 1, 2, 3, 4}


def test_the_hash_is_of_the_content() -> None:
    dataset = make_dataset(customers=20)
    names = dataset.manifest.features
    rows = dataset.rows.assign(as_of=dataset.rows["as_of"].astype("int64"))
    same = content_hash(rows, names)
    assert content_hash(rows.sample(frac=1, random_state=1), names) == same
    for column, value in (("feature_3", 9.0), ("label", 1 - rows.loc[3, "label"]), ("customer_id", "another")):
        changed = rows.copy()
        changed.loc[3, column] = value
        assert content_hash(changed, names) != same


def write_orders(project: Settings, customers: int = 80, days: int = 300, seed: int = 0) -> None:
    """Customers of whom half stop ordering somewhere on the way; some orders arrive a day late."""
    generator = np.random.default_rng(seed)
    constant = {
        "source": "online_retail", "event": "Order Completed", "identifiers": "{}", "channel": "web", "value": 1000,
        "currency": "GBP", "properties": "{}",
    }  # fmt: skip
    rows = []
    for number in range(customers):
        last = generator.integers(30, days) if number % 2 else days
        for day in np.flatnonzero(generator.random(last) < 0.04):
            at = BEGIN + int(day) * DAY + int(generator.integers(0, DAY))
            arrived = at + (DAY if generator.random() < 0.1 else 0)
            rows.append((f"c{number}", at, arrived))
    columns = {
        "position": list(range(1, len(rows) + 1)),
        "event_id": [str(number) for number in range(len(rows))],
        "event_time": [row[1] for row in rows],
        "available_at": [row[2] for row in rows],
        "user_id": [row[0] for row in rows],
        "anonymous_id": [None] * len(rows),
        **{name: [value] * len(rows) for name, value in constant.items()},
    }
    write_deltalake(str(project.workspace.lake), pa.table(columns, schema=EVENT_SCHEMA), mode="append")


@pytest.fixture
def with_lake(project: Settings) -> Settings:
    write_orders(project)
    return project


def open_store(project: Settings) -> Any:
    from pipelines.feature_store import open_feature_store

    return open_feature_store(project)


def test_a_dataset_from_a_lake(with_lake: Settings) -> None:
    config = churn_config(with_lake, snapshots={"at_least_customers": 5})
    store = open_store(with_lake)
    summary = build_dataset(with_lake, config, store)
    dataset = load_dataset(with_lake.workspace.artefacts("churn"))
    names = with_lake.features.service_features("churn")
    for_baselines = sorted(set(config.other_features) - set(names))
    expected = ("customer_id", "as_of", "snapshot", "label", "part", "fold", *names, *for_baselines)
    assert tuple(dataset.rows.columns) == expected
    assert dataset.manifest.features == names
    assert set(dataset.rows[list(names)].dtypes.astype(str)) == {"float64"}
    assert str(dataset.rows["as_of"].dtype) == "datetime64[us, UTC]"
    assert dataset.manifest.lake_version == summary.lake_version
    assert dataset.manifest.spec_hash == with_lake.features.hash

    train, test = dataset.part("train"), dataset.part("test")
    window = pd.Timedelta(microseconds(config.label.horizon), unit="us")
    assert (train["as_of"] + window <= test["as_of"].min()).all()
    assert (test["fold"] == -1).all()
    assert (train.groupby("customer_id")["fold"].nunique() == 1).all()
    assert any("left out" in note for note in summary.notes)

    recency = dataset.rows["order_completed_days_since_last_lifetime"]
    assert recency.between(0, 91).all(), (
        "features stand beside the row they are of: everybody ordered in the last 90 days"
    )
    again = build_dataset(with_lake, config, store)
    assert again.dataset_hash == summary.dataset_hash
    write_orders(with_lake, seed=1)
    store.config.offline_store.lake_version = summary.lake_version
    pinned = build_dataset(with_lake, config, store)
    assert (pinned.dataset_hash, pinned.lake_version) == (summary.dataset_hash, summary.lake_version)


def test_features_are_those_of_the_log_cut_at_the_instant(with_lake: Settings, tmp_path: Path) -> None:
    config = churn_config(with_lake, snapshots={"at_least_customers": 5})
    build_dataset(with_lake, config, open_store(with_lake))
    whole = load_dataset(with_lake.workspace.artefacts("churn"))
    instant = whole.rows["as_of"].min()

    cut = replace(with_lake, workspace=replace(with_lake.workspace, name="cut"))
    events = duckdb.sql(
        f"SELECT * FROM delta WHERE epoch_us(available_at) <= {instant.value // 1000}",
        connection=_delta(with_lake),
    ).to_arrow_table()
    write_deltalake(str(cut.workspace.lake), events.cast(EVENT_SCHEMA))
    rows = whole.rows[whole.rows["as_of"] == instant]
    points = pd.DataFrame({"customer_id": rows["customer_id"], "as_of": rows["as_of"].astype("int64")})
    from pipelines.dataset.features import historical_features

    names = list(whole.manifest.features)
    store = open_store(cut)
    values = historical_features(store, store.get_feature_service("churn"), points, names)
    np.testing.assert_array_equal(values.to_numpy(), rows[names].to_numpy())


def _delta(project: Settings) -> duckdb.DuckDBPyConnection:
    from deltalake import DeltaTable

    connection = duckdb.connect()
    connection.register("delta", DeltaTable(str(project.workspace.lake)).to_pyarrow_dataset())
    return connection


class StoreThatIngests:
    """A real store over a lake that changes while it answers."""

    def __init__(self, project: Settings) -> None:
        self.project, self.store = project, open_store(project)
        self.config = self.store.config

    def get_feature_service(self, name: str) -> Any:
        return self.store.get_feature_service(name)

    def get_historical_features(self, *request: Any) -> Any:
        answer = self.store.get_historical_features(*request)
        write_orders(self.project, customers=1)
        return answer


def test_a_lake_that_changes_meanwhile_is_refused(with_lake: Settings) -> None:
    config = churn_config(with_lake, snapshots={"at_least_customers": 5})
    with pytest.raises(UserError, match="run it again"):
        build_dataset(with_lake, config, StoreThatIngests(with_lake))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("label", "sections", "message"),
    [
        ({"horizon": "200d"}, {}, "history is too short"),
        ({}, {"snapshots": {"at_least_customers": 1000}}, "Too few customers"),
        ({"qualifying_events": ["Order Refunded"]}, {}, "nothing to label"),
    ],
)
def test_what_cannot_be_learned_from_is_said(
    with_lake: Settings, label: dict[str, Any], sections: dict[str, dict[str, Any]], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        build_dataset(with_lake, churn_config(with_lake, label, **sections), open_store(with_lake))
    assert caught.value.problems
    assert all(problem.hint for problem in caught.value.problems)


def test_no_lake_is_said(project: Settings) -> None:
    with pytest.raises(UserError, match="twin ingest"):
        build_dataset(project, project.model("churn"), None)  # type: ignore[arg-type]
