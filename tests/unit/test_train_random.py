from __future__ import annotations

from pathlib import Path

from pipelines.artefacts import MODEL, RANDOM_MODEL, TRAINING, TUNING, read_json, write_json
from pipelines.train import train
from tests.unit.model_parts import make_settings, saved_dataset, small_config

PARAMS = {"learning_rate": 0.1, "num_leaves": 7}


def test_what_random_search_found_is_fitted_as_the_tuned_model_is(tmp_path: Path) -> None:
    project = make_settings(tmp_path)
    config, folder = small_config(project), project.workspace.artefacts("churn")
    saved_dataset(project, config)
    write_json(folder / TUNING, {"params": PARAMS, "rounds": 20, "random": {"params": {"num_leaves": 3}}})
    summary = train(project, config)
    assert summary.random is not None
    assert "random" in summary.text()
    written = read_json(folder / TRAINING)
    assert written["random"]["params"] == {"num_leaves": 3}
    assert written["random"]["rounds"] == summary.random.rounds
    assert (folder / RANDOM_MODEL).read_bytes() != (folder / MODEL).read_bytes()
    write_json(folder / TUNING, {"params": PARAMS, "rounds": 20, "random": {"params": PARAMS}})
    train(project, config)
    assert (folder / RANDOM_MODEL).read_bytes() == (folder / MODEL).read_bytes()
    write_json(folder / TUNING, {"params": PARAMS, "rounds": 20})
    assert train(project, config).random is None
    assert not (folder / RANDOM_MODEL).exists()
    assert "random" not in read_json(folder / TRAINING)
