"""A fitted model of actions as files: `effects.json`, and LightGBM's text for each of its boosters."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import lightgbm as lgb

from feature_repo.effect_model import FILE, EffectModel, effects_from_json
from pipelines.artefacts import read_json, write_json
from pipelines.model_store import effect_booster_file
from pipelines.uplift.rows import FittedEffects


def files_of(model: EffectModel) -> tuple[str, ...]:
    """All files by name, `effects.json` first."""
    return (FILE, *(effect_booster_file(at) for at in range(len(model.boosters))))


def save_effects(folder: Path, fitted: FittedEffects) -> None:
    """Write the boosters, then `effects.json`; boosters of an earlier fit that this one lacks are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    names = files_of(fitted.model)
    for file in folder.glob("booster_*.txt"):
        if file.name not in names:
            file.unlink()
    for at, name in enumerate(fitted.model.boosters):
        partial = folder / f"{effect_booster_file(at)}.partial"
        fitted.boosters[name].save_model(partial)
        os.replace(partial, folder / effect_booster_file(at))
    write_json(folder / FILE, fitted.model.to_json())


def load_effects(folder: Path) -> FittedEffects:
    """What `save_effects` wrote.

    Raises:
        FileNotFoundError: a file is missing.
        KeyError, TypeError, ValueError, LightGBMError: a file holds something else.
    """
    model = effects_from_json(read_json(folder / FILE))
    boosters = {}
    for at, name in enumerate(model.boosters):
        path = folder / effect_booster_file(at)
        if not path.exists():
            raise FileNotFoundError(2, "no such file", str(path))
        boosters[name] = lgb.Booster(model_file=path)
    return FittedEffects(model, boosters)


def model_hash(folder: Path) -> str:
    """SHA-256 (16 hex digits) of all that is saved: by it later steps know what an earlier one looked at."""
    digest = hashlib.sha256()
    for name in files_of(effects_from_json(read_json(folder / FILE))):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]
