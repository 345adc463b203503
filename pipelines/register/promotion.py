"""Which version is served is a decision that people can take, take back, and look up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from feature_repo.configuration import Problem
from pipelines.alias_moves import How, Move, line_of_champions, move_alias, read_moves
from pipelines.console import UserError
from pipelines.model_store import MODEL_FILES
from pipelines.register.export import export_challenger, export_champion
from pipelines.settings import Settings
from pipelines.settings.models import LearningConfig
from pipelines.tracking import (
    CHALLENGER,
    CHAMPION,
    RegisteredVersion,
    alias_version,
    champion,
    connect,
    registered_version,
    versions,
)

# Of the manifest, what a person wants to know of a change.
_SHOWN = (
    "kind",
    "candidate",
    "spec_hash",
    "feature_service",
    "lake_version",
    "dataset_hash",
    "config_hash",
    "git_commit",
)
_FIGURES = ("log_loss", "auc", "calibration_error", "policy_value")


@dataclass(frozen=True, slots=True)
class Promotion:
    """The version that is champion now. `changed` says, by entry of the manifest, what was and what is."""

    model: str
    version: str
    before: str | None
    moved: bool
    failed_gates: tuple[str, ...]
    changed: dict[str, tuple[Any, Any]]
    notes: tuple[str, ...]
    path: str

    def text(self) -> str:
        """The summary for a person."""
        if not self.moved:
            return f"Nothing to change: {self.model} version {self.version} is the champion\n  {self.path}"
        before = f" (before: version {self.before})" if self.before else ""
        lines = [f"{self.model} version {self.version} is champion now{before}"]
        lines += [f"  {name}: {_shown(was)} → {_shown(now)}" for name, (was, now) in self.changed.items()]
        lines += [f"  Note: {note}" for note in self.notes]
        return "\n".join([*lines, f"  A running service takes it from {self.path}"])


def promote(
    settings: Settings, config: LearningConfig, version: str, reason: str = "", despite_gates: bool = False
) -> Promotion:
    """Make a registered version champion, and hand it to the service.

    Raises:
        UserError: there is no such version, its files are gone, or it failed gates and `despite_gates` is not said; or
            it decides by what nobody drew, and no reason is given.
    """
    found = registered_version(settings, config, version)
    present = alias_version(settings, config.name, CHAMPION)
    failed = _failed_gates(found)
    if (present is None or str(present.version) != version) and failed and not despite_gates:
        hint = f"see twin history {config.name}; --despite-gates makes it champion all the same"
        problems = [Problem(name, "passed", "failed", hint) for name in failed]
        raise UserError(f"{config.name} version {version} did not pass its gates, and stays what it is.", problems)
    if found.manifest.get("randomised") is False and not reason.strip():
        hint = "what it learned is associational: people, not chance, chose who got which action"
        problem = Problem("reason", "why decisions may rest on it: --reason TEXT", "none", hint)
        raise UserError(f"{config.name} version {version} learned from actions that nobody drew.", [problem])
    return _make_champion(settings, config, found, "promote", reason, failed)


def rollback(settings: Settings, config: LearningConfig, reason: str = "") -> Promotion:
    """Go back to the champion before the present one; done again, to the one before that.

    Raises:
        UserError: there is none before, or its files are gone.
    """
    known = {str(item.version) for item in versions(settings, config.name)}
    present = alias_version(settings, config.name, CHAMPION)
    line = line_of_champions(_moves(settings, config.name), None if present is None else str(present.version))
    former = [version for version in line[:-1] if version in known]
    if present is None or not former:
        got = "none" if present is None else f"version {present.version} alone"
        problem = Problem("champion", "one that was champion before", got, f"twin promote {config.name} VERSION")
        raise UserError(f"There is no champion of {config.name} to go back to.", [problem])
    found = registered_version(settings, config, former[-1])
    return _make_champion(settings, config, found, "rollback", reason, _failed_gates(found))


@dataclass(frozen=True, slots=True)
class VersionEntry:
    """A registered version: when (ISO 8601, UTC), what, and which gates it failed (None: not known)."""

    version: str
    created: str
    aliases: tuple[str, ...]
    kind: str | None
    failed_gates: tuple[str, ...] | None
    spec_hash: str | None
    run_id: str

    def text(self) -> str:
        gates = "gates not known" if self.failed_gates is None else ", ".join(self.failed_gates) or "all gates passed"
        fate = f"failed {gates}" if self.failed_gates else gates
        aliases = f"  [{', '.join(self.aliases)}]" if self.aliases else ""
        return f"{self.version:>4}  {self.created}  {self.kind or 'booster':<8} {fate}{aliases}"


@dataclass(frozen=True, slots=True)
class History:
    """All versions and all moves of a model, the oldest first."""

    model: str
    versions: tuple[VersionEntry, ...]
    moves: tuple[Move, ...]

    def text(self) -> str:
        """The history for a person."""
        lines = [f"Versions of {self.model}", *(f"  {entry.text()}" for entry in self.versions)]
        lines += ["Moves", *(f"  {move.text()}" for move in self.moves)] if self.moves else ["No alias was moved yet"]
        return "\n".join(lines)


def history(settings: Settings, config: LearningConfig) -> History:
    """Versions, and who moved which alias when and why.

    Raises:
        UserError: nothing is registered.
    """
    found = versions(settings, config.name)
    if not found:
        raise UserError(f"no version of {config.name} is registered yet: twin train {config.name}")
    client = connect(settings.workspace)
    aliases: Mapping[str, str] = client.get_registered_model(config.name).aliases
    entries = tuple(_entry(item, aliases) for item in found)
    return History(config.name, entries, tuple(_moves(settings, config.name)))


def _entry(item: Any, aliases: Mapping[str, str]) -> VersionEntry:
    failed = item.tags.get("failed_gates")
    return VersionEntry(
        str(item.version),
        datetime.fromtimestamp(item.creation_timestamp / 1000, UTC)
        .isoformat(timespec="seconds")
        .replace("+00:00", "Z"),
        tuple(sorted(name for name, version in aliases.items() if str(version) == str(item.version))),
        item.tags.get("kind"),
        None if failed is None else tuple(name for name in failed.split(", ") if name),
        item.tags.get("spec_hash"),
        str(item.run_id),
    )


def _make_champion(
    settings: Settings, config: LearningConfig, found: RegisteredVersion, how: How, reason: str, failed: tuple[str, ...]
) -> Promotion:
    try:
        before = champion(settings, config)
    except UserError:
        # The files of the present one are gone: a reason more to have another.
        before = None
    present = alias_version(settings, config.name, CHAMPION)
    was = None if present is None else str(present.version)
    moved = was != found.version
    if moved:
        client = connect(settings.workspace)
        move_alias(settings, client, config.name, CHAMPION, found.version, was, how, reason, failed)
        challenger = alias_version(settings, config.name, CHALLENGER)
        if challenger is not None and str(challenger.version) == found.version:
            move_alias(settings, client, config.name, CHALLENGER, None, found.version, how, reason)
            export_challenger(settings, config)
    # The service has no place yet for what decisions need beside a probability.
    path = export_champion(settings, config) if found.kind in MODEL_FILES else found.folder
    changed = {} if before is None else _changed(before, found)
    return Promotion(
        config.name, found.version, was, moved, failed, changed, _notes(settings, found, failed), str(path)
    )


def _notes(settings: Settings, found: RegisteredVersion, failed: tuple[str, ...]) -> tuple[str, ...]:
    notes = [f"it failed gates: {', '.join(failed)}"] if failed else []
    if found.manifest.get("spec_hash") != settings.features.hash:
        notes.append(
            "it reads another version of the features than configs/features.yaml; where the states of those are gone, "
            "the service goes on with what it has until twin state rebuild has made them"
        )
    return tuple(notes)


def _changed(before: RegisteredVersion, after: RegisteredVersion) -> dict[str, tuple[Any, Any]]:
    pairs = {name: (before.manifest.get(name), after.manifest.get(name)) for name in _SHOWN}
    for name in _FIGURES:
        pairs[f"{name} (each on its own test)"] = (_figure(before, name), _figure(after, name))
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _figure(version: RegisteredVersion, name: str) -> float | None:
    value = version.manifest.get("metrics", {}).get(name)
    found: float | None = value["estimate"] if isinstance(value, Mapping) else value
    return found


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value)


def _failed_gates(found: RegisteredVersion) -> tuple[str, ...]:
    """A version that says nothing of gates was registered by hand; it passed none."""
    gates = found.manifest.get("gates")
    if gates is None:
        return ("gates",)
    return tuple(name for name, passed in gates.items() if not passed)


def _moves(settings: Settings, model: str) -> list[Move]:
    if not versions(settings, model):
        return []
    return read_moves(connect(settings.workspace).get_registered_model(model).tags)
