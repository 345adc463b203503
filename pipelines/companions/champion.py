"""The present champion of a companion, which an evaluation puts beside the simple models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.artefacts import Dataset
from pipelines.companions.predict import load_version
from pipelines.companions.storage import CompanionModel
from pipelines.console import UserError
from pipelines.settings import Settings
from pipelines.settings.models import CompanionConfig
from pipelines.tracking import CHAMPION, alias_version, champion

_FLATTERED = "The champion may have been trained on customers, or days, of this test; that flatters it."


@dataclass(frozen=True, slots=True)
class PresentChampion:
    """Its `version`, None where there is no champion; `model` is None where it cannot be compared: `why` says it."""

    version: str | None = None
    model: CompanionModel | None = None
    why: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of a comparison with it."""
        return () if self.model is None else (f"The present champion is version {self.version}. {_FLATTERED}",)

    @property
    def sentences(self) -> tuple[str, ...]:
        """That it was not compared, for the verdict."""
        if self.version is None or self.model is not None:
            return ()
        return (f"The present champion, version {self.version}, is not compared: {self.why}.",)


def present_champion(settings: Settings, config: CompanionConfig, dataset: Dataset) -> PresentChampion:
    """The champion, with its model if that answers the same question from what the dataset has."""
    held = alias_version(settings, config.name, CHAMPION)
    if held is None:
        return PresentChampion()
    version = str(held.version)
    try:
        found = champion(settings, config)
        if found is None:
            return PresentChampion()
        why = _not_comparable(found.manifest, config, dataset)
        return PresentChampion(version, None, why) if why else PresentChampion(version, load_version(found))
    except UserError as error:
        # It cannot be used either, so it must not keep another model from its place.
        return PresentChampion(version, None, f"its files cannot be read. {error.message.rstrip('.')}")


def _not_comparable(manifest: Mapping[str, Any], config: CompanionConfig, dataset: Dataset) -> str:
    """Why the dataset is no test of it, in words; empty where it is one."""
    if manifest.get("spec_hash") != dataset.manifest.spec_hash:
        return "it reads another version of the features"
    missing = set(manifest.get("features", ())) - set(dataset.manifest.features)
    if missing:
        return f"it reads {len(missing)} features which this dataset lacks"
    asked = config.label.model_dump(mode="json")
    changed = [name for name, value in manifest.get("label", {}).items() if asked.get(name) != value]
    if changed:
        return f"it was trained for another label ({', '.join(changed)})"
    return ""
