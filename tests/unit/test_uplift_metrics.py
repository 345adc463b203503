from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.uplift.metrics import METRICS, OneAction, Ranked, ranked, ranking
from tests.reference import uplift as reference

ROW = st.tuples(
    st.integers(-3, 3), st.integers(-5, 5), st.booleans(), st.sampled_from([0.1, 0.25, 0.5, 0.9]), st.integers(-9, 9)
)
ROWS = st.lists(ROW, min_size=2, max_size=25).filter(lambda rows: len({row[2] for row in rows}) == 2)


def parts(rows: list[tuple[int, int, bool, float, int]]) -> tuple[OneAction, np.ndarray]:
    scores, rewards, treated, chances, effects = (np.array(column) for column in zip(*rows, strict=True))
    trial = OneAction(rewards.astype(float), treated, chances, effects.astype(float), np.arange(len(rows)))
    return trial, scores.astype(float)


def estimates(trial: OneAction, scores: np.ndarray, share: float = 0.2) -> dict[str, float]:
    found = ranking(trial, scores, share).metrics(np.ones((1, len(scores))))[:, 0]
    return dict(zip(METRICS, found.tolist(), strict=True))


def test_an_example_by_hand() -> None:
    # Best first: treated 1, control 0, treated 0, control 1. Q = 1, 1, 1 - 0, 1 - 1 * 2/2 over 4.
    trial = OneAction(
        np.array([1.0, 0.0, 0.0, 1.0]),
        np.array([True, False, True, False]),
        np.full(4, 0.5),
        np.array([2.0, 0.0, 0.0, -2.0]),
        np.arange(4),
    )
    found = estimates(trial, np.array([4.0, 3.0, 2.0, 1.0]), share=0.5)
    # Trapezoids of (0, 1, 1, 1, 0) / 4 over quarters: (.5 + 1 + 1 + .5) / 16; the straight line ends at 0.
    assert found["qini"] == pytest.approx(3 / 16)
    # U = 0 (no control yet), 1 * 2/4, .5 * 3/4, 0: (0 + 2 * .5 + 2 * .375 + 0) / 8 = .21875
    assert found["auuc"] == pytest.approx(0.21875)
    assert found["uplift"] == pytest.approx(1.0)
    assert found["dr_gain"] == pytest.approx(0.5)


@given(ROWS, st.sampled_from([0.1, 0.2, 0.5, 1.0]))
def test_metrics_are_those_of_their_definitions(rows: list[tuple[int, int, bool, float, int]], share: float) -> None:
    trial, scores = parts(rows)
    expected = reference.metrics(
        *(list(values.tolist()) for values in (scores, trial.reward, trial.treated, trial.propensity)),
        trial.pseudo_effect.tolist(),
        share,
    )
    found = estimates(trial, scores, share)
    for name in METRICS:
        assert found[name] == pytest.approx(expected[name], abs=1e-9, nan_ok=True), name


@given(ROWS)
def test_only_the_order_of_scores_counts(rows: list[tuple[int, int, bool, float, int]]) -> None:
    trial, scores = parts(rows)
    assert estimates(trial, scores) == pytest.approx(estimates(trial, np.exp(2.0 * scores) - 5.0), nan_ok=True)
    back = np.arange(len(rows))[::-1]
    turned = OneAction(
        *(values[back] for values in (trial.reward, trial.treated, trial.propensity, trial.pseudo_effect)),
        trial.cluster,
    )
    assert estimates(turned, scores[back]) == pytest.approx(estimates(trial, scores), abs=1e-9, nan_ok=True)


@given(ROWS, st.integers(-9, 9))
def test_a_constant_score_is_a_random_ranking(rows: list[tuple[int, int, bool, float, int]], score: int) -> None:
    trial, _ = parts(rows)
    found = estimates(trial, np.full(len(rows), float(score)))
    weights = 1.0 / trial.propensity
    effect = float(
        np.average(trial.reward[trial.treated], weights=weights[trial.treated])
        - np.average(trial.reward[~trial.treated], weights=weights[~trial.treated])
    )
    assert found["qini"] == pytest.approx(0.0, abs=1e-9)
    assert found["auuc"] == pytest.approx(effect / 2.0, abs=1e-9)
    assert found["uplift"] == pytest.approx(effect, abs=1e-9)
    assert found["dr_gain"] == pytest.approx(0.2 * trial.pseudo_effect.mean(), abs=1e-9)


