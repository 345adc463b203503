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
from feature_repo.model_inputs import ModelInputs
from feature_repo.windows import DAY
from pipelines.artefacts import DATASET, DATASET_MANIFEST, load_dataset, load_dataset_of, read_json, write_json
from pipelines.console import UserError
from pipelines.dataset import build_dataset
from pipelines.dataset.build import content_hash, fold_of
from pipelines.dataset.snapshots import LogRange, plan_snapshots
from pipelines.settings import Settings
from pipelines.settings.labels import microseconds
from pipelines.settings.models import ModelConfig
from tests.unit.model_parts import make_dataset, make_settings, saved_dataset, small_config

BEGIN = 1_290_000_000_000_000 // DAY * DAY


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


def churn_config(project: Settings, label: dict[str, Any] | None = None, **sections: dict[str, Any]) -> ModelConfig:
    raw = project.model("churn").model_dump()
    raw["label"] |= label or {}
    for name, values in sections.items():
        raw[name] |= values
    return ModelConfig.model_validate(raw)


def whole_log(start: int, end: int) -> LogRange:
    """Where the same events decide the population and the outcome."""
    return LogRange(start, end, start, end)


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
    log = whole_log(BEGIN, BEGIN + length * DAY + ragged)
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


@settings(max_examples=200, deadline=None)
@given(
    openings=st.tuples(st.integers(0, 60), st.integers(1, 400), st.integers(0, DAY - 1)),
    outcomes=st.tuples(st.integers(0, 60), st.integers(1, 400)),
    every=st.integers(1, 60),
    tests=st.integers(1, 3),
    horizon=st.integers(1, 90),
)
def test_spans_of_openings_keep_their_promises(
    openings: tuple[int, int, int], outcomes: tuple[int, int], every: int, tests: int, horizon: int
) -> None:
    raw = {"kind": "conversion", "opened_by": ["A"], "open_for": "9d", "goal_events": ["B"], "horizon": f"{horizon}d"}
    config = ModelConfig.model_validate(
        PLAIN.model_dump()
        | {"label": raw, "split": {"test_snapshots": tests}}
        | {"snapshots": {"at": "opening", "every": f"{every}d", "most": 400}}
    )
    start, outcomes_start = BEGIN + openings[0] * DAY, BEGIN + outcomes[0] * DAY
    end, outcomes_end = start + openings[1] * DAY + openings[2], outcomes_start + outcomes[1] * DAY
    try:
        plan = plan_snapshots(config, LogRange(start, end, outcomes_start, outcomes_end))
    except UserError:
        whole = min(end, outcomes_end - horizon * DAY) - max(start, outcomes_start)
        assert whole < horizon * DAY + (tests + 1) * every * DAY + 2 * DAY
        return
    every_one = [*plan.train, *plan.dropped, *plan.test, plan.end]
    assert plan.end % DAY == 0
    assert np.all(np.diff(every_one) == every * DAY)
    assert plan.end + horizon * DAY <= outcomes_end, "the newest label is known"
    assert end - DAY < plan.end or plan.end > outcomes_end - (horizon + 1) * DAY, "nothing new is left out for nothing"
    assert plan.begin >= max(start, outcomes_start)
    assert plan.begin < plan.train[0] + every * DAY
    assert plan.learns_until == plan.test[0] - horizon * DAY
    assert plan.train[-1] <= plan.learns_until < min([*plan.dropped, plan.test[0]])


PLAIN = ModelConfig.model_validate({
    "name": "churn", "description": "-", "owner": "-", "feature_service": "churn",
    "label": {"kind": "churn", "qualifying_events": ["Order Completed"], "activity_window": "90d", "horizon": "60d"},
    "snapshots": {"every": "14d", "most": 12},
    "tune": {"trials": 1, "budget_seconds": 1},
    "baselines": {"logistic": {"features": ["r", "f", "m", "a"]}},
})  # fmt: skip


def test_a_short_history_says_what_to_change() -> None:
    with pytest.raises(UserError) as caught:
        plan_snapshots(PLAIN, whole_log(BEGIN, BEGIN + 100 * DAY))
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
    inputs = dataset.manifest.inputs
    same = content_hash(rows, names, inputs)
    assert content_hash(rows.sample(frac=1, random_state=1), names, inputs) == same
    for column, value in (("feature_3", 9.0), ("label", 1 - rows.loc[3, "label"]), ("customer_id", "another")):
        changed = rows.copy()
        changed.loc[3, column] = value
        assert content_hash(changed, names, inputs) != same
    assert content_hash(rows, names, ModelInputs(names, names[:-1])) != same, "what is learned from is other columns"


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
    files = [with_lake.workspace.artefacts("churn") / name for name in (DATASET, DATASET_MANIFEST)]
    first = [file.read_bytes() for file in files]
    again = build_dataset(with_lake, config, open_store(with_lake))
    assert again.dataset_hash == summary.dataset_hash
    assert [file.read_bytes() for file in files] == first
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


def test_a_dataset_of_another_version_or_rule_is_refused(tmp_path: Path) -> None:
    project = make_settings(tmp_path)
    config = small_config(project)
    folder = project.workspace.artefacts("churn")
    saved_dataset(project, config)
    longer = config.model_copy(update={"label": config.label.model_copy(update={"horizon": "61d"})})
    with pytest.raises(UserError, match="label rule was changed"):
        load_dataset_of(folder, longer)
    raw = read_json(folder / "dataset.json")
    write_json(folder / "dataset.json", {key: value for key, value in raw.items() if key != "label"})
    with pytest.raises(UserError, match="another version of the program"):
        load_dataset(folder)
