"""Whether the same features are on top: of equal models always, of noise seldom."""

from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from pipelines.boosting import LearningRows, parameters
from pipelines.explain.stability import (
    Stability,
    how_many,
    jaccard,
    rows_to_look_at,
    stability,
    top_features,
)
from pipelines.settings.models import FitConfig

ROUNDS, SEED = 20, 7


def _learning(weights: list[float], rows: int = 900) -> LearningRows:
    generator = np.random.default_rng(5)
    values = generator.normal(size=(rows, len(weights)))
    labels = (generator.random(rows) < 1 / (1 + np.exp(-values @ np.array(weights)))).astype(int)
    days = np.full(rows, np.datetime64("2021-01-01", "us"))
    return LearningRows(values, tuple(f"f{at}" for at in range(len(weights))), labels, np.arange(rows) % 3, days)


def _judged(learning: LearningRows, params: dict[str, float], how: FitConfig | None = None) -> Stability:
    chosen = {**parameters(params, SEED, len(learning.labels)), "num_threads": 1}
    data = lightgbm.Dataset(learning.values, learning.labels, feature_name=list(learning.names))
    booster = lightgbm.train(chosen, data, ROUNDS)
    looked_at = [("2021-01-01", learning.values[:60]), ("2021-02-01", learning.values[60:120])]
    return stability(booster, learning, looked_at, params, ROUNDS, how or FitConfig(), SEED)


def test_identical_models_agree_fully() -> None:
    found = _judged(_learning([3.0, 2.0, 1.0, 0.0, 0.0, 0.0]), {"num_leaves": 4})
    assert not found.random_parameters
    assert found.seeds == found.own_seeds == 1.0
    assert found.most_rows_a_snapshot == 60
    seeds = [item for item in found.refits if item.kind == "seed"]
    assert len(seeds) == 3
    assert all(item.agreement[-1] == 1.0 for item in seeds)
    assert {item.name for item in found.refits if item.kind == "fold"} == {
        "without fold 0", "without fold 1", "without fold 2"
    }  # fmt: skip
    assert found.top == 3
    assert found.snapshots == ("2021-01-01", "2021-02-01")


def test_strong_features_stay_and_noise_does_not() -> None:
    drawn = {"num_leaves": 8, "bagging_fraction": 0.5, "bagging_freq": 1}
    strong = _judged(_learning([3.0, 2.5, 2.0, 0.0, 0.0, 0.0]), drawn)
    noise = _judged(_learning([0.0] * 30), drawn)
    assert strong.random_parameters
    assert strong.seeds is not None
    assert noise.seeds is not None
    assert strong.seeds > 0.9 > noise.seeds
    assert all(share > 0.9 for share in strong.kept.values())


def test_directions_that_the_domain_knows_are_kept_in_refits() -> None:
    against = FitConfig(monotone={"f0": "lowers"})
    found = _judged(_learning([3.0, 2.0, 1.0, 0.0, 0.0, 0.0]), {"num_leaves": 4}, against)
    # Forbidden to raise, the strongest feature no longer comes out on top.
    assert all("f0" not in top for item in found.refits for top in item.tops)


@given(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9)))
def test_jaccard_by_counting(first: list[int], second: list[int]) -> None:
    one, other = [str(item) for item in first], [str(item) for item in second]
    both = [item for item in set(one + other) if item in one and item in other]
    either = len(set(one + other))
    assert jaccard(one, other) == (len(both) / either if either else 1.0)


def test_features_that_contribute_nothing_are_not_on_top() -> None:
    assert top_features(["a", "b", "c"], np.array([[0.1, 0.0, -0.5]]), 3) == ("c", "a")
    assert [how_many(features) for features in (1, 6, 19, 20, 75)] == [1, 3, 9, 10, 10]


def test_rows_are_drawn_of_each_snapshot() -> None:
    days = pd.to_datetime(np.repeat(["2021-01-01", "2021-02-01"], [500, 20]), utc=True)
    inputs = np.arange(520.0)[:, None]
    (first, early), (second, late) = rows_to_look_at(pd.DataFrame({"snapshot": days}), inputs, SEED, 100)
    assert (first, len(early), second, len(late)) == ("2021-01-01", 50, "2021-02-01", 20)
    assert early.max() < 500 <= late.min()


def test_additivity_is_checked_in_refits_too() -> None:
    found = _judged(_learning([1.0, 1.0, 0.0, 0.0]), {"num_leaves": 4})
    assert 0.0 <= found.gap <= 1e-9
