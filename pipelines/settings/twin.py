"""Loading what is declared of twins: every mistake of all its files is told at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from feature_repo.configuration import ConfigurationError, Problem, read_yaml
from pipelines.settings.actions import ActionsFile
from pipelines.settings.catalogue import read_salvaged
from pipelines.settings.journeys import JourneysFile
from pipelines.settings.salvage import salvaged
from pipelines.settings.twin_checks import TwinSurroundings, check_twin
from pipelines.settings.twin_compile import compiled
from pipelines.settings.twin_content import TwinContent, parsed
from pipelines.settings.twin_files import ExperienceFile, PersonasFile, TriggersFile, ViewsFile
from pipelines.twin.rules import TwinRules

Model = TypeVar("Model", bound=BaseModel)


def load_twin(directory: Path, around: TwinSurroundings) -> TwinRules:
    """The rules of `journeys.yaml`, `personas.yaml`, `triggers.yaml`, `experience.yaml` and `views.yaml`.

    Each file is optional: without one its part is empty, but that there is always a stage (`known`) and a relationship
    (`start`). Rules and traits of `actions.yaml` have their names here too; its own mistakes are told elsewhere.

    Raises:
        ConfigurationError: with every mistake of all files.
    """
    content, problems = _read(directory, around)
    trees = parsed(content, around.of_actions, around.plan)
    problems += [*trees.problems, *check_twin(content, trees, around)]
    if problems:
        raise ConfigurationError(list(dict.fromkeys(problems)))
    return compiled(content, trees)


def only_history(directory: Path, around: TwinSurroundings) -> TwinRules:
    """Rules that declare nothing, and keep as many events as `journeys.yaml` says, if that much can be read of it."""
    read, _ = _read(directory, around)
    history = None if read.journeys is None else JourneysFile.model_validate(
        {"version": 1, "stages": [{"name": "known", "when": "true"}], "history": read.journeys.history}
    )  # fmt: skip
    content = TwinContent(journeys=history)
    return compiled(content, parsed(content, around.of_actions, around.plan))


def _read(directory: Path, around: TwinSurroundings) -> tuple[TwinContent, list[Problem]]:
    """What is there, as far as it is not mistaken, and every mistake of its shape."""
    stand_ins = _stand_ins(next(iter(around.plan.events)))
    problems: list[Problem] = []

    def file(name: str, model: type[Model]) -> Model | None:
        path = directory / name
        if not path.exists():
            return None
        try:
            content, found = salvaged(read_yaml(path), model, name, stand_ins)
        except ConfigurationError as error:
            content, found = None, list(error.problems)
        problems.extend(found)
        return content

    actions: ActionsFile | None = None
    mistakes: list[Problem] = []
    if (directory / "actions.yaml").exists():
        actions, mistakes = read_salvaged(directory / "actions.yaml", ActionsFile, around.of_actions)
    content = TwinContent(
        journeys=file("journeys.yaml", JourneysFile),
        personas=file("personas.yaml", PersonasFile),
        triggers=file("triggers.yaml", TriggersFile),
        experience=file("experience.yaml", ExperienceFile),
        views=file("views.yaml", ViewsFile),
        actions=actions,
        offered=None if actions is None or mistakes else frozenset(action.id for action in actions.actions),
    )
    return content, problems


def _stand_ins(event: str) -> dict[str, Callable[[], Any]]:
    """What stands where something is missing, so that no other mistake follows from it; each name is another."""
    count = itertools.count()

    def name() -> str:
        return f"unnamed_{next(count)}"

    return {
        "version": lambda: 1,
        "name": name,
        "description": lambda: "-",
        "when": lambda: "true",
        "event": lambda: event,
        "score": lambda: "0",
        "signals": lambda: "0",
        "outcome": lambda: "met",
        "emotion": lambda: 0.0,
        "half_life": lambda: "1d",
        "again_after": lambda: "1d",
        "sections": lambda: ["stage"],
        "stages": lambda: [{"name": name(), "when": "true"}],
        "personas": lambda: [{"name": name(), "description": "-", "score": "0"}],
        "reasons": lambda: [{"name": name(), "description": "-", "signals": "0"}],
        "experienced": lambda: [{"event": event, "outcome": "met", "emotion": 0.0}],
        "views": lambda: [{"name": name(), "description": "-", "sections": ["stage"]}],
    }
