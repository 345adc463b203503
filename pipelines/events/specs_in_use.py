"""Which versions of the feature spec a workspace uses: that of `configs/features.yaml`, and those of served models."""

from __future__ import annotations

from pathlib import Path

from feature_repo.configuration import ConfigurationError
from feature_repo.spec import FeatureSpec
from feature_repo.spec_content import FILE, compile_content, content_of
from feature_repo.spec_file import load_spec
from pipelines.model_store import StoredModel, stored_models
from pipelines.settings import Settings
from pipelines.spec_versions import SpecVersions


def users_of_specs(settings: Settings, models: list[StoredModel] | None = None) -> dict[str, list[str]]:
    """Who uses each spec that is in use, by its hash: `current`, `champion churn version 3`.

    Current is the file as it is now: a process that runs for long may have an older one in its settings.

    Raises:
        ConfigurationError: the file has mistakes now.
    """
    found: dict[str, list[str]] = {load_spec(settings.config_dir / "features.yaml").hash: ["current"]}
    for model in stored_models(settings.workspace.bentoml_home) if models is None else models:
        if model.spec_hash is not None:
            found.setdefault(model.spec_hash, []).append(f"champion {model.model} version {model.version}")
    return found


def find_spec(settings: Settings, spec_hash: str) -> FeatureSpec | None:
    """The spec with this hash, from the configuration, from what the workspace has seen, or from beside a champion.

    None where its content stands nowhere, or does not compile to it any more.
    """
    if spec_hash == settings.features.hash:
        return settings.features
    try:
        version = SpecVersions(settings.workspace.specs).get(spec_hash)
        if version is not None:
            return version.compiled()
        for model in stored_models(settings.workspace.bentoml_home):
            if model.spec_hash == spec_hash and (spec := spec_beside(model.folder, spec_hash)) is not None:
                return spec
    except ConfigurationError:
        return None
    return None


def spec_beside(folder: Path, spec_hash: str) -> FeatureSpec | None:
    """The spec that stands beside a model's files; None where there is none.

    Raises:
        ConfigurationError: it has mistakes, or compiles to another hash.
    """
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return compile_content(content_of(text), spec_hash)
