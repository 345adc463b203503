"""What is served, as the files of BentoML's model store say; BentoML takes seconds to import.

A champion stands in the store under the name of its model, a challenger under a name of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

MANIFEST_FILE = "manifest.json"
# The file of a model by the `kind` of its manifest, which is `booster` where there is none.
BOOSTER, LINEAR, EFFECTS = "booster", "linear", "effects"
_CHALLENGER = ".challenger"
MODEL_FILES = {BOOSTER: "model.lgb", LINEAR: "linear.json", EFFECTS: "effects.json"}


def effect_booster_file(at: int) -> str:
    """The file of an effect model's booster, by its place among `EffectModel.boosters`."""
    return f"booster_{at}.txt"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """The latest version of one model. `spec_hash` is None where its manifest cannot be read.

    `exported_at`: int64 microseconds UTC.
    """

    model: str
    version: str
    folder: Path
    spec_hash: str | None
    exported_at: int


def latest_file(bentoml_home: Path, model: str) -> Path:
    """The file that says which version of `model` is the latest; written after the version itself."""
    return bentoml_home / "models" / model / "latest"


def challenger_name(model: str) -> str:
    """What the challenger of a model is called in the store: whoever looks for champions does not meet it."""
    return model + _CHALLENGER


def stored_version(bentoml_home: Path, name: str) -> str | None:
    """The latest version of a champion or challenger in the store; None where there is none."""
    try:
        return latest_file(bentoml_home, name).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def stored_models(bentoml_home: Path) -> list[StoredModel]:
    """The latest version of every model of the store, those included that are no longer configured; no challengers."""
    files = sorted((bentoml_home / "models").glob("*/latest"))
    found = (_latest(file) for file in files if not file.parent.name.endswith(_CHALLENGER))
    return [model for model in found if model is not None]


def _latest(file: Path) -> StoredModel | None:
    try:
        folder = file.parent / file.read_text(encoding="utf-8").strip()
        exported_at = folder.stat().st_mtime_ns // 1000
    except OSError:
        # Removed at this moment, or about to be made again.
        return StoredModel(file.parent.name, "", file.parent, None, 0) if file.parent.exists() else None
    try:
        spec_hash = str(json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))["spec_hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return StoredModel(file.parent.name, folder.name, folder, None, exported_at)
    return StoredModel(file.parent.name, folder.name, folder, spec_hash, exported_at)
