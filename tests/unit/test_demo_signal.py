"""Behaviour carries signal about churn, honestly: more than chance, less than the hidden state."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipelines.demo import DemoConfig
from pipelines.demo.churn_truth import churn_table
from pipelines.demo.clock import DAY, day_start
from pipelines.demo.simulation import Simulation, simulate
from pipelines.demo.traits import draw_traits

CONFIG = DemoConfig(seed=8)
TEST_DAY = CONFIG.days - 60
TRAIN_DAYS = (TEST_DAY - 130, TEST_DAY - 95, TEST_DAY - 60)  # their labels end before the test's features


@pytest.fixture(scope="module")
def world() -> Simulation:
    return simulate(CONFIG, draw_traits(CONFIG))


def _summaries(customers: np.ndarray, days: np.ndarray, at: int) -> Iterator[np.ndarray]:
    """Per customer before day `at`: days since the last, and counts over 30, 90 days and ever."""
    seen = (days < at) & (customers >= 0)
    who, age = customers[seen], at - days[seen]
    since = np.full(CONFIG.customers, 700)
    np.minimum.at(since, who, age)
    yield since
    for window in (30, 90, 700):
        yield np.bincount(who[age <= window], minlength=CONFIG.customers)


def _features(world: Simulation, at: int) -> tuple[np.ndarray, int]:
    """All features (customers, columns), those of orders first; and how many those are."""
    tables, start = world.tables, day_start(CONFIG.start)
    events, emails, calls = tables["events"], tables["emails"], tables["calls"]
    chosen = [
        (tables["orders"], None),
        (calls, None),
        (calls, ~calls["solved"].astype(np.bool_)),
        (tables["refunds"], None),
        (emails, emails["action"] == 1),
        (tables["line"], tables["line"]["action"] == 1),
        (events, events["known"].astype(np.bool_) & (events["kind"] == 2)),
    ]
    columns: list[np.ndarray] = []
    for rows, flags in chosen:
        kept = slice(None) if flags is None else flags
        columns += _summaries(rows["customer"][kept], (rows["at"][kept] - start) // DAY, at)
    return np.log1p(np.stack(columns, axis=1)), 4


def test_behaviour_beats_order_history_and_neither_is_an_oracle(world: Simulation) -> None:
    truth = churn_table(CONFIG, [*TRAIN_DAYS, TEST_DAY]).to_pandas()
    days = ((truth["as_of"] - truth["as_of"].max()).dt.days + TEST_DAY).to_numpy()
    who, labels = truth["customer_id"].str[1:].astype(int).to_numpy() - 1, truth["churned"].to_numpy()
    features = np.zeros((len(truth), 28))
    for day in (*TRAIN_DAYS, TEST_DAY):
        table, basic = _features(world, day)
        features[days == day] = table[who[days == day]]
    test = days == TEST_DAY
    scores = {}
    for name, width in (("orders", basic), ("all", features.shape[1])):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
        scores[name] = model.fit(features[~test, :width], labels[~test]).predict_proba(features[test, :width])[:, 1]
    area = {name: roc_auc_score(labels[test], score) for name, score in scores.items()}
    oracle = roc_auc_score(labels[test], truth["probability"][test])
    assert 0.62 < area["orders"] < area["all"] - 0.015
    assert area["all"] < oracle - 0.03 < 0.9
    assert log_loss(labels[test], scores["all"]) < log_loss(labels[test], scores["orders"])
