"""The predicting half of LightGBM, against LightGBM's own package."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from pipelines.settings import CHECKOUT
from serving.booster import Booster, BoosterError
from tests.unit.serving_parts import train

NAMES = ("recency", "ordini_à_vie", "ราคา", "value_mean_90d")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.lgb"
    train(NAMES).save_model(path)
    return path


def matrix(rows: int) -> np.ndarray:
    rng = np.random.default_rng(rows)
    values = rng.exponential(2.0, (rows, len(NAMES)))
    values[rng.random(values.shape) < 0.2] = np.nan
    values[rng.random(values.shape) < 0.02] = np.inf
    return values


@pytest.mark.parametrize("rows", [1, 2, 1000])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_every_answer_is_lightgbms_to_the_last_bit(file: Path, rows: int, layout: str) -> None:
    ours, theirs = Booster(file), lgb.Booster(model_file=file)
    values = np.array(matrix(rows), order=layout)  # type: ignore[call-overload]
    assert np.array_equal(ours.predict(values), theirs.predict(values))
    assert np.array_equal(ours.raw_scores(values), theirs.predict(values, raw_score=True))
    assert np.array_equal(ours.contributions(values), theirs.predict(values, pred_contrib=True))
    assert ours.feature_name() == theirs.feature_name() == list(NAMES)


def test_a_slice_is_read_as_the_rows_it_shows(file: Path) -> None:
    values = matrix(100)
    assert np.array_equal(Booster(file).predict(values[::3]), Booster(file).predict(values)[::3])


def test_no_rows_have_no_answers(file: Path) -> None:
    none = np.empty((0, len(NAMES)))
    assert Booster(file).predict(none).shape == (0,)
    assert Booster(file).contributions(none).shape == (0, len(NAMES) + 1)


def test_threads_may_share_one(file: Path) -> None:
    booster, values = Booster(file), matrix(200)
    expected, parts = booster.predict(values), booster.contributions(values)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda row: booster.predict(values[row : row + 1])[0], range(200)))
        reasons = list(pool.map(lambda row: booster.contributions(values[row : row + 1])[0], range(200)))
    assert np.array_equal(answers, expected)
    assert np.array_equal(reasons, parts)


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (2, 5), (4,)])
def test_a_matrix_that_does_not_fit_is_refused(file: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(BoosterError, match="4 features"):
        Booster(file).predict(np.zeros(shape))


@pytest.mark.parametrize("content", ["", "not a model", "tree\nversion=v4\nnum_class=1\n"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.lgb").write_text(content)
    with pytest.raises(BoosterError):
        Booster(tmp_path / "model.lgb")


def test_a_model_of_several_classes_is_refused(tmp_path: Path) -> None:
    data = lgb.Dataset(matrix(300), np.arange(300) % 3)
    lgb.train({"objective": "multiclass", "num_class": 3, "verbosity": -1}, data, 2).save_model(tmp_path / "m.lgb")
    with pytest.raises(BoosterError, match="several"):
        Booster(tmp_path / "m.lgb")


def test_the_service_starts_without_what_it_does_not_need() -> None:
    heavy = ("lightgbm", "sklearn", "scipy", "pandas", "mlflow", "feast", "duckdb", "pyarrow", "shap")
    code = f"import sys, serving.service, serving.booster; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
