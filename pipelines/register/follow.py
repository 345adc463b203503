"""Bring the model store to where the registry's aliases are: `python -m pipelines.register.follow --workspace NAME`.

A running service starts it when somebody moved an alias in MLflow; it ends after one look.
"""

from __future__ import annotations

import argparse
import sys

from pipelines.champions import alias_versions, due_exports
from pipelines.console import UserError
from pipelines.model_store import challenger_name, stored_version
from pipelines.not_exported import NotExported, note_not_exported
from pipelines.one_at_a_time import one_at_a_time
from pipelines.register.export import export_challenger, export_champion
from pipelines.settings import Settings, load_settings
from pipelines.settings.models import LearningConfig


def follow(settings: Settings) -> dict[str, str]:
    """Export what is due; by its name in the store, why something could not be.

    What could not be is noted for the service, which goes on with what the store has.
    """
    due = due_exports(settings)
    failed: dict[str, str] = {}
    for config in (*settings.models.values(), *settings.action_models.values()):
        for name in (config.name, challenger_name(config.name)):
            if name in due and (why := _exported(settings, config, name, due[name])) is not None:
                failed[name] = why
    return failed


def export_or_keep(settings: Settings, config: LearningConfig) -> str | None:
    """Export the champion; why that could not be done, where the store has a former one to go on with.

    Raises:
        UserError: it could not be done, and there is none.
    """
    if stored_version(settings.workspace.bentoml_home, config.name) is None:
        export_champion(settings, config)
        return None
    return _exported(settings, config, config.name, alias_versions(settings).get((config.name, "champion")))


def _exported(settings: Settings, config: LearningConfig, name: str, version: str | None) -> str | None:
    """Why it could not be exported; None if it was."""
    try:
        if name == config.name:
            export_champion(settings, config)
        else:
            export_challenger(settings, config)
        return None
    except UserError as error:
        first = error.problems[0] if error.problems else None
        told = (first.expected, first.got, first.hint) if first else ("a version with its files", "none", "")
        problem = NotExported(version or "", error.message, *told)
    except Exception as error:  # noqa: BLE001 (a version that somebody else made may break anything)
        hint = "register it with twin register, or move the alias back"
        problem = NotExported(
            version or "", "it cannot be read", "a version that twin registered", type(error).__name__, hint
        )
    home = settings.workspace.bentoml_home
    with one_at_a_time(home / "export.lock"):
        note_not_exported(home, name, problem)
    return f"{problem.message} (expected {problem.expected}, got {problem.got})"


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 1 where something could not be exported."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.register.follow")
    parser.add_argument("--workspace", required=True)
    failed = follow(load_settings(parser.parse_args(arguments).workspace, catalogue="apart"))
    for name, why in failed.items():
        print(f"{name}: {why}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