@given(ROWS, st.floats(0.1, 100.0))
def test_metrics_are_in_units_of_the_reward(rows: list[tuple[int, int, bool, float, int]], unit: float) -> None:
    trial, scores = parts(rows)
    dearer = OneAction(unit * trial.reward, trial.treated, trial.propensity, unit * trial.pseudo_effect, trial.cluster)
    expected = {name: unit * value for name, value in estimates(trial, scores).items()}
    assert estimates(dearer, scores) == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


def half_treated(n: int = 4000, seed: int = 0) -> tuple[OneAction, np.ndarray]:
    """A trial in which the true effect is uniform from 0 to .4; two rows a customer."""
    random = np.random.default_rng(seed)
    effect = np.repeat(random.random(n // 2) * 0.4, 2)
    treated = random.random(n) < 0.5
    reward = (random.random(n) < 0.3 + effect * treated).astype(float)
    psi = np.where(treated, 2.0, -2.0) * (reward - 0.4)
    return OneAction(reward, treated, np.full(n, 0.5), psi, np.arange(n) // 2), effect


def test_where_half_is_treated_the_area_of_uplift_is_twice_the_qini() -> None:
    trial, effect = half_treated(40_000)
    found = estimates(trial, effect)
    mean = trial.reward[trial.treated].mean() - trial.reward[~trial.treated].mean()
    assert found["auuc"] - mean / 2.0 == pytest.approx(2.0 * found["qini"], rel=0.15)
    # The truth: acting on the best phi brings .4 phi - .2 phi², area .2 - .2/3, against .1 at random.
    assert found["qini"] == pytest.approx((0.2 - 0.2 / 3.0 - 0.1) / 2.0, abs=0.004)
    assert found["uplift"] == pytest.approx(0.36, abs=0.04)
    assert found["dr_gain"] == pytest.approx(0.2 * 0.36, abs=0.01)


def test_a_resample_is_the_sample_with_customers_drawn_again() -> None:
    trial, effect = half_treated(60)
    counts = np.random.default_rng(1).integers(0, 3, (1, 30))[:, trial.cluster]
    taken = np.repeat(np.arange(60), counts[0])
    drawn = OneAction(
        *(values[taken] for values in (trial.reward, trial.treated, trial.propensity, trial.pseudo_effect)),
        trial.cluster[taken],
    )
    found = ranking(trial, effect, 0.2).metrics(counts.astype(float))[:, 0]
    assert dict(zip(METRICS, found.tolist(), strict=True)) == pytest.approx(estimates(drawn, effect[taken]))


def compared() -> dict[str, Ranked]:
    trial, effect = half_treated()
    noise = np.random.default_rng(5).random(len(effect))
    return ranked(trial, {"true": effect, "again": 3.0 * effect, "noise": noise}, resamples=200)


def test_intervals_tell_a_good_ranking_from_none() -> None:
    found = compared()
    for metric in METRICS:
        low = found["true"].interval(metric).low
        assert low is not None
        assert low > 0
        same = found["true"].difference(found["again"], metric)
        assert (same.low, same.high) == pytest.approx((0.0, 0.0), abs=1e-12)
    noise = found["noise"].interval("qini")
    assert noise.low is not None
    assert noise.high is not None
    assert noise.low < 0.0 < noise.high
    better = found["true"].difference(found["noise"], "qini")
    assert better.low is not None
    assert better.low > 0.0
    again = compared()
    np.testing.assert_array_equal(found["noise"].draws, again["noise"].draws)


def test_what_cannot_be_ranked_is_told() -> None:
    trial, effect = half_treated(20)
    with pytest.raises(ValueError, match="1 of 20 are NaN"):
        ranking(trial, np.where(np.arange(20) == 3, np.nan, effect), 0.2)
    with pytest.raises(ValueError, match="share: expected above 0, up to 1, got 0"):
        ranking(trial, effect, 0.0)
    one_arm = OneAction(trial.reward, np.ones(20, dtype=bool), trial.propensity, trial.pseudo_effect, trial.cluster)
    with pytest.raises(ValueError, match="both arms, got 20 of 20"):
        ranking(one_arm, effect, 0.2)
