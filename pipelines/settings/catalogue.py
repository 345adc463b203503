"""Loading `actions.yaml` and `journeys.yaml`: every mistake of both is told at once."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from feature_repo.configuration import ConfigurationError, Problem, read_yaml
from pipelines.catalogue import Catalogue
from pipelines.expressions.tree import Node
from pipelines.settings.actions import ActionsFile
from pipelines.settings.catalogue_checks import check_catalogue
from pipelines.settings.catalogue_compile import CatalogueContent, compiled
from pipelines.settings.catalogue_rules import ACTIONS, Names, names_for
from pipelines.settings.journeys import JourneysFile
from pipelines.settings.salvage import salvaged
from pipelines.settings.surroundings import Surroundings

Model = TypeVar("Model", bound=BaseModel)
_STAND_INS: dict[str, Any] = {
    "version": 1, "time_zone": "UTC", "holdout": {"share": 0.0, "salt": "-"}, "exploration": {"share": 0.0},
    "share": 0.0, "salt": "-", "description": "-", "channel": "none", "cost": 0.0, "value": "0", "consent": "none",
    "contacts": 1, "within": "1d", "from": "00:00", "to": "00:00", "amount": 0.0, "per": "1d", "fallback_hour": 0,
    "at_least": 1, "when": "true", "quiet_hours": "none",
}  # fmt: skip


def _stand_ins(around: Surroundings) -> dict[str, Callable[[], Any]]:
    """What stands where something is missing, so that no other mistake follows from it; each name is another."""
    count = itertools.count()

    def name() -> str:
        return f"unnamed_{next(count)}"

    def action() -> list[Any]:
        keys = ("description", "channel", "cost", "value", "consent")
        return [{"id": name(), **{key: _STAND_INS[key] for key in keys}}]

    fixed = {key: partial(copy.deepcopy, value) for key, value in _STAND_INS.items()}
    return {
        **fixed,
        "currency": lambda: next(iter(around.currencies)),
        "model": lambda: next(iter(around.action_models), "-"),
        "id": name,
        "name": name,
        "actions": action,
        "stages": lambda: [{"name": name(), "when": "true"}],
    }


def load_catalogue(actions: Path, journeys: Path, around: Surroundings, now: int | None) -> Catalogue:
    """The catalogue of two files; there need be no journeys. `now` is int64 microseconds UTC, for what has expired.

    Raises:
        ConfigurationError: with every mistake of both.
    """
    actions_file, told = read_salvaged(actions, ActionsFile, around)
    journeys_file, more = read_salvaged(journeys, JourneysFile, around) if journeys.exists() else (None, [])
    problems = [*told, *more]
    if actions_file is not None:
        stages = journeys_file.deciding if journeys_file else None
        content = CatalogueContent(actions=actions_file, journeys=stages, around=around)
        names, trees, found = _checked(content, now, stages_known=not more)
        if not problems and not found:
            return compiled(content, names, trees)
        problems += found
    raise ConfigurationError([_of_file(problem, actions) for problem in dict.fromkeys(problems)])


def read_salvaged(path: Path, model: type[Model], around: Surroundings) -> tuple[Model | None, list[Problem]]:
    """The content, as far as it is not mistaken, and every mistake of its shape."""
    try:
        raw = read_yaml(path)
    except ConfigurationError as error:
        return None, list(error.problems)
    return salvaged(raw, model, path.name, _stand_ins(around))


def _of_file(problem: Problem, actions: Path) -> Problem:
    """Checks say `actions.yaml` of a file that may have another name as long as it is only checked."""
    return replace(problem, file=actions.name) if problem.file == ACTIONS else problem


def check_content(content: CatalogueContent, around: Surroundings) -> list[Problem]:
    """What is wrong with it in other surroundings than its own; nothing counts as expired."""
    return _checked(content.model_copy(update={"around": around}), None)[2]


def compile_content(content: CatalogueContent) -> Catalogue:
    """The catalogue of what was checked before, whatever has expired since.

    Raises:
        ConfigurationError: with every mistake.
    """
    names, trees, problems = _checked(content, None)
    if problems:
        raise ConfigurationError(problems)
    return compiled(content, names, trees)


def _checked(
    content: CatalogueContent, now: int | None, stages_known: bool = True
) -> tuple[Names, dict[str, Node], list[Problem]]:
    """What names stand for, the trees of all expressions by field, and every mistake."""
    names = names_for(content.actions, content.journeys, content.around, stages_known)
    expressions = content.actions.expressions()
    trees = {place: names.parsed(ACTIONS, place, text, kind) for place, text, kind in expressions}
    others = check_catalogue(content.actions, content.journeys, content.around, now)
    return names, trees, [*names.problems, *others]
