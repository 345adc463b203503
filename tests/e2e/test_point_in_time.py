"""On real data, what a model learns from is what was known: a log cut at the as-of instant gives the same rows."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake

from feature_repo.event_table import EVENT_SCHEMA, register_customer_events
from pipelines.artefacts import TUNING, Dataset, load_dataset, write_json
from pipelines.dataset import build_dataset
from pipelines.dataset.again import DatasetAgain
from pipelines.dataset.features import historical_features
from pipelines.dataset.labels import label_rows
from pipelines.feature_store import open_feature_store
from pipelines.leakage import look_for_leakage
from pipelines.settings import Settings, Workspace, load_settings
from pipelines.train import train
from tests.real_data import ONLINE_RETAIL, ingest, needs_online_retail

pytestmark = [needs_online_retail, pytest.mark.slow]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    project = replace(load_settings(), workspace=Workspace("whole", checkout=tmp_path_factory.mktemp("honesty")))
    ingest(project, "online_retail", ONLINE_RETAIL)
    build_dataset(project, project.model("churn"), open_feature_store(project))
    return project


@pytest.fixture(scope="module")
def dataset(project: Settings) -> Dataset:
    return load_dataset(project.workspace.artefacts("churn"))


def log_cut_at(project: Settings, instant: int) -> Settings:
    """A workspace whose lake holds what had arrived by `instant`, and nothing else."""
    cut = replace(project, workspace=replace(project.workspace, name=f"cut-{instant}"))
    events = DeltaTable(str(project.workspace.lake)).to_pyarrow_dataset().to_table()
    arrived = pc.less_equal(events["available_at"].cast(pa.int64()), instant)
    write_deltalake(str(cut.workspace.lake), events.filter(arrived).cast(EVENT_SCHEMA), mode="overwrite")
    return cut


def test_features_are_those_of_the_log_cut_at_each_instant(project: Settings, dataset: Dataset) -> None:
    names = list(dataset.manifest.features)
    compared = 0
    for instant, rows in dataset.rows.groupby("as_of"):
        store = open_feature_store(log_cut_at(project, instant.value // 1000))
        points = pd.DataFrame({"customer_id": rows["customer_id"], "as_of": rows["as_of"].astype("int64")})
        values = historical_features(store, store.get_feature_service("churn"), points, names)
        np.testing.assert_array_equal(values.to_numpy(), rows[names].to_numpy())
        compared += values.size
    assert compared >= 500_000


def test_train_labels_are_those_of_the_log_cut_at_the_first_test_instant(project: Settings, dataset: Dataset) -> None:
    train, first_test = dataset.part("train"), int(dataset.part("test")["as_of"].astype("int64").min())
    with duckdb.connect() as connection:
        register_customer_events(connection, log_cut_at(project, first_test).workspace.lake)
        instants = [int(instant) for instant in train["as_of"].astype("int64").unique()]
        again = label_rows(connection, project.model("churn").label, instants)
    stated = train.assign(as_of=train["as_of"].astype("int64"))[["customer_id", "as_of", "label"]]
    keys = ["as_of", "customer_id"]
    pd.testing.assert_frame_equal(
        again.sort_values(keys, ignore_index=True), stated.sort_values(keys, ignore_index=True)
    )
    assert len(again) > 5_000


def test_labels_and_orders_are_those_counted_in_the_published_file(dataset: Dataset) -> None:
    """Read with pandas from the invoices themselves, by no code of the project."""
    lines = pd.read_csv(ONLINE_RETAIL, dtype=str)
    lines = lines[lines["CustomerID"].notna() & ~lines["InvoiceNo"].str.startswith("C")]
    at = pd.to_datetime(lines["InvoiceDate"]).dt.tz_localize("Europe/London").dt.tz_convert("UTC")
    lines = lines.assign(at=at, customer=lines["CustomerID"].str.removesuffix(".0"))
    orders = lines.groupby(["customer", "InvoiceNo"])["at"].min().reset_index()
    active, horizon = pd.Timedelta(days=90), pd.Timedelta(days=60)
    for instant, rows in dataset.rows.groupby("as_of"):
        before = orders[(orders["at"] >= instant - active) & (orders["at"] < instant)]
        after = orders[(orders["at"] >= instant) & (orders["at"] < instant + horizon)]
        own = rows.set_index("customer_id")
        assert set(own.index) == set(before["customer"])
        assert ((own["label"] == 0) == own.index.isin(after["customer"])).all()
        counts = before.groupby("customer").size().reindex(own.index)
        assert (own["order_completed_count_90d"] == counts).all()
        last = before.groupby("customer")["at"].max().reindex(own.index)
        days = (instant - last) / pd.Timedelta(days=1)
        np.testing.assert_allclose(own["order_completed_days_since_last_lifetime"], days, atol=1e-9)


def test_the_project_finds_no_leak_itself(project: Settings, dataset: Dataset) -> None:
    """All rows made again from cut logs; labels that are shuffled cannot be learned."""
    config = project.model("churn")
    folder = project.workspace.artefacts("churn")
    write_json(folder / TUNING, {"params": {"num_leaves": 7}})
    train(project, config)
    every_row = config.model_copy(
        update={"leakage": config.leakage.model_copy(update={"truncated_rows": len(dataset.rows)})}
    )
    leakage = look_for_leakage(project, every_row, DatasetAgain(project, config, open_feature_store(project)))
    alarms = {alarm.name: alarm for alarm in leakage.alarms}
    assert [alarm.name for alarm in leakage.raised if alarm.blocks] == [], leakage.text()
    assert alarms["truncated_log"].figures["rows"] == len(dataset.rows)
    assert alarms["truncated_log"].figures["values"] >= 500_000
    assert abs(alarms["shuffled_labels"].figures["auc"] - 0.5) < 0.02
    assert alarms["random_split_gap"].figures["same_customers"] > 0.03
