"""Which version answers in the champion's shadow: its scores are logged, and nobody is told."""

from __future__ import annotations

from dataclasses import dataclass

from feature_repo.configuration import Problem
from pipelines.alias_moves import move_alias
from pipelines.console import UserError
from pipelines.register.export import SHADOW_KINDS, export_challenger
from pipelines.settings import Settings
from pipelines.settings.models import LearningConfig
from pipelines.tracking import CHALLENGER, CHAMPION, alias_version, connect, registered_version


@dataclass(frozen=True, slots=True)
class Challenge:
    """The version that is challenger now, or None, and the one before."""

    model: str
    version: str | None
    before: str | None
    moved: bool
    path: str | None

    def text(self) -> str:
        """The summary for a person."""
        before = f" (before: version {self.before})" if self.before and self.moved else ""
        if self.version is None:
            return f"{self.model} has no challenger{' now' if self.moved else ''}{before}"
        head = f"{self.model} version {self.version} is challenger{' now' if self.moved else ' already'}{before}"
        return f"{head}\n  A running service takes it from {self.path}, and logs its scores beside the champion's"


def challenge(settings: Settings, config: LearningConfig, version: str | None, reason: str = "") -> Challenge:
    """Have a registered version answer in the champion's shadow, or none.

    Raises:
        UserError: there is no such version, its files are gone, it is the champion, or it has no probability.
    """
    if version is not None:
        _check(settings, config, version)
    present = alias_version(settings, config.name, CHALLENGER)
    before = None if present is None else str(present.version)
    if version != before:
        move_alias(settings, connect(settings.workspace), config.name, CHALLENGER, version, before, "challenge", reason)
    path = export_challenger(settings, config)
    return Challenge(config.name, version, before, version != before, None if path is None else str(path))


def _check(settings: Settings, config: LearningConfig, version: str) -> None:
    found = registered_version(settings, config, version)
    if found.kind not in SHADOW_KINDS:
        expected = f"one of: {', '.join(SHADOW_KINDS)}"
        raise UserError(
            f"{config.name} version {version} has no probability to compare.",
            [Problem("kind", expected, found.kind, "only predictions are made in a shadow")],
        )
    champion = alias_version(settings, config.name, CHAMPION)
    if champion is not None and str(champion.version) == version:
        problem = Problem("version", "another than the champion", version, f"twin history {config.name} lists them")
        raise UserError(f"{config.name} version {version} is the champion.", [problem])
