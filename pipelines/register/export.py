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

The challenger goes the same way under a name of its own (`pipelines.model_store.challenger_name`).
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bentoml
from bentoml import Tag
from bentoml._internal.models import ModelStore
from bentoml.exceptions import NotFound

from feature_repo.configuration import Problem
from feature_repo.spec_content import FILE, text_of
from pipelines.alias_moves import note_moves_by_hand
from pipelines.artefacts import read_json, write_json
from pipelines.console import UserError
from pipelines.model_store import BOOSTER, LINEAR, MANIFEST_FILE, MODEL_FILES, challenger_name
from pipelines.not_exported import note_not_exported
from pipelines.one_at_a_time import one_at_a_time
from pipelines.settings import Settings
from pipelines.settings.models import LearningConfig
from pipelines.spec_versions import content_behind
from pipelines.tracking import (
    CHALLENGER,
    CHAMPION,
    RegisteredVersion,
    alias_version,
    challenger,
    champion,
    connect,
)

SHADOW_KINDS = (BOOSTER, LINEAR)


def export_champion(settings: Settings, config: LearningConfig) -> Path:
    """Copy the champion into BentoML's store; the folder of the BentoML model.

    Nothing is written where the store already has this version as its latest.

    Raises:
        UserError: there is no champion, its files are gone, or they are not what the service can read.
    """
    with _store_of(settings, config) as store:
        found = champion(settings, config)
        if found is None:
            hint = (
                "run the pipeline: twin run. If it ran, a gate failed (registration.json says which); "
                f"a version can be made champion all the same: twin promote {config.name} VERSION --despite-gates"
            )
            problem = Problem("champion", "a version with the alias champion", "none", hint)
            raise UserError(f"There is no champion of {config.name} to serve.", [problem])
        return _export(settings, store, found, found.name)


def export_challenger(settings: Settings, config: LearningConfig) -> Path | None:
    """Copy the challenger into BentoML's store, from where its scores are logged in the champion's shadow.

    Where no version has the alias, or it is of a kind that has no probability, the store has none afterwards, and None
    is returned.

    Raises:
        UserError: its files are gone, or they are not what the service can read.
    """
    name = challenger_name(config.name)
    with _store_of(settings, config) as store:
        found = challenger(settings, config)
        if found is None or found.kind not in SHADOW_KINDS:
            shutil.rmtree(settings.workspace.bentoml_home / "models" / name, ignore_errors=True)
            note_not_exported(settings.workspace.bentoml_home, name, None)
            return None
        return _export(settings, store, found, name)


@contextmanager
def _store_of(settings: Settings, config: LearningConfig) -> Iterator[ModelStore]:
    """The model store, for one process at a time: what it is given is then what the alias says last."""
    with one_at_a_time(settings.workspace.bentoml_home / "export.lock"):
        if alias_version(settings, config.name, CHAMPION) or alias_version(settings, config.name, CHALLENGER):
            note_moves_by_hand(settings, connect(settings.workspace), config.name)
        yield _open_store(settings.workspace.bentoml_home)


def _export(settings: Settings, store: ModelStore, found: RegisteredVersion, name: str) -> Path:
    _check(found)
    home = settings.workspace.bentoml_home
    manifest = {**found.manifest, "model": found.name, "version": found.version, "run_id": found.run_id}
    tag = Tag(name, found.version)
    present = _latest(store, name)
    content = _content(settings, found)
    if present is not None and present.tag == tag and _is_whole(present, found, manifest):
        _add_content(Path(present.path), content)
        note_not_exported(home, name, None)
        return Path(present.path)
    # BentoML takes the newest made as latest: a champion that was exported before is made again. So is one whose
    # export was cut off.
    if (home / "models" / name / found.version).is_dir():
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
    note_not_exported(home, name, None)
    return Path(store.get(tag).path)


def _check(found: RegisteredVersion) -> None:
    """Raises UserError for a version that this program did not register, or whose files are gone."""
    lacking = [key for key in ("spec_hash", "features") if key not in found.manifest]
    if lacking or found.kind not in MODEL_FILES:
        got = f"one without {', '.join(lacking)}" if lacking else f"one of the kind {found.kind}"
        problem = Problem(MANIFEST_FILE, "the manifest of a model that can be served", got, "twin register writes it")
        raise UserError(f"{found.name} version {found.version} cannot be served.", [problem])
    gone = [file.name for file in found.files if not file.is_file()]
    if gone:
        problem = Problem(", ".join(gone), "the files of the model", "none", "train and register again: twin run")
        raise UserError(f"{found.name} version {found.version} is not whole in MLflow.", [problem])


def _is_whole(present: bentoml.Model, found: RegisteredVersion, manifest: Mapping[str, Any]) -> bool:
    folder = Path(present.path)
    return all((folder / file.name).is_file() for file in found.files) and read_json(folder / MANIFEST_FILE) == manifest


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
