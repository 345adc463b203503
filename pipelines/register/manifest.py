"""The manifest of a registered version: what it was made from, and what it is to be served with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feature_repo.windows import DAY
from pipelines.artefacts import DatasetManifest, file_hash
from pipelines.gate import Gate
from pipelines.model_store import BOOSTER
from pipelines.register.candidate import Candidate
from pipelines.registry import made_from
from pipelines.settings.labels import ChurnLabel, microseconds
from pipelines.settings.models import ModelConfig


def build_manifest(
    config: ModelConfig,
    dataset: DatasetManifest,
    candidate: Candidate,
    training: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    gates: tuple[Gate, ...],
) -> dict[str, Any]:
    """As JSON. Instants: int64 microseconds UTC. How a booster was fitted is said of boosters alone."""
    fitted = ("params", "rounds", "calibration", "seeds", "monotone") if candidate.kind == BOOSTER else ()
    return {
        **made_from(config, dataset, gates),
        "kind": candidate.kind,
        "candidate": candidate.name,
        "file_hash": file_hash(candidate.file),
        # How the columns of the model are made of the features.
        "inputs": candidate.inputs.to_json(),
        "columns": list(candidate.inputs.names),
        "population": _population(config),
        **{name: training[name] for name in fitted if name in training},
        "metrics": _metrics(evaluation, candidate.name),
    }


def _population(config: ModelConfig) -> dict[str, Any] | None:
    """Who the model is about, as the service can tell it from the features it reads."""
    if not isinstance(config.label, ChurnLabel) or config.baselines.bg_nbd is None:
        return None
    recency = config.baselines.bg_nbd.recency
    return {"feature": recency, "at_most": microseconds(config.label.activity_window) / DAY}


def _metrics(evaluation: Mapping[str, Any], name: str) -> dict[str, Any]:
    own = next(model for model in evaluation["models"] if model["name"] == name)
    return {**own, "test_rows": evaluation["test_rows"], "positive_rate": evaluation["positive_rate"]}
