from __future__ import annotations

from pathlib import Path

import lightgbm as lgb
import numpy as np

from pipelines.artefacts import MODEL, TUNING, write_json
from pipelines.boosting import (
    bin_values,
    drawn,
    learning_customers,
    learning_rows,
    make_folds,
    parameters,
    sampled_rows,
)
from pipelines.fitting import fit_calibrated
from pipelines.train import train
from tests.unit.model_parts import make_settings, saved_dataset, small_config

PARAMS = {"learning_rate": 0.1, "num_leaves": 7}


def test_cross_validation_reads_a_draw_and_the_final_model_all_rows(tmp_path: Path) -> None:
    project = make_settings(tmp_path)
    config, folder = small_config(project, most_rows=1200), project.workspace.artefacts("churn")
    dataset = saved_dataset(project, config, customers=1000)
    write_json(folder / TUNING, {"params": PARAMS, "rounds": 20})
    summary = train(project, config)
    rows, customers = learning_rows(dataset), learning_customers(dataset)
    assert summary.tuned.out_of_fold.rows == 1200
    alone = sampled_rows(rows, customers, 1200)
    on_draw, _ = fit_calibrated(alone, make_folds(alone, 7), PARAMS, config.tune, config.fit)
    assert summary.tuned == on_draw, "trees, calibration and figures are those of the draw"
    data = bin_values(rows.values, rows.labels, list(rows.names), 7)
    whole = lgb.train(parameters(PARAMS, 7, len(rows.labels)), data, summary.tuned.rounds)
    raw = summary.tuned.calibration.slope * whole.predict(rows.values, raw_score=True)
    written = lgb.Booster(model_file=folder / MODEL).predict(rows.values, raw_score=True)
    np.testing.assert_allclose(written, raw + summary.tuned.calibration.intercept, atol=1e-9)
    assert len(drawn(customers, 1200)) == 1200
