"""Interactions: of models whose interactions are known, and sums that must hold."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray

from feature_repo.reasons import AdditivityError
from pipelines.explain.contributions import explain_rows
from pipelines.explain.interactions import check_interactions, interactions


def _trained(values: NDArray[np.float64], target: NDArray[np.float64]) -> lightgbm.Booster:
    names = [f"f{at}" for at in range(values.shape[1])]
    data = lightgbm.Dataset(values, target, feature_name=names)
    return lightgbm.train(
        {"objective": "regression", "num_leaves": 8, "learning_rate": 0.2, "verbosity": -1, "num_threads": 1}, data, 60
    )


@pytest.fixture(scope="module")
def values() -> NDArray[np.float64]:
    return np.random.default_rng(1).choice([-1.0, 1.0], size=(3000, 4))


def test_a_product_is_all_interaction_of_its_two_features(values: NDArray[np.float64]) -> None:
    booster = _trained(values, values[:, 0] * values[:, 2])
    found = interactions(booster, explain_rows(booster, values[:300]))
    assert found is not None
    strongest = found.pairs[0]
    assert {strongest.first, strongest.second} == {"f0", "f2"}
    assert strongest.size == pytest.approx(1.0, abs=0.05)  # the product is -1 or 1
    assert strongest.share > 0.9
    assert found.alone < 0.1
    product = found.values[:, 0] * found.values[:, 2]
    assert found.strongest == pytest.approx(product, abs=0.1)
    assert found.gap <= 1e-6


def test_a_sum_has_no_interaction(values: NDArray[np.float64]) -> None:
    booster = _trained(values, 2 * values[:, 0] + values[:, 1])
    found = interactions(booster, explain_rows(booster, values[:300]))
    assert found is not None
    assert found.alone > 0.97


def test_one_feature_or_none_has_no_pair(values: NDArray[np.float64]) -> None:
    alone = np.column_stack([values[:, 0], np.zeros(len(values))])
    booster = _trained(alone, alone[:, 0])
    assert interactions(booster, explain_rows(booster, alone[:50])) is None


def test_sums_and_symmetry_must_hold() -> None:
    effects = np.array([[[1.0, 0.5], [0.5, 2.0]]])
    assert check_interactions(effects, np.array([[1.5, 2.5]])) == 0.0
    with pytest.raises(AdditivityError):
        check_interactions(effects, np.array([[1.5, 2.5 + 2e-6]]))
    with pytest.raises(AdditivityError):
        check_interactions(np.array([[[1.0, 0.5], [0.4, 2.1]]]), np.array([[1.5, 2.5]]))
    with pytest.raises(AdditivityError):
        check_interactions(effects * np.nan, np.array([[1.5, 2.5]]))
