"""How often the gates let a challenger past that is truly worse, and one that is as good, than the champion."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest

from pipelines.boosting import parameters, probability
from pipelines.register import TUNED, Evidence, check_gates
from pipelines.scoring.bootstrap import Resampled, resample
from pipelines.scoring.metrics import auc, calibration_error, noise_floor
from pipelines.settings.models import GateConfig

Rows = tuple[np.ndarray, np.ndarray]
REPEATS = 100
TRAIN, TEST = 1500, 4000
RESAMPLES = 100
GATES = GateConfig(leakage=False)


def rows(generator: np.random.Generator, count: int) -> Rows:
    """Features, and labels of which about half can be told by them."""
    values = generator.normal(size=(count, 5))
    chance = probability(1.2 * values[:, 0] - 0.8 * values[:, 1] + 0.5 * values[:, 0] * values[:, 2])
    return values, (generator.random(count) < chance).astype(np.float64)


def flipped(generator: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """A third of the labels turned round."""
    return np.where(generator.random(len(labels)) < 1 / 3, 1 - labels, labels)


def fitted(train: Rows, seed: int) -> lgb.Booster:
    chosen = {**parameters({"num_leaves": 7, "learning_rate": 0.1, "bagging_freq": 1}, seed, TRAIN), "num_threads": 1}
    return lgb.train({**chosen, "bagging_fraction": 0.8}, lgb.Dataset(*train, params=chosen), 50)


def judged(labels: np.ndarray, models: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """What the evaluation leaves of each model but the champion, by its own paired bootstrap; two rows a customer."""
    found = resample(labels, models, np.arange(len(labels)) // 2, RESAMPLES)
    return {name: _evaluation(labels, name, models, found) for name in models if name not in ("champion", "base_rate")}


def _evaluation(
    labels: np.ndarray, name: str, models: dict[str, np.ndarray], found: dict[str, Resampled]
) -> dict[str, Any]:
    against = {other: asdict(found[name].difference(found[other], "log_loss")) for other in ("champion", "base_rate")}
    lost = asdict(found[name].difference(found["champion"], "calibration_error"))
    scores = {
        "name": TUNED,
        "auc": {"estimate": auc(labels, models[name])},
        "calibration_error": calibration_error(labels, models[name]),
        "noise_floor": noise_floor(models[name], simulations=20),
    }
    return {
        "test_rows": len(labels),
        "models": [scores],
        "per_snapshot": [{"snapshot": 0, "models": [scores]}],
        "differences": [{"model": TUNED, "against": "base_rate", "metric": "log_loss", **against["base_rate"]}],
        "champion_comparison": {
            "log_loss": against["champion"],
            "calibration_error": lost,
            "profit": None,
            "worst_slice": None,
        },
    }


def refused(evaluation: dict[str, Any]) -> bool:
    gates = check_gates(GATES, Evidence(evaluation, champion="comparable"))
    return any(not gate.passed for gate in gates)


@pytest.mark.slow
def test_a_worse_challenger_is_refused_and_others_have_their_chance() -> None:
    """Worse: a third of its labels were wrong. As good: other customers. Better: four times as many customers.

    An upper bound of the loss is asked for, so that who is only as good is often refused: the test has to be large
    before it can tell that nothing is lost.
    """
    count = dict.fromkeys(("worse", "as_good", "better"), 0)
    for repeat in range(REPEATS):
        generator = np.random.default_rng(repeat)
        values, labels = rows(generator, TEST)
        train, other, more = (rows(generator, size) for size in (TRAIN, TRAIN, 4 * TRAIN))
        made = {
            "champion": fitted(train, repeat),
            "worse": fitted((train[0], flipped(generator, train[1])), repeat + 1),
            "as_good": fitted(other, repeat + 1),
            "better": fitted(more, repeat + 1),
        }
        models = {name: booster.predict(values) for name, booster in made.items()}
        models["base_rate"] = np.full(TEST, float(train[1].mean()))
        for name, evaluation in judged(labels, models).items():
            count[name] += refused(evaluation)
    print(f"refused of {REPEATS}: {count}")
    assert count["worse"] >= 95
    assert 30 <= count["as_good"] <= 90
    assert count["better"] <= 15
