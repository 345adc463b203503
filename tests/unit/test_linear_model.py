"""Simple models as they are served: against scikit-learn and the plain formula, and to the last bit of their bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from feature_repo.bg_nbd import BgNbd, history
from feature_repo.linear_model import LinearModel, Term, linear_from_json
from feature_repo.model_inputs import NO_ORDER, BuyingRhythm, ModelInputs
from feature_repo.reasons import check_additive, reason_codes
from pipelines import bg_nbd
from pipelines.evaluate.baselines import bg_nbd_baseline, fit_logistic, logistic, newest
from pipelines.fitted_model import SimpleModel, read_fitted, read_simple_models, write_simple_models
from pipelines.scoring.metrics import on_line
from tests.reference import churn_artefacts
from tests.reference.churn_artefacts import FEATURES

MODEL = LinearModel(
    ("recency", "spend", "unread", "chance"),
    -0.4,
    (
        Term("recency", "signed_log", 0.8, 3.1, 2.0),
        Term("recency", "is_empty", -0.3, 0.1),
        Term("spend", "signed_log", -0.5, 8.0, 7.5),
        Term("chance", "log_odds", 0.9, -0.2, 0.1),
    ),
)


def rows(count: int) -> np.ndarray:
    generator = np.random.default_rng(5)
    made = generator.lognormal(3, 2, (count, 4)) * generator.choice([-1, 1], (count, 4))
    made[:, 3] = generator.random(count)
    made[generator.random(made.shape) < 0.1] = np.nan
    return made


def test_the_score_is_the_formula() -> None:
    score = MODEL.raw_scores(np.array([[-10.0, np.nan, 5.0, 0.25]]))[0]
    recency, spend, chance = -np.log(11.0), 7.5, np.log(0.25 / 0.75)
    expected = -0.4 + 0.8 * (recency - 3.1) - 0.3 * (0 - 0.1) - 0.5 * (spend - 8.0) + 0.9 * (chance + 0.2)
    assert score == pytest.approx(expected, abs=1e-12)
    assert MODEL.predict(np.array([[-10.0, np.nan, 5.0, 0.25]]))[0] == pytest.approx(expit(expected), abs=1e-12)


@given(arrays(np.float64, (7, 4), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_contributions_sum_to_a_finite_score_whatever_is_read(matrix: np.ndarray) -> None:
    parts, scores = MODEL.contributions(matrix), MODEL.raw_scores(matrix)
    assert np.isfinite(scores).all()
    check_additive(parts, scores)
    assert (parts[:, 2] == 0).all(), "no term reads it"
    assert (parts[:, -1] == -0.4).all()


def test_one_row_has_the_bits_that_it_has_among_ten_thousand() -> None:
    matrix = rows(10_000)
    for layout in (matrix, np.asfortranarray(matrix)):
        parts, chances = MODEL.contributions(layout), MODEL.predict(layout)
        for at in range(0, 10_000, 7):
            assert np.array_equal(MODEL.contributions(layout[at : at + 1])[0], parts[at])
            assert MODEL.predict(layout[at : at + 1])[0] == chances[at]


def test_it_survives_json_to_the_last_bit() -> None:
    again = linear_from_json(json.loads(json.dumps(MODEL.to_json())))
    assert again == MODEL
    assert np.array_equal(again.predict(rows(500)), MODEL.predict(rows(500)))


@pytest.mark.parametrize(
    "change",
    [
        {"terms": [{"column": "gone", "transform": "is_empty", "coefficient": 1.0, "mean": 0.0}]},
        {"terms": [{"column": "spend", "transform": "exec", "coefficient": 1.0, "mean": 0.0}]},
        {"terms": [{"column": "spend", "transform": "is_empty", "coefficient": float("nan"), "mean": 0.0}]},
        {"terms": [{"column": "spend"}]},
        {"terms": None},
    ],
)
def test_json_of_something_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        linear_from_json({**MODEL.to_json(), **change})


def test_a_matrix_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="4 columns"):
        MODEL.predict(np.zeros((2, 3)))


def test_reasons_name_what_moved_the_score() -> None:
    matrix = rows(20)[3:4]
    reasons = reason_codes(MODEL.contributions(matrix)[0], matrix[0], MODEL.columns, meanings={"spend": "total spend"})
    assert {reason.feature for reason in reasons} <= {"recency", "spend", "chance"}
    assert any(reason.meaning == "total spend" for reason in reasons)


def test_the_logistic_baseline_is_scikit_learns() -> None:
    """By its own scaler and pipeline of arrays, with empty values in two of the columns."""
    train = churn_artefacts.dataset(600).part("train")
    columns = [FEATURES[0], FEATURES[3], FEATURES[4]]
    train.loc[::9, FEATURES[3]] = np.nan
    values = train[columns].to_numpy()
    logs = np.sign(values) * np.log1p(np.abs(values))
    filled = np.where(np.isnan(logs), np.nanmedian(logs, axis=0), logs)
    design = np.hstack([StandardScaler().fit_transform(filled), np.isnan(logs)[:, 1:].astype(float)])
    oracle = LogisticRegression(C=1.0, max_iter=1000).fit(design, train["label"])
    ours = fit_logistic(train, columns)
    # Ridge does not see where a 0/1 column is centred; the intercept is free.
    np.testing.assert_allclose(ours.predict(values), oracle.predict_proba(design)[:, 1], atol=2e-4, rtol=0)
    assert [term.transform for term in ours.terms] == ["signed_log"] * 3 + ["is_empty"] * 2


def test_calibrated_bg_nbd_is_its_line_on_the_papers_probability() -> None:
    config = churn_artefacts.config()
    made = churn_artefacts.dataset(800)
    train, test = made.part("train"), made.part("test")
    test.loc[::10, FEATURES[2]] = np.nan
    assert config.baselines.bg_nbd is not None
    found = bg_nbd_baseline(train, test, config.baselines.bg_nbd, config.label)
    assert found.model is not None
    term = found.model.linear.terms[0]
    intercept = found.model.linear.intercept - term.coefficient * term.mean
    np.testing.assert_allclose(found.calibrated, on_line(found.raw, intercept, term.coefficient), atol=1e-9, rtol=0)
    np.testing.assert_array_equal(found.model.predict(test), found.calibrated)
    late = train[newest(train)]
    assert found.model.predict(late).mean() == pytest.approx(late["label"].mean(), abs=1e-3)


def test_after_a_gap_bg_nbd_is_compared_but_cannot_be_served() -> None:
    config = churn_artefacts.config()
    made = churn_artefacts.dataset(500)
    label = config.label.model_copy(update={"gap": "7d"})
    assert config.baselines.bg_nbd is not None
    found = bg_nbd_baseline(made.part("train"), made.part("test"), config.baselines.bg_nbd, label)
    assert found.model is None
    assert np.isfinite(found.calibrated).all()


def test_simple_models_come_out_of_their_file_as_they_went_in(tmp_path: Path) -> None:
    made = churn_artefacts.dataset(400)
    model = logistic(made.part("train"), churn_artefacts.config().baselines.logistic)
    write_simple_models(tmp_path, {"logistic": model}, "data")
    assert read_simple_models(tmp_path, "data") == {"logistic": model}
    assert read_simple_models(tmp_path, "other data") == {}
    assert read_simple_models(tmp_path / "elsewhere", "data") == {}
    file = tmp_path / "linear.json"
    file.write_text(json.dumps(model.linear.to_json()))
    test = made.part("test")
    np.testing.assert_array_equal(read_fitted(file, model.inputs).predict(test), model.predict(test))
    assert read_fitted(file).missing(test.drop(columns=FEATURES[1])) == [FEATURES[1]]


def test_computed_columns_have_the_same_bits_alone_and_among_many() -> None:
    """What the service computes for one customer is what training computed for all."""
    generator = np.random.default_rng(8)
    count = 10_000
    features = np.column_stack([
        generator.exponential(40, count), generator.poisson(3, count), generator.uniform(0, 700, count),
        generator.normal(size=(count, 9)),
    ])  # fmt: skip
    features[generator.random(features.shape) < 0.05] = np.nan
    names = ("recency", "frequency", "age", *(f"f{number}" for number in range(9)))
    rhythm = BuyingRhythm(BgNbd(0.7, 33.0, 0.9, 3.1), *names[:3], horizon=60.0)
    inputs = ModelInputs(names, names[3:], rhythm)
    whole = inputs.matrix(features)
    assert np.array_equal(inputs.matrix(np.asfortranarray(features)), whole, equal_nan=True)
    for at in range(0, count, 3):
        assert np.array_equal(inputs.matrix(features[at : at + 1])[0], whole[at], equal_nan=True)
    x, t_x, age, known = history(*features[:, :3].T)
    expected = bg_nbd.no_purchase_probability(rhythm.model, x[known], t_x[known], age[known], 60.0)
    np.testing.assert_allclose(whole[known, inputs.names.index(NO_ORDER)], expected, atol=1e-12, rtol=0)


def test_a_simple_model_may_have_no_direct_column() -> None:
    rhythm = BuyingRhythm(BgNbd(0.7, 33.0, 0.9, 3.1), "a", "b", "c", horizon=60.0)
    model = SimpleModel(ModelInputs(("a", "b", "c"), (), rhythm), LinearModel((), 0.0, ()))
    assert model.inputs.matrix(np.array([[1.0, 2.0, 9.0]])).shape == (1, 2)
