"""The present champion of a model whose evaluation puts it in the same table: there, comparable, or why not."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from pipelines.artefacts import Dataset
from pipelines.console import UserError
from pipelines.settings import Settings
from pipelines.settings.models import ActionModelConfig, CompanionConfig
from pipelines.tracking import CHAMPION, RegisteredVersion, alias_version, champion

LearnedConfig: TypeAlias = CompanionConfig | ActionModelConfig
Held = TypeVar("Held")

_FLATTERED = "The champion may have been trained on customers, or days, of this test; that flatters it."


@dataclass(frozen=True, slots=True)
class PresentChampion(Generic[Held]):
    """Its `version`, None where there is no champion; `held` is None where it cannot be compared: `why` says it.

    `held` is what the evaluation compares: a model, or its policy.
    """

    version: str | None = None
    held: Held | None = None
    why: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of a comparison with it."""
        return () if self.held is None else (f"The present champion is version {self.version}. {_FLATTERED}",)

    @property
    def sentences(self) -> tuple[str, ...]:
        """That it was not compared, for the verdict."""
        if self.version is None or self.held is not None:
            return ()
        return (f"The present champion, version {self.version}, is not compared: {self.why}.",)


def present_champion(
    settings: Settings,
    config: LearnedConfig,
    dataset: Dataset,
    load: Callable[[RegisteredVersion], Held],
    same: Collection[str] | None = None,
) -> PresentChampion[Held]:
    """The champion as `load` gives it, if it answers the same question from what the dataset has.

    `same` are the parts of the label that make the question; all where it is None.
    """
    holder = alias_version(settings, config.name, CHAMPION)
    if holder is None:
        return PresentChampion()
    version = str(holder.version)
    try:
        found = champion(settings, config)
        if found is None:
            return PresentChampion()
        why = _not_comparable(found, config, dataset, same)
        return PresentChampion(version, None, why) if why else PresentChampion(version, load(found))
    except UserError as error:
        # It cannot be used either, so it must not keep another model from its place.
        return PresentChampion(version, None, f"its files cannot be read. {error.message.rstrip('.')}")


def _not_comparable(
    found: RegisteredVersion,
    config: LearnedConfig,
    dataset: Dataset,
    same: Collection[str] | None,
) -> str:
    """Why the dataset is no test of it, in words; empty where it is one."""
    if found.manifest.get("spec_hash") != dataset.manifest.spec_hash:
        return "it reads another version of the features"
    missing = set(found.manifest.get("features", ())) - set(dataset.manifest.features)
    if missing:
        return f"it reads {len(missing)} features which this dataset lacks"
    asked, trained = config.label.model_dump(mode="json"), found.manifest.get("label", {})
    changed = [name for name in (trained if same is None else same) if trained.get(name) != asked.get(name)]
    return f"it was trained for another label ({', '.join(changed)})" if changed else ""
