from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.artefacts import Dataset
from pipelines.boosting import LearningRows, drawn, learning_customers, learning_rows, make_folds, sampled_rows
from tests.unit.model_parts import make_dataset


@given(st.lists(st.integers(0, 40), max_size=120), st.integers(1, 130), st.integers(0, 40))
def test_a_draw_is_of_whole_customers_and_a_larger_one_holds_it(owners: list[int], most: int, more: int) -> None:
    customers = np.array([f"customer {owner}" for owner in owners], dtype=object)
    places = drawn(customers, most)
    assert (np.diff(places) > 0).all()
    chosen = set(customers[places])
    assert set(np.flatnonzero(np.isin(customers.astype(str), [str(one) for one in chosen]))) == set(places)
    counts = np.unique(customers.astype(str), return_counts=True)[1]
    if len(customers) and counts.min() > most:
        assert (len(chosen), len(places)) == (1, counts.min())
        return
    assert len(places) <= most
    if len(customers) > most:
        assert len(places) + counts.max() > most, "no room was left for one customer more"
    if len(customers) and 2 * counts.max() <= most:
        assert set(places) <= set(drawn(customers, most + more))
    assert len(places) or not len(customers)


def test_a_customer_with_too_many_rows_is_passed_over_wherever_it_stands_in_line() -> None:
    others = [f"customer {number}" for number in range(200) for _ in range(2)]
    for number in range(20):
        customers = np.array([f"large {number}"] * 90 + others, dtype=object)
        places = drawn(customers, 80)
        assert places.min() >= 90
        assert 40 <= len(places) <= 80
        # A customer of 60 rows does not fit once 21 are taken, which is no draw to learn from yet.
        assert 40 <= len(drawn(np.array([f"large {number}"] * 60 + others, dtype=object), 80)) <= 80


def rows_of(customers: int) -> tuple[LearningRows, np.ndarray]:
    dataset = make_dataset(customers)
    return learning_rows(dataset), learning_customers(dataset)


def test_every_snapshot_and_every_fold_stands_in_a_draw_as_in_all_rows() -> None:
    rows, customers = rows_of(3000)
    sample = sampled_rows(rows, customers, 4500)
    assert 4400 < len(sample.labels) <= 4500
    for snapshot in np.unique(rows.snapshots):
        assert (sample.snapshots == snapshot).sum() == len(sample.labels) / 3
    for number in np.unique(rows.folds):
        assert abs((sample.folds == number).mean() - (rows.folds == number).mean()) < 0.03
    places = drawn(customers, 4500)
    np.testing.assert_array_equal(sample.values, rows.values[places])
    np.testing.assert_array_equal(sample.labels, rows.labels[places])
    assert sampled_rows(rows, customers, 9000) is rows


def test_the_order_of_rows_changes_nothing_in_who_is_drawn() -> None:
    _, customers = rows_of(500)
    shuffled = np.random.default_rng(0).permutation(customers)
    assert set(customers[drawn(customers, 700)]) == set(shuffled[drawn(shuffled, 700)])


def test_folds_of_a_draw_say_where_their_rows_stand_among_all() -> None:
    rows, customers = rows_of(400)
    places = drawn(customers, 600)
    folds, alone = make_folds(rows, 7, places), make_folds(sampled_rows(rows, customers, 600), 7)
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.rows for fold in folds])), places)
    for fold, other in zip(folds, alone, strict=True):
        np.testing.assert_array_equal(fold.values, rows.values[fold.rows])
        np.testing.assert_array_equal(fold.rows, places[other.rows])
        assert (fold.number, fold.size) == (other.number, other.size)
        assert fold.fit.num_data() == len(places) - fold.size


def test_what_is_learned_from_is_the_train_part_in_its_order() -> None:
    dataset = make_dataset(200)
    # Rows of both parts in any order, as no dataset says they are sorted.
    dataset = Dataset(dataset.rows.sample(frac=1.0, random_state=1), dataset.manifest)
    rows, train = learning_rows(dataset), dataset.part("train")
    np.testing.assert_array_equal(rows.values, dataset.inputs("train").to_numpy())
    assert rows.names == tuple(dataset.inputs("train").columns)
    np.testing.assert_array_equal(rows.labels, train["label"])
    np.testing.assert_array_equal(rows.folds, train["fold"])
    np.testing.assert_array_equal(rows.snapshots, train["snapshot"].to_numpy(dtype="datetime64[us]"))
    assert learning_customers(dataset).tolist() == train["customer_id"].tolist()
