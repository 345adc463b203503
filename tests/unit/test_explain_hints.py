"""Counterfactual hints: what the model would say, by an oracle that asks it row by row."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from feature_repo.bg_nbd import BgNbd
from feature_repo.model_inputs import BuyingRhythm, ModelInputs
from pipelines.explain.hints import Hints, actionable

NAMES = ("visits", "emails", "noise", "constant")


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    values = np.random.default_rng(4).normal(size=(800, 4))
    values[:, 3] = 5.0
    values[::10, 1] = np.nan
    return values


@pytest.fixture(scope="module")
def booster(rows: np.ndarray) -> lightgbm.Booster:
    labels = (rows[:, 0] - np.nan_to_num(rows[:, 1]) > 0).astype(int)
    data = lightgbm.Dataset(rows, labels, feature_name=list(NAMES))
    return lightgbm.train({"objective": "binary", "num_leaves": 4, "verbosity": -1, "num_threads": 1}, data, 30)


def _hints(booster: lightgbm.Booster, rows: np.ndarray, lower: bool, patterns: tuple[str, ...] = ("*",)) -> Hints:
    return Hints(booster, ModelInputs(NAMES, NAMES), rows, patterns, {"visits": "number of visits"}, lower)


@pytest.mark.parametrize("lower", [True, False])
def test_means_are_what_the_model_says_of_each_changed_row(
    booster: lightgbm.Booster, rows: np.ndarray, lower: bool
) -> None:
    found = {hint.feature: hint for hint in _hints(booster, rows, lower).on_average(rows[:50])}
    assert set(found) == {"visits", "emails", "noise"}  # a constant has no other value
    for at, name in enumerate(NAMES[:3]):
        known = np.sort(rows[np.isfinite(rows[:, at]), at])
        said = []
        for quantile in (0.25, 0.5, 0.75):
            total = 0.0
            for row in rows[:50]:
                changed = row.copy()
                changed[at] = np.quantile(known, quantile)
                total += float(np.asarray(booster.predict(changed[None]))[0])
            said.append(total / 50)
        hint = found[name]
        assert hint.at_median == pytest.approx(said[1])
        assert hint.at_better == pytest.approx(min(said[0], said[2]) if lower else max(said[0], said[2]))
        assert hint.now == pytest.approx(float(np.asarray(booster.predict(rows[:50])).mean()))
    assert (found["visits"].which, found["emails"].which) == (("lower", "upper") if lower else ("upper", "lower"))
    assert found["visits"].meaning == "number of visits"


def test_a_feature_whose_better_quartile_is_its_median_says_nothing(
    booster: lightgbm.Booster, rows: np.ndarray
) -> None:
    mostly = rows.copy()
    mostly[:, 0] = np.where(np.arange(len(rows)) % 5 == 0, mostly[:, 0].max(), mostly[:, 0].min())
    assert "visits" not in {hint.feature for hint in _hints(booster, mostly, True).on_average(mostly[:50])}


def test_of_a_customer_only_welcome_changes_are_told_the_best_first(
    booster: lightgbm.Booster, rows: np.ndarray
) -> None:
    hints = _hints(booster, rows, True)
    average = hints.on_average(rows[:200])
    told = hints.of_customer(np.array([2.0, np.nan, 0.0, 5.0]), average)
    assert told[0]["feature"] == "visits"
    assert told[0]["value"] == 2.0
    assert all(item["at_better"] < item["now"] for item in told)
    assert [item["at_better"] for item in told] == sorted(item["at_better"] for item in told)
    assert {item["feature"]: item["value"] for item in told}["emails"] is None
    # A customer for whom all is at its best already.
    assert (
        hints.of_customer(np.array([-3.0, 3.0, 0.0, 5.0]), [item for item in average if item.feature != "noise"]) == []
    )
    assert hints.of_customer(rows[0], ()) == []


def test_patterns_name_features_and_computed_columns_change_with_them() -> None:
    features = ("recency", "count", "age", "unread")
    rhythm = BuyingRhythm(BgNbd(0.9, 30.0, 0.8, 3.0), "recency", "count", "age", 60.0)
    inputs = ModelInputs(features, ("recency",), rhythm)
    assert actionable(inputs, ("*",)) == ("recency", "count", "age")
    assert actionable(inputs, ("c*", "a?e")) == ("count", "age")
    generator = np.random.default_rng(6)
    age = generator.uniform(50, 400, 500)
    rows = np.column_stack([age * generator.random(500), generator.integers(1, 9, 500), age, age])
    columns = inputs.matrix(rows)
    labels = (columns[:, 1] > np.median(columns[:, 1])).astype(int)
    params = {"objective": "binary", "num_leaves": 4, "verbosity": -1, "num_threads": 1}
    booster = lightgbm.train(params, lightgbm.Dataset(columns, labels, feature_name=list(inputs.names)), 20)
    hint = Hints(booster, inputs, rows, ("count",), {}, True).on_average(rows[:40])[0]
    changed = rows[:40].copy()
    changed[:, 1] = np.median(rows[:, 1])
    assert hint.at_median == pytest.approx(float(np.asarray(booster.predict(inputs.matrix(changed))).mean()))
