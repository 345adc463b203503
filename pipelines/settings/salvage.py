"""Checking what is left of a mistaken file, so that mistakes of other kinds are told in the same go."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from feature_repo.configuration import Problem, problems_of

Model = TypeVar("Model", bound=BaseModel)
# Each round mends one layer: taking out what is wrong may leave something missing.
_ROUNDS = 10


def salvaged(
    raw: Any, model: type[Model], file: str, stand_ins: Mapping[str, Callable[[], Any]]
) -> tuple[Model | None, list[Problem]]:
    """What `raw` says, without what is mistaken in it, and every mistake of its shape.

    What is missing is replaced by what `stand_ins` give, by the last key. The content is None where that does not
    help; with a problem it is only good for looking for more problems.
    """
    try:
        return model.model_validate(raw), []
    except ValidationError as error:
        problems = problems_of(error, file, model)
        mended, found = copy.deepcopy(raw), error
    for _ in range(_ROUNDS):
        if not isinstance(mended, dict):
            break
        # Later places of a list first, so that what is taken out moves nothing that is still to be taken out.
        for item in sorted(found.errors(include_url=False), key=lambda item: _by_place(item["loc"]), reverse=True):
            _mend(mended, item["loc"], item["type"] == "missing", stand_ins)
        try:
            return model.model_validate(mended), problems
        except ValidationError as error:
            found = error
    return None, problems


def _by_place(place: tuple[int | str, ...]) -> tuple[tuple[bool, int, str], ...]:
    return tuple((isinstance(key, int), key if isinstance(key, int) else 0, str(key)) for key in place)


def _mend(raw: Any, place: tuple[int | str, ...], missing: bool, stand_ins: Mapping[str, Callable[[], Any]]) -> None:
    """Put a stand-in where something is missing, or take out what is wrong."""
    if place[-1:] == ("[key]",):
        place = place[:-1]
    if not place:
        return
    for key in place[:-1]:
        if not _holds(raw, key):
            return
        raw = raw[key]
    last = place[-1]
    if missing and isinstance(raw, dict) and isinstance(last, str):
        raw[last] = stand_ins.get(last, _nothing)()
    elif _holds(raw, last):
        del raw[last]


def _nothing() -> None:
    """No stand-in: the file is not salvaged."""


def _holds(raw: Any, key: int | str) -> bool:
    return (isinstance(raw, dict) and key in raw) or (isinstance(raw, list) and isinstance(key, int) and key < len(raw))
