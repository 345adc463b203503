"""What can be registered: the tuned booster, or a simple model that the evaluation compared it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_repo.configuration import Problem
from feature_repo.model_inputs import ModelInputs
from pipelines.artefacts import MODEL, SIMPLE_MODELS, DatasetManifest, write_json
from pipelines.console import UserError
from pipelines.fitted_model import SimpleModel, read_simple_models
from pipelines.model_store import BOOSTER, LINEAR, MODEL_FILES

TUNED = "lightgbm_tuned"
WORDS = {"logistic": "the logistic regression", "bg_nbd_calibrated": "calibrated BG/NBD"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model by its `name` in the evaluation, its file, and how its columns are made of the service's features."""

    name: str
    kind: str
    file: Path
    inputs: ModelInputs


def candidate(folder: Path, dataset: DatasetManifest, name: str = TUNED) -> Candidate:
    """The model called `name` of the artefacts in `folder`; the file of a linear one is written there.

    Raises:
        UserError: there is none of this dataset, or it reads what the feature service does not have.
    """
    if name == TUNED:
        return Candidate(name, BOOSTER, folder / MODEL, dataset.inputs)
    models = read_simple_models(folder, dataset.dataset_hash)
    if name not in models:
        known = ", ".join([TUNED, *models])
        problem = Problem("--model", f"one of: {known}", repr(name), "evaluate again: twin evaluate", SIMPLE_MODELS)
        raise UserError(f"There is no {name!r} of this dataset to register.", [problem])
    missing = _missing(models[name], dataset)
    if missing:
        hint = (
            "add them to the service in configs/features.yaml; what the booster must not read stands in inputs.without"
        )
        expected = f"features of the feature service {dataset.feature_service}"
        problems = [Problem("baselines", expected, feature, hint) for feature in missing]
        raise UserError(f"{name} cannot be served: it reads what the service does not.", problems)
    file = folder / MODEL_FILES[LINEAR]
    write_json(file, models[name].linear.to_json())
    return Candidate(name, LINEAR, file, _of_service(models[name].inputs, dataset.features))


def simpler(folder: Path, dataset: DatasetManifest, evaluation: Mapping[str, Any]) -> str | None:
    """A sentence about a simple model that the tuned one is not better than; None where it beats them all.

    One that can be registered is named before one that cannot.
    """
    models = read_simple_models(folder, dataset.dataset_hash)
    rivals = [name for name in models if not _beats(evaluation, name)]
    servable = [name for name in rivals if not _missing(models[name], dataset)]
    if servable:
        command = f"twin register {dataset.model} --model {servable[0]}"
        return f"{_opening(servable[0])} is simpler and, as far as the test can tell, not worse: {command}"
    if rivals:
        lacking = ", ".join(_missing(models[rivals[0]], dataset))
        return (
            f"{_opening(rivals[0])} is simpler and, as far as the test can tell, not worse. It cannot be served: "
            f"the feature service {dataset.feature_service} lacks {lacking}"
        )
    return None


def differences(evaluation: Mapping[str, Any], name: str = TUNED) -> Sequence[Mapping[str, Any]]:
    """Those of the model called `name` minus each other one."""
    found: Sequence[Mapping[str, Any]] = of_candidate(evaluation, name).get("differences", ())
    return [row for row in found if row["model"] == name]


def of_candidate(evaluation: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What the evaluation says of one candidate alone: differences, comparison with the champion, worst slice."""
    if name == TUNED:
        return evaluation
    found: Mapping[str, Any] = evaluation.get("candidates", {}).get(name, {})
    return found


def _missing(model: SimpleModel, dataset: DatasetManifest) -> list[str]:
    return [name for name in model.inputs.features if name not in dataset.features]


def _of_service(inputs: ModelInputs, features: tuple[str, ...]) -> ModelInputs:
    """The same columns out of all features of the service, which the service reads at once."""
    return ModelInputs(features, inputs.direct, inputs.rhythm)


def _beats(evaluation: Mapping[str, Any], rival: str) -> bool:
    rows = (row for row in differences(evaluation) if (row["against"], row["metric"]) == (rival, "log_loss"))
    found = next(rows, None)
    return found is not None and found["high"] is not None and found["high"] < 0


def _opening(name: str) -> str:
    words = WORDS.get(name, name)
    return words[0].upper() + words[1:]
