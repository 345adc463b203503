"""How a judged model becomes a registered version, whatever it predicts: known already, or new with an alias.

What differs between models is handed in: the run with what the steps left, and how the model itself is logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from mlflow import MlflowClient
from mlflow.models.model import ModelInfo

from feature_repo.configuration import Problem
from feature_repo.spec_file import SpecFile
from pipelines.alias_moves import move_alias
from pipelines.artefacts import EVALUATION, REGISTRATION, Dataset, refuse_foreign_training, write_json
from pipelines.console import UserError
from pipelines.gate import Gate
from pipelines.registry import Registration, add_version, registered_before, write_content
from pipelines.settings import Settings
from pipelines.settings.models import LearningConfig
from pipelines.spec_versions import SpecVersions
from pipelines.tracking import CHALLENGER, CHAMPION, alias_version, connect, log_values

# Puts all that the steps left into the run, and logs the model.
Log: TypeAlias = Callable[[MlflowClient, str], ModelInfo]


@dataclass(frozen=True, slots=True)
class Judged:
    """A model before its gates; `champion` is the version that holds the alias now. The rest as in `Registration`."""

    gates: tuple[Gate, ...]
    verdict: str
    champion: str | None
    candidate: str | None = None
    simpler: str | None = None

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of gates that it did not pass."""
        return tuple(gate.name for gate in self.gates if not gate.passed)


def already_registered(
    settings: Settings, config: LearningConfig, judged: Judged, own: Mapping[str, str]
) -> Registration | None:
    """The version with the tags `own`, where a new one would say no more; else None."""
    same = registered_before(settings, config, own, judged.champion, judged.failed)
    if same is None:
        return None
    held = CHAMPION if judged.champion == str(same.version) else "no champion"
    return Registration(
        config.name, str(same.version), held, str(same.run_id), judged.champion, judged.gates, judged.verdict,
        str(_path(settings, config)), False, judged.candidate, judged.simpler,
    )  # fmt: skip


def register_new(
    settings: Settings, config: LearningConfig, judged: Judged, manifest: Mapping[str, Any], told: Sequence[str],
    content: SpecFile, inside: AbstractContextManager[str], log: Log,
) -> Registration:  # fmt: skip
    """A new version: `champion` if every gate passes, else `challenger`.

    `told` are the keys of `manifest` that become tags, `content` is what its features are compiled from, `inside` the
    run that everything is logged into.
    """
    path, client = _path(settings, config), connect(settings.workspace)
    alias = CHALLENGER if judged.failed else CHAMPION
    with inside as run:
        logged = log(client, run)
        client.log_model_artifact(str(logged.model_id), str(write_content(path.parent, content)))
    SpecVersions(settings.workspace.specs).remember(str(manifest["spec_hash"]), content)
    version = add_version(client, run, logged, manifest, told, judged.verdict)
    holder = alias_version(settings, config.name, alias)
    held_by = None if holder is None else str(holder.version)
    move_alias(settings, client, config.name, alias, version, held_by, "register", failed=judged.failed)
    registration = Registration(
        config.name, version, alias, run, judged.champion, judged.gates, judged.verdict, str(path), True,
        judged.candidate, judged.simpler,
    )  # fmt: skip
    write_json(path, {**asdict(registration), "manifest": manifest})
    figures = {f"gate.{gate.name}": gate.figure for gate in judged.gates}
    tags = {"version": version, "alias": alias, "gates_failed": ", ".join(judged.failed)}
    log_values(client, run, metrics=figures, tags=tags)
    client.log_artifact(run, str(path))
    return registration


def check_belong_together(
    dataset: Dataset, training: Mapping[str, Any], evaluation: Mapping[str, Any], model_hash: str
) -> None:
    """The gates judge `evaluation.json`, so it must be of this very model, fitted to and tested on this dataset.

    Raises:
        UserError: it is not.
    """
    refuse_foreign_training(training, dataset)
    if (evaluation["dataset_hash"], evaluation["model_hash"]) != (dataset.manifest.dataset_hash, model_hash):
        problem = Problem(EVALUATION, "an evaluation of this model", "of another", "evaluate again")
        raise UserError("The artefacts do not belong together; nothing was registered.", [problem])


def check_still_champion(version: str | None, evaluation: Mapping[str, Any]) -> None:
    """A gate compares with the champion, so it has to be the one that was compared. Raises UserError."""
    compared = evaluation.get("champion_version")
    if compared != version:
        then, now = (f"version {held}" if held else "no champion" for held in (compared, version))
        problem = Problem(EVALUATION, f"a comparison with {now}", then, "evaluate again")
        raise UserError("The champion changed since the evaluation; nothing was registered.", [problem])


def _path(settings: Settings, config: LearningConfig) -> Path:
    return settings.workspace.artefacts(config.name) / REGISTRATION
