"""The present champion of a model of actions, as a policy for the rows of a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from pipelines.artefacts import Dataset
from pipelines.console import UserError
from pipelines.model_store import EFFECTS
from pipelines.next_best_action.policies import greedy
from pipelines.next_best_action.storage import load_effects
from pipelines.next_best_action.trial import Trial
from pipelines.policy_value.logged import Policy
from pipelines.settings import Settings
from pipelines.settings.models import ActionModelConfig
from pipelines.tracking import CHAMPION, RegisteredVersion, alias_version, champion
from pipelines.uplift.rows import FittedEffects

_FLATTERED = "It may have been trained on customers, or days, of this test; that flatters it."


@dataclass(frozen=True, slots=True)
class PresentChampion:
    """Its `version`, None where there is no champion; `policy` is None where it cannot be compared: `why` says it."""

    version: str | None = None
    policy: Policy | None = None
    why: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of a comparison with it, or that there is none."""
        if self.version is None:
            return ()
        if self.policy is None:
            return (f"The present champion, version {self.version}, is not compared: {self.why}.",)
        return (f"The present champion is version {self.version}. {_FLATTERED}",)


def present_champion(
    settings: Settings, config: ActionModelConfig, dataset: Dataset, rows: pd.DataFrame, test: Trial
) -> PresentChampion:
    """The champion on `rows`, those of `test`, if it answers the same question from what the dataset has."""
    held = alias_version(settings, config.name, CHAMPION)
    if held is None:
        return PresentChampion()
    version = str(held.version)
    try:
        found = champion(settings, config)
        if found is None:
            return PresentChampion()
        why = _not_comparable(found.manifest, config, dataset)
        if why:
            return PresentChampion(version, None, why)
        return PresentChampion(version, _policy(load_version(found), rows, test))
    except UserError as error:
        # It cannot be used either, so it must not keep another model from its place.
        return PresentChampion(version, None, f"its files cannot be read. {error.message.rstrip('.')}")


def load_version(found: RegisteredVersion) -> FittedEffects:
    """The model in the files of a registered version.

    Raises:
        UserError: a file is missing, or its content is not what was written.
    """
    try:
        if found.kind != EFFECTS:
            raise ValueError(found.kind)
        return load_effects(found.file.parent)
    except (OSError, ValueError, KeyError, TypeError, lgb.basic.LightGBMError):
        raise UserError(f"{found.name} version {found.version} is not whole.") from None


def _policy(fitted: FittedEffects, rows: pd.DataFrame, test: Trial) -> Policy:
    """Its choice among the arms of the test; it never chooses an arm that it does not know."""
    inputs = fitted.model.inputs
    columns = inputs.matrix(rows[list(inputs.features)].to_numpy(dtype=np.float64))
    own = {action: at for at, action in enumerate(fitted.model.actions)}
    effects = fitted.effect(columns)
    known = [own.get(action) for action in test.rows.actions]
    told = np.stack([np.zeros(len(columns)) if at is None else effects[:, at] for at in known], axis=1)
    return greedy(test.gains(told), test.eligible & np.array([True, *(at is not None for at in known)]))


def _not_comparable(manifest: Mapping[str, Any], config: ActionModelConfig, dataset: Dataset) -> str:
    """Why the dataset is no test of it, in words; empty where it is one."""
    if manifest.get("spec_hash") != dataset.manifest.spec_hash:
        return "it reads another version of the features"
    missing = set(manifest.get("features", ())) - set(dataset.manifest.features)
    if missing:
        return f"it reads {len(missing)} features which this dataset lacks"
    asked = config.label.model_dump(mode="json")
    changed = [name for name in ("reward", "horizon", "gap", "control") if manifest["label"].get(name) != asked[name]]
    return f"it was trained for another label ({', '.join(changed)})" if changed else ""
