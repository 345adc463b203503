"""MLflow of one workspace: its database and artifacts, one experiment a model, its runs and its champion.

Everything lies in `mlruns/<workspace>/`. Autologging is not used: it logs what nobody asked for and
multiplies the time of a training.
"""

from __future__ import annotations

import logging
import math
import subprocess
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
from mlflow.exceptions import MlflowException
from mlflow.utils.time import get_current_time_millis

from pipelines.console import UserError
from pipelines.settings import CHECKOUT, Settings, Workspace
from pipelines.settings.models import LearningConfig

CHAMPION = "champion"
CHALLENGER = "challenger"
BOOSTER_FILE = "model.lgb"
_LONGEST_PARAM = 6000
_PARAMS_A_CALL = 100
_METRICS_A_CALL = 1000


@dataclass(frozen=True, slots=True)
class Champion:
    """The registered version that holds the alias `champion`; `folder` holds `model.lgb`, a text booster."""

    name: str
    version: str
    run_id: str
    folder: Path
    manifest: dict[str, Any]

    @property
    def booster(self) -> Path:
        return self.folder / BOOSTER_FILE


def connect(workspace: Workspace) -> MlflowClient:
    """Point MLflow at the workspace's database, made on first use."""
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")
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


def champion(settings: Settings, config: LearningConfig) -> Champion | None:
    """The present champion of a model, or None.

    Raises:
        UserError: there is one, but its files are gone.
    """
    if not (settings.workspace.mlruns / "mlflow.db").exists():
        return None
    client = connect(settings.workspace)
    try:
        version = client.get_model_version_by_alias(config.name, CHAMPION)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    try:
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/{config.name}/{version.version}"))
        manifest = mlflow.models.Model.load(str(folder)).metadata or {}
    except (MlflowException, OSError):
        raise UserError(
            f"The files of {config.name} version {version.version} are not where MLflow's database says. "
            "If the checkout was moved, train and register again: twin run"
        ) from None
    return Champion(config.name, str(version.version), str(version.run_id), folder, manifest)


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
