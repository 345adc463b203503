"""Hand the champion to the service, so that serving needs neither MLflow nor its database.

The champion `<model>` version `<n>` becomes the BentoML model `<model>:<n>` of the store at
`workspace.bentoml_home` (BENTOML_HOME), and its latest. Its folder, `<BENTOML_HOME>/models/<model>/<n>/`,
holds beside BentoML's own `model.yaml`:

- `model.lgb`: the calibrated booster in LightGBM's text format. `predict` gives the probability,
  `raw_score` the log-odds, `pred_contrib` their parts, the last column being the base. Or, where the manifest's `kind`
  is `linear`, `linear.json`: what `feature_repo/linear_model.py` reads, and answers the same of. Or, where it is
  `effects`, `effects.json`, which `feature_repo/effect_model.py` reads, and `booster_<n>.txt` for each booster of it.
- `manifest.json`: what the model is and was made from; to serve it, `model`, `version`, `run_id`,
  `spec_hash`, `feature_service`, `features`, which are read, and `inputs`, how the columns of the model are made
  of them (`feature_repo/model_inputs.py`).
- `features.json`: what the features were compiled from (`feature_repo/spec_content.py`), so that the model is
  served with them when `configs/features.yaml` says others.

A service that runs notices a new latest version, and serves it without a restart.
"""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import bentoml
from bentoml import Tag
from bentoml._internal.models import ModelStore
from bentoml.exceptions import NotFound

from feature_repo.configuration import Problem
from feature_repo.spec_content import FILE, text_of
from pipelines.artefacts import read_json, write_json
from pipelines.console import UserError
from pipelines.model_store import MANIFEST_FILE
from pipelines.settings import Settings
from pipelines.settings.models import LearningConfig
from pipelines.spec_versions import content_behind
from pipelines.tracking import RegisteredVersion, champion


def export_champion(settings: Settings, config: LearningConfig) -> Path:
    """Copy the champion into BentoML's store; the folder of the BentoML model.

    Nothing is written where the store already has this version as its latest.

    Raises:
        UserError: there is no champion.
    """
    found = champion(settings, config)
    if found is None:
        hint = (
            "run the pipeline: twin run. If it ran, a gate failed (registration.json says which); "
            f"a version can be made champion all the same: twin promote {config.name} VERSION --despite-gates"
        )
        problem = Problem("champion", "a version with the alias champion", "none", hint)
        raise UserError(f"There is no champion of {config.name} to serve.", [problem])
    manifest = {**found.manifest, "model": found.name, "version": found.version, "run_id": found.run_id}
    tag = Tag(found.name, found.version)
    store = _open_store(settings.workspace.bentoml_home)
    present = _latest(store, found.name)
    content = _content(settings, found)
    if present is not None and present.tag == tag and read_json(Path(present.path_of(MANIFEST_FILE))) == manifest:
        _add_content(Path(present.path), content)
        return Path(present.path)
    # BentoML takes the newest made as latest: a champion that was exported before is made again. So is one whose
    # export was cut off.
    if (settings.workspace.bentoml_home / "models" / found.name / found.version).is_dir():
        store.delete(tag)
    labels = {"spec_hash": str(manifest["spec_hash"]), "mlflow_run": found.run_id}
    with warnings.catch_warnings():
        # BentoML calls what its own dependency pathspec has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        with bentoml.models.create(tag, labels=labels, _model_store=store) as model:
            for file in found.files:
                shutil.copyfile(file, model.path_of(file.name))
            _add_content(Path(model.path), content)
            write_json(Path(model.path_of(MANIFEST_FILE)), manifest)
    return Path(store.get(tag).path)


def _content(settings: Settings, found: RegisteredVersion) -> str | None:
    """What the model's features were compiled from; a model that was registered without is of features known here."""
    beside = found.folder / FILE
    if beside.exists():
        return beside.read_text(encoding="utf-8")
    content = content_behind(settings, str(found.manifest["spec_hash"]))
    return None if content is None else text_of(content)


def _add_content(folder: Path, content: str | None) -> None:
    file = folder / FILE
    if content is not None and not file.exists():
        partial = file.with_suffix(".partial")
        partial.write_text(content, encoding="utf-8")
        os.replace(partial, file)


def _open_store(home: Path) -> ModelStore:
    """The store by its folder: BentoML reads BENTOML_HOME once a process, too early for a second workspace."""
    folder = home / "models"
    folder.mkdir(parents=True, exist_ok=True)
    return ModelStore(folder)


def _latest(store: ModelStore, name: str) -> bentoml.Model | None:
    try:
        return store.get(Tag(name))
    except NotFound:
        return None
