"""Groups of features that move together, and what they contribute as one."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.explain.contributions import Explained
from pipelines.explain.groups import cluster, groups


def _values() -> np.ndarray:
    generator = np.random.default_rng(2)
    first, second = generator.normal(size=(2, 400))
    # A copy, a falling and bent copy, an unrelated one, and a constant.
    return np.column_stack([first, first, -np.exp(first), second, np.ones(400)])


def test_copies_bent_or_turned_round_are_one_group_and_others_stand_alone() -> None:
    numbers = cluster(_values())
    assert numbers[0] == numbers[1] == numbers[2]
    assert len({*numbers[[0, 3, 4]].tolist()}) == 3


def test_every_pair_of_a_group_is_alike_also_along_a_chain() -> None:
    generator = np.random.default_rng(3)
    steps = generator.normal(size=(2000, 8))
    chain = np.cumsum(steps, axis=1)  # neighbours are alike, far ones are not
    numbers = cluster(chain)
    assert len(set(numbers.tolist())) > 1
    sample = chain[::2]
    ranks = np.argsort(np.argsort(sample, axis=0), axis=0)
    correlation = np.abs(np.corrcoef(ranks, rowvar=False))
    for number in set(numbers.tolist()):
        members = np.flatnonzero(numbers == number)
        assert correlation[np.ix_(members, members)].min() >= 0.8 - 1e-9


def test_pairs_with_few_rows_in_common_are_not_called_alike() -> None:
    values = np.full((400, 2), np.nan)
    values[:10] = np.arange(10)[:, None]
    assert len(set(cluster(values).tolist())) == 2


def test_one_column_is_one_group() -> None:
    assert cluster(np.ones((5, 1))).tolist() == [1]


def test_contributions_are_summed_row_by_row_so_that_members_can_cancel() -> None:
    contributions = np.zeros((400, 5))
    contributions[:, 0], contributions[:, 1] = 1.0, -0.8
    contributions[:, 3] = np.tile([0.5, -0.5], 200)
    explained = Explained(("a", "b", "c", "d", "e"), _values(), contributions, 0.0, contributions.sum(axis=1), 0.0)
    found = groups(explained, {"a": "first"})
    assert [item.features for item in found] == [("d",), ("a", "b", "c"), ("e",)]
    assert found[1].meanings == ("first", "b", "c")
    assert (found[1].mean_contribution, found[1].apart) == pytest.approx((0.2, 1.8))
    assert found[0].mean_contribution == pytest.approx(0.5)
    assert sum(item.share for item in found) == pytest.approx(1.0)
