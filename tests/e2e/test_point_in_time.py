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
from sklearn.metrics import roc_auc_score

from feature_repo.event_table import EVENT_SCHEMA, register_customer_events
from pipelines.artefacts import Dataset, load_dataset
from pipelines.boosting import learning_rows, make_folds, matrix
from pipelines.dataset import build_dataset
from pipelines.dataset.features import historical_features
from pipelines.dataset.labels import label_rows
from pipelines.feature_store import open_feature_store
from pipelines.fitting import fit_calibrated
from pipelines.settings import Settings, Workspace, load_settings
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


def test_labels_that_are_shuffled_cannot_be_learned(project: Settings, dataset: Dataset) -> None:
    """Within each instant, so that all else stays: an area far from one half would be a leak."""
    areas = []
    for seed in range(4):
        labels = dataset.rows.groupby("as_of")["label"].transform(
            lambda own, seed=seed: np.random.default_rng(seed).permutation(own.to_numpy())
        )
        lost = Dataset(dataset.rows.assign(label=labels), dataset.manifest)
        train, config = learning_rows(lost), project.model("churn")
        _, booster = fit_calibrated(train, make_folds(train, seed), {"num_leaves": 7}, config.tune, config.fit)
        areas.append(roc_auc_score(lost.part("test")["label"], booster.predict(matrix(lost.inputs("test")))))
    assert abs(np.mean(areas) - 0.5) < 0.02  # four tests of 1,977 rows have a standard error of 0.007
