"""A fitted companion as files: LightGBM's text for each booster, and `companion.json` with all the rest."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import lightgbm as lgb
import numpy as np

from feature_repo.model_inputs import inputs_from_json
from pipelines.artefacts import MODEL, read_json, write_json
from pipelines.companions.conformal import ConformalOffset
from pipelines.companions.time_model import TimeModel
from pipelines.companions.value_model import ValueModel
from pipelines.present_champion import PresentChampion

CompanionModel: TypeAlias = ValueModel | TimeModel
PresentCompanion: TypeAlias = PresentChampion[CompanionModel]

PARTS = "companion.json"
# The first of them that a companion has is its main booster, in the file that every model has.
_NAMES = ("mean", "chance", "amount", "hazard", "lower", "upper")


def boosters_of(model: CompanionModel) -> dict[str, lgb.Booster]:
    """The boosters by name, the main one first."""
    own = model.boosters if isinstance(model, ValueModel) else {"hazard": model.booster}
    return {name: own[name] for name in _NAMES if name in own}


def files_of(model: CompanionModel) -> dict[str, str]:
    """The file of each booster, by name."""
    return {name: MODEL if at == 0 else f"{name}_model.txt" for at, name in enumerate(boosters_of(model))}


def save_model(folder: Path, model: CompanionModel) -> None:
    """Write the boosters, then `companion.json`; files of an earlier fit that this one lacks are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    files = files_of(model)
    for name in _NAMES:
        if f"{name}_model.txt" not in files.values():
            (folder / f"{name}_model.txt").unlink(missing_ok=True)
    for name, booster in boosters_of(model).items():
        partial = folder / f"{files[name]}.partial"
        booster.save_model(partial)
        os.replace(partial, folder / files[name])
    write_json(folder / PARTS, {"boosters": files, "inputs": model.inputs.to_json(), **_parts(model)})


def load_model(folder: Path, main: str = MODEL) -> CompanionModel:
    """What `save_model` wrote; `main` is the file of the main booster, where it has another name.

    Raises:
        FileNotFoundError: a file is missing.
    """
    raw = read_json(folder / PARTS)
    boosters = {}
    for name, file in raw["boosters"].items():
        path = folder / (main if file == MODEL else file)
        if not path.exists():
            raise FileNotFoundError(2, "no such file", str(path))
        boosters[name] = lgb.Booster(model_file=path)
    inputs = inputs_from_json(raw["inputs"])
    if raw["kind"] == "next_event":
        return TimeModel(np.array(raw["edges_days"]), boosters["hazard"], inputs)
    return ValueModel(raw["form"], raw["unit"], boosters, ConformalOffset(**raw["offset"]), inputs)


def model_hash(folder: Path) -> str:
    """SHA-256 (16 hex digits) of all that is saved: by it later steps know what an earlier one looked at."""
    digest = hashlib.sha256((folder / PARTS).read_bytes())
    for file in read_json(folder / PARTS)["boosters"].values():
        digest.update((folder / file).read_bytes())
    return digest.hexdigest()[:16]


def _parts(model: CompanionModel) -> dict[str, Any]:
    if isinstance(model, TimeModel):
        return {"kind": "next_event", "edges_days": model.edges.tolist()}
    return {"kind": "value", "form": model.form, "unit": model.unit, "offset": asdict(model.offset)}
