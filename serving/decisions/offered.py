"""The catalogue that decides now, or why there is none, in the words of the API."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from feature_repo.configuration import Problem
from pipelines.catalogue import Catalogue
from serving.api.errors import ApiError, ErrorDetail
from serving.decisions.catalogue_watch import CatalogueWatch


def catalogue_now(watch: CatalogueWatch) -> Catalogue:
    """The last good one. Raises ApiError (503) where none ever was."""
    offered = watch.offered
    if offered.catalogue is None:
        raise no_catalogue(offered.held_back)
    return offered.catalogue


def no_catalogue(problems: Iterable[Problem]) -> ApiError:
    """The files cannot be decided by, with every mistake of theirs."""
    told = [_detail(problem) for problem in problems]
    hint = "write it; pipelines/README.md says how"
    missing = ErrorDetail(field="actions.yaml", expected="a catalogue of actions", got="none", hint=hint)
    count = f"{len(told)} mistake{'s' if len(told) != 1 else ''} in the catalogue of actions"
    return ApiError(503, "catalogue_unusable", count if told else "there is no catalogue of actions", told or [missing])


def _detail(problem: Problem) -> ErrorDetail:
    file = f"{Path(problem.file).name}: " if problem.file else ""
    return ErrorDetail(field=f"{file}{problem.field}", expected=problem.expected, got=problem.got, hint=problem.hint)
