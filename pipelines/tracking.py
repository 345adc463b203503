"""MLflow of one workspace: its database and artifacts, one experiment a model, its runs and its champion.

Everything lies in `mlruns/<workspace>/`. Autologging is not used: it logs what nobody asked for and
multiplies the time of a training.
"""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import Metric, Param, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.time import get_current_time_millis

from feature_repo.configuration import Problem
from feature_repo.model_inputs import ModelInputs, inputs_from_json
from pipelines.console import UserError
from pipelines.model_store import BOOSTER, EFFECTS, MODEL_FILES
from pipelines.settings import CHECKOUT, Settings, Workspace
from pipelines.settings.models import LearningConfig

CHAMPION = "champion"
CHALLENGER = "challenger"
_LONGEST_PARAM = 6000
_PARAMS_A_CALL = 100
_METRICS_A_CALL = 1000
_VERSIONS_A_CALL = 500


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version of a registered model, such as its champion, and the `folder` that holds its files."""

    name: str
    version: str
    run_id: str
    folder: Path
    manifest: dict[str, Any]

    @property
    def kind(self) -> str:
        """`booster`, `linear`, `effects`, or that of a companion."""
        return str(self.manifest.get("kind", BOOSTER))

    @property
    def file(self) -> Path:
        """The model itself: a booster in LightGBM's text format, or a linear or an effect model as JSON."""
        # MLflow keeps what a model from code reads in a folder of its own.
        folder = self.folder if self.kind == BOOSTER else self.folder / "artifacts"
        return folder / MODEL_FILES[self.kind]

    @property
    def files(self) -> tuple[Path, ...]:
        """`file`, and those that it names: an effect model has its boosters beside it."""
        beside = self.manifest.get("files", ()) if self.kind == EFFECTS else ()
        return (self.file, *(self.file.with_name(name) for name in beside if name != self.file.name))

    @property
    def inputs(self) -> ModelInputs:
        """How its columns are made of features."""
        raw = self.manifest.get("inputs")
        features = tuple(self.manifest["features"])
        return ModelInputs(features, features) if raw is None else inputs_from_json(raw)


class FilesGone(UserError):
    """A registered version whose files are not where MLflow's database says."""


def connect(workspace: Workspace) -> MlflowClient:
    """Point MLflow at the workspace's database, made on first use."""
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")
    # Bars for files of some kilobytes on the same disk.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    workspace.mlruns.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(workspace.tracking_uri)
    mlflow.set_registry_uri(workspace.tracking_uri)
    return MlflowClient(workspace.tracking_uri)


@contextmanager
def tracked_run(settings: Settings, config: LearningConfig) -> Iterator[str]:
    """A new run of the model's experiment, by its id; finished at the end, failed on an exception."""
    client = connect(settings.workspace)
    experiment = _experiment(client, settings.workspace, config)
    tags = {"model": config.name, "owner": config.owner, "workspace": settings.workspace.name}
    with mlflow.start_run(experiment_id=experiment, tags=tags) as run:
        yield run.info.run_id


@contextmanager
def inside_run(settings: Settings, config: LearningConfig, run_id: str | None) -> Iterator[str]:
    """The run `run_id` as MLflow's active one, or a new run if it is None."""
    if run_id is None:
        with tracked_run(settings, config) as made:
            yield made
        return
    connect(settings.workspace)
    active = mlflow.active_run()
    with nullcontext() if active and active.info.run_id == run_id else mlflow.start_run(run_id=run_id):
        yield run_id


def log_values(
    client: MlflowClient,
    run_id: str,
    params: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float | None] | None = None,
    tags: Mapping[str, Any] | None = None,
) -> None:
    """Log many values in few calls. Metrics that are not finite are left out: MLflow cannot show them."""
    now = get_current_time_millis()
    all_params = [Param(name, str(value)[:_LONGEST_PARAM]) for name, value in (params or {}).items()]
    all_metrics = [
        Metric(name, float(value), now, 0)
        for name, value in (metrics or {}).items()
        if value is not None and math.isfinite(value)
    ]
    client.log_batch(run_id, tags=[RunTag(name, str(value)) for name, value in (tags or {}).items()])
    for part in _chunks(all_params, _PARAMS_A_CALL):
        client.log_batch(run_id, params=part)
    for part in _chunks(all_metrics, _METRICS_A_CALL):
        client.log_batch(run_id, metrics=part)


