"""A registered companion, by version or alias, as an object that predicts from a table of features."""

from __future__ import annotations

import lightgbm as lgb

from feature_repo.configuration import Problem
from pipelines.companions.storage import CompanionModel, load_model
from pipelines.console import UserError
from pipelines.model_store import BOOSTER, MODEL_FILES
from pipelines.settings import Settings
from pipelines.settings.models import CompanionConfig
from pipelines.tracking import RegisteredVersion, champion, registered_version


def load_companion(settings: Settings, config: CompanionConfig, version: str | None = None) -> CompanionModel:
    """The champion of a companion, or the version with that number.

    A value model's `predict` gives value and interval, a time model's a survival curve, from a table with the
    features of its service; other columns are passed over.

    Raises:
        UserError: there is no such version, its files are gone, or it reads another version of the features.
    """
    found = champion(settings, config) if version is None else registered_version(settings, config, version)
    if found is None:
        problem = Problem("champion", "a version with the alias champion", "none", f"twin train {config.name}")
        raise UserError(f"There is no champion of {config.name}.", [problem])
    trained_on = found.manifest.get("spec_hash")
    if trained_on != settings.features.hash:
        asked = f"{trained_on}, of version {found.version}"
        problem = Problem("spec_hash", asked, settings.features.hash, f"twin train {config.name}")
        raise UserError(f"{config.name} was trained on another version of the features.", [problem])
    return load_version(found)


def load_version(found: RegisteredVersion) -> CompanionModel:
    """The companion in the files of a registered version.

    Raises:
        UserError: a file is missing, or its content is not what was written.
    """
    try:
        return load_model(found.folder, MODEL_FILES[BOOSTER])
    except FileNotFoundError as error:
        problem = Problem("files", f"{error.filename}", "nothing there", f"twin train {found.name}")
    except (ValueError, KeyError, TypeError, lgb.basic.LightGBMError) as error:
        problem = Problem("files", "those of a companion", str(error), f"twin train {found.name}")
    raise UserError(f"{found.name} version {found.version} is not whole.", [problem])
