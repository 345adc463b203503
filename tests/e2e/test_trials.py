"""A model that the project has no data for, from its YAML alone: free trials that become subscriptions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipelines.artefacts import load_dataset, read_json
from pipelines.settings import Workspace
from tests.e2e.cli import quick_configs, throwaway_workspace, twin
from tests.e2e.made_up_lake import Made, write_lake

DAYS, CUSTOMERS = 170, 700


def trials() -> list[Made]:
    """Who uses the app more is likelier to subscribe, from the seventh day to the sixteenth."""
    generator = np.random.default_rng(0)
    events = []
    for number in range(CUSTOMERS):
        customer, begin, liking = f"c{number}", generator.uniform(0, DAYS), generator.random()
        events.append(Made(customer, "Trial Started", begin, properties={"trial_plan_name": "pro", "trial_days": 14}))
        for day in np.flatnonzero(generator.random(14) < 0.1 + 0.8 * liking):
            at = begin + day + generator.random()
            events.append(Made(customer, "Application Opened", at))
            events.append(Made(customer, "Screen Viewed", at + 0.01, properties={"name": f"s{generator.integers(9)}"}))
        if generator.random() < 1 / (1 + np.exp(4 - 7 * liking)):
            at = begin + generator.uniform(7, 16)
            events.append(Made(customer, "Subscription Started", at, value=29900, properties={"plan_name": "pro"}))
    return [event for event in events if event.day < DAYS]


@pytest.fixture(scope="module")
def place() -> Iterator[Workspace]:
    with throwaway_workspace("trials") as workspace:
        write_lake(workspace, trials())
        yield workspace


@pytest.mark.slow
def test_a_model_of_trials_is_trained(place: Workspace, tmp_path: Path) -> None:
    configs = quick_configs(tmp_path)
    file = configs / "models" / "trial_conversion.yaml"
    file.write_text(file.read_text().replace("trials: 40", "trials: 3").replace("rounds: 400", "rounds: 60"))
    told = twin(place, "labels", "explain", "trial_conversion", "--json", config_dir=configs)
    assert told.returncode == 0, told.stderr
    overview = json.loads(told.stdout)
    done = twin(place, "train", "trial_conversion", config_dir=configs)
    assert done.returncode == 0, done.stderr
    folder = place.artefacts("trial_conversion")
    rows = load_dataset(folder).rows
    of_dataset = rows.groupby(["part", "snapshot"])["label"].agg(["size", "sum"]).sum(axis=0)
    used = [one for one in overview["snapshots"] if one["part"] != "dropped"]
    assert (sum(one["rows"] for one in used), sum(one["positives"] for one in used)) == tuple(of_dataset)
    # Whoever subscribed is in no trial any more.
    assert (rows["trial_started_days_since_last_lifetime"] <= 17).all()
    scores = {one["name"]: one for one in read_json(folder / "evaluation.json")["models"]}
    assert scores["lightgbm_tuned"]["auc"]["low"] > 0.6
    assert "Registered trial_conversion version 1" in done.stdout