def log_input(rows: pd.DataFrame, source: Path, name: str, digest: str, context: str) -> None:
    """Log a table as an input of the active run, by its own digest: its content is not hashed again."""
    with warnings.catch_warnings():
        # MLflow warns that integers cannot be missing; here they are ids and labels, which never are.
        warnings.simplefilter("ignore", UserWarning)
        data = from_pandas(rows, source=str(source), targets="label", name=name, digest=digest)
        mlflow.log_input(data, context=context)


def champion(settings: Settings, config: LearningConfig) -> RegisteredVersion | None:
    """The present champion of a model, or None.

    Raises:
        UserError: there is one, but its files are gone.
    """
    version = alias_version(settings, config.name, CHAMPION)
    return None if version is None else _opened(config.name, version)


def challenger(settings: Settings, config: LearningConfig) -> RegisteredVersion | None:
    """The version that answers in the champion's shadow, or None. Raises as `champion`."""
    version = alias_version(settings, config.name, CHALLENGER)
    return None if version is None else _opened(config.name, version)


def champion_if_there(settings: Settings, config: LearningConfig) -> RegisteredVersion | None:
    """The present champion, or None, with a word on stderr, where its files are gone, as after a checkout was moved.

    What is trained anew needs no former champion; it cannot be compared with one that is gone.
    """
    try:
        return champion(settings, config)
    except FilesGone as error:
        print(f"note: the present champion of {config.name} is left out: {error.message}", file=sys.stderr)
        return None


def registered_version(settings: Settings, config: LearningConfig, version: str) -> RegisteredVersion:
    """A registered version by its number.

    Raises:
        UserError: there is none, or its files are gone.
    """
    known = versions(settings, config.name)
    found = next((item for item in known if str(item.version) == version), None)
    if found is None:
        numbers = ", ".join(str(item.version) for item in known) or "none"
        problem = Problem("version", f"one of: {numbers}", repr(version), f"twin history {config.name} lists them")
        raise UserError(f"{config.name} has no such version.", [problem])
    return _opened(config.name, found)


def versions(settings: Settings, model: str) -> list[ModelVersion]:
    """All registered versions of a model, the oldest first."""
    if not (settings.workspace.mlruns / "mlflow.db").exists():
        return []
    client = connect(settings.workspace)
    found: list[ModelVersion] = []
    page = client.search_model_versions(f"name='{model}'", max_results=_VERSIONS_A_CALL)
    found += page
    while page.token:
        page = client.search_model_versions(f"name='{model}'", max_results=_VERSIONS_A_CALL, page_token=page.token)
        found += page
    return sorted(found, key=lambda item: int(item.version))


def alias_version(settings: Settings, model: str, alias: str) -> ModelVersion | None:
    """The version that holds an alias, or None."""
    if not (settings.workspace.mlruns / "mlflow.db").exists():
        return None
    try:
        return connect(settings.workspace).get_model_version_by_alias(model, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _opened(model: str, version: ModelVersion) -> RegisteredVersion:
    try:
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model}/{version.version}"))
        manifest = mlflow.models.Model.load(str(folder)).metadata or {}
    except (MlflowException, OSError):
        raise FilesGone(
            f"The files of {model} version {version.version} are not where MLflow's database says. "
            "If the checkout was moved, train and register again: twin run"
        ) from None
    return RegisteredVersion(model, str(version.version), str(version.run_id), folder, manifest)


def git_commit() -> str | None:
    """The commit the code runs from, or None outside a git checkout."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _experiment(client: MlflowClient, workspace: Workspace, config: LearningConfig) -> str:
    """The model's experiment, with artifacts under this workspace.

    MLflow stores absolute paths. Where a checkout was moved or copied the old experiment is renamed,
    else new artifacts would be written to the old place.
    """
    location = (workspace.mlruns / "artifacts").as_uri()
    found = client.get_experiment_by_name(config.name)
    if found is not None and found.artifact_location == location:
        return str(found.experiment_id)
    if found is not None:
        client.rename_experiment(found.experiment_id, f"{config.name} (before the move, {found.experiment_id})")
    return str(client.create_experiment(config.name, artifact_location=location))


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
