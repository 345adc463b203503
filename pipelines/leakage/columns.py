"""A single column that tells the labels apart nearly by itself may hold the outcome."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipelines.artefacts import ID_COLUMNS, Dataset
from pipelines.leakage.areas import separation
from pipelines.leakage.results import Alarm


def single_feature(dataset: Dataset, highest: float) -> Alarm:
    """The AUC of each feature and computed column alone on the train part, and of whether it is empty."""
    train = dataset.part("train")
    features = train.drop(columns=list(ID_COLUMNS))
    inputs = dataset.inputs("train")
    columns = pd.concat([features, inputs[[name for name in inputs if name not in features]]], axis=1)
    labels = train["label"].to_numpy(dtype=np.float64)
    alone = {str(name): separation(labels, columns[name].to_numpy(dtype=np.float64)) for name in columns}
    ranked = sorted(alone.items(), key=lambda item: -item[1][0])
    strong = [(name, found) for name, found in ranked if found[0] >= highest]
    figure = ranked[0][1][0] if ranked else 0.5
    if strong:
        named = ", ".join(f"{name} ({what}: AUC {area:.3f})" for name, (area, what) in strong)
        detail = (
            f"{named} alone nearly tells the label. Check whether it holds the outcome, or something that is "
            "written down because of the outcome: when does its source learn it, and what stands in available_at?"
        )
    else:
        named = ", ".join(f"{name} ({what}) {area:.3f}" for name, (area, what) in ranked[:5])
        detail = f"strongest of {len(ranked):,} columns alone, by AUC: {named}"
    figures = {name: area for name, (area, _) in (strong or ranked[:5])}
    return Alarm("single_feature", bool(strong), figure, highest, "AUC of the strongest column alone", detail, figures)
