"""What the events of a source may be used for, as stated by the keys they are sent with.

A statement is a set of purposes and the legal basis they rest on. No statement means no purpose: events then
count for nothing until the customer consents.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from contextlib import closing
from pathlib import Path

from feature_repo.configuration import Problem
from pipelines.access.keys import AccessKey, Keys

LEGAL_BASES = (
    "consent",
    "contract",
    "legal_obligation",
    "vital_interests",
    "public_task",
    "legitimate_interests",
    "research",
)
_NAME = re.compile(r"[a-z][a-z_]{0,59}")


def statement_problems(
    purposes: Collection[str], legal_basis: str | None, known: Collection[str] | None = None
) -> list[Problem]:
    """Every mistake of a statement. `known` are the purposes there are; without it any plain name will do."""
    problems = []
    for purpose in purposes:
        if not _NAME.fullmatch(purpose):
            problems.append(Problem("--purposes", "names of small letters and _, with commas between", repr(purpose)))
        elif known is not None and purpose not in known:
            problems.append(Problem("--purposes", f"some of: {', '.join(known)}", repr(purpose)))
    if legal_basis is not None and legal_basis not in LEGAL_BASES:
        problems.append(Problem("--legal-basis", f"one of: {', '.join(LEGAL_BASES)}", repr(legal_basis)))
    if purposes and legal_basis is None:
        problems.append(Problem("--legal-basis", "what the purposes rest on", "nothing", "see twin keys create --help"))
    if legal_basis is not None and not purposes:
        problems.append(Problem("--purposes", "what the legal basis is for", "nothing", "such as profiling,training"))
    return problems


def source_purposes(path: Path) -> dict[str, frozenset[str]]:
    """Of each source that ever had an ingest key in the file `path`: the purposes its events may serve.

    These are the purposes that all of its keys state, revoked ones too: an event does not say which key it came
    with, and what was collected for one purpose is not turned to another by a later key.

    Raises sqlite3.Error where the file cannot be read.
    """
    if not path.exists():
        return {}
    # A service asks once a second: what is left to the collector would stay open for long.
    with closing(Keys(path)) as keys:
        return purposes_of(keys.all())


def purposes_of(keys: Iterable[AccessKey]) -> dict[str, frozenset[str]]:
    """`source_purposes` of these keys."""
    found: dict[str, frozenset[str]] = {}
    for key in keys:
        if "ingest" in key.scopes:
            stated = frozenset(key.purposes)
            found[key.source] = found.get(key.source, stated) & stated
    return found
