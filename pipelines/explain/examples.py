"""Single customers with their reasons, as the page and `report.json` show them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from feature_repo.reasons import reason_codes, sigmoid
from pipelines.explain.contributions import example_rows, explain_rows
from pipelines.explain.hints import Hint, Hints
from pipelines.explain.material import Material

_REASONS = 6


def examples(material: Material, hints: Hints, average: tuple[Hint, ...]) -> tuple[list[dict[str, Any]], float]:
    """Rows at fixed ranks of the probability and the surest mistakes; and the worst miss of additivity among them.

    Raises:
        AdditivityError: contributions do not sum to a score.
    """
    test, inputs = material.test, material.inputs
    chosen = example_rows(material.probabilities, material.labels)
    explained = explain_rows(material.booster, inputs[list(chosen)])
    features = test[list(material.dataset.manifest.features)].to_numpy(dtype=np.float64)
    made = []
    for at, (row, roles) in enumerate(chosen.items()):
        contributions = np.append(explained.contributions[at], explained.base)
        reasons = reason_codes(contributions, inputs[row], explained.names, _REASONS, material.words)
        shown = sum(reason.contribution for reason in reasons)
        sizes, moved = sum(abs(reason.contribution) for reason in reasons), np.abs(explained.contributions[at]).sum()
        made.append({
            "customer_id": str(test["customer_id"].iloc[row]), "as_of": f"{test['as_of'].iloc[row]:%Y-%m-%d}",
            "label": int(test["label"].iloc[row]), "roles": roles,
            "probability": float(sigmoid(explained.scores[at])), "log_odds": float(explained.scores[at]),
            "base": explained.base, "others": float(explained.contributions[at].sum()) - shown,
            "shown_share": float(sizes / moved) if moved > 0 else None,
            "other_features": len(explained.names) - len(reasons), "reasons": [asdict(reason) for reason in reasons],
            "hints": hints.of_customer(features[row], average),
        })  # fmt: skip
    return made, explained.gap
