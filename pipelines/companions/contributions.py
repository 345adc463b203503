"""Which inputs move a companion's predictions: mean absolute SHAP values of each booster of the prediction itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from feature_repo.reasons import check_additive
from pipelines.artefacts import Dataset
from pipelines.boosting import Floats
from pipelines.companions.storage import CompanionModel, boosters_of
from pipelines.companions.time_model import PERIOD, TimeModel
from pipelines.companions.value_model import ENDS

_ROWS = 1000
_TOP = 15
_SEED = 20050501
SCALES = {
    "mean": "the raw score (money for `l2`, its logarithm for `tweedie`)",
    "chance": "log-odds of bringing anything",
    "amount": "the logarithm of the amount, of those who bring something",
    "hazard": "log-odds of an order in a period",
}


@dataclass(frozen=True, slots=True)
class Mover:
    """One input: mean absolute contribution on the booster's raw scale, and its share of all inputs' sum."""

    feature: str
    meaning: str
    contribution: float
    share: float


def movers(model: CompanionModel, dataset: Dataset, meanings: Mapping[str, str]) -> dict[str, tuple[Mover, ...]]:
    """The strongest inputs of each booster, by name, over test rows drawn with a fixed seed; ends of intervals apart.

    Raises:
        AdditivityError: a row's contributions miss its score by more than 1e-9.
    """
    values = _rows(model, dataset)
    words = {**meanings, **model.inputs.words(), PERIOD: "days from now to the start of the week that is asked for"}
    found = {}
    for name, booster in boosters_of(model).items():
        if name in ENDS:
            continue
        contributions = np.asarray(booster.predict(values, pred_contrib=True), dtype=np.float64)
        check_additive(contributions, np.asarray(booster.predict(values, raw_score=True), dtype=np.float64))
        sizes = np.abs(contributions[:, :-1]).mean(axis=0)
        total, names = float(sizes.sum()) or 1.0, booster.feature_name()
        found[name] = tuple(
            Mover(names[at], words.get(names[at], names[at]), float(sizes[at]), float(sizes[at]) / total)
            for at in np.argsort(-sizes, kind="stable")[:_TOP].tolist()
            if sizes[at] > 0
        )
    return found


def _rows(model: CompanionModel, dataset: Dataset) -> Floats:
    """Test rows as the boosters read them; of a time model each at one of its periods."""
    generator = np.random.default_rng(_SEED)
    values = dataset.inputs("test").to_numpy(dtype=np.float64)
    values = values[np.sort(generator.permutation(len(values))[:_ROWS])]
    if isinstance(model, TimeModel):
        values = np.column_stack([values, generator.choice(model.edges[:-1], len(values))])
    return np.ascontiguousarray(values)
