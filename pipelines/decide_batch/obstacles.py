"""Why actions are not open to many customers: the first obstacle of each, in the order of `decisions.obstacles`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipelines.catalogue import Action, Catalogue
from pipelines.decisions.decide_many import ManyCandidates, ManySituations, candidates_of_many
from pipelines.decisions.obstacles import within_budget

# Codes of `situation.Lost` that are obstacles, by number; 0 stands for none.
CODES = ("", "not_valid_yet", "expired", "consent", "not_eligible", "cap", "quiet_hours", "budget")
_PLACE = {code: at for at, code in enumerate(CODES)}


def obstacles_of(catalogue: Catalogue, many: ManySituations, found: ManyCandidates) -> NDArray[np.int8]:
    """The number in CODES of the first obstacle of each action, shape (n, k), where `found` are the candidates."""
    is_over = not all(within_budget(action, catalogue.budget, many.spent) for action in catalogue.actions)
    without_budget = replace(catalogue, budget=None)
    in_budget = candidates_of_many(without_budget, many).open if is_over else found.open
    never_quiet = replace(
        without_budget, actions=tuple(replace(action, quiet_hours=None) for action in catalogue.actions)
    )
    by_rule = candidates_of_many(replace(never_quiet, caps=()), many).open
    by_cap = candidates_of_many(never_quiet, many).open if catalogue.caps else by_rule
    made = np.zeros(found.open.shape, dtype=np.int8)
    # From the last obstacle to the first, which stands in the end.
    for is_open, code in (
        (found.open, "budget"),
        (in_budget, "quiet_hours"),
        (by_cap, "cap"),
        (by_rule, "not_eligible"),
    ):
        made[~is_open] = _PLACE[code]
    for at, action in enumerate(catalogue.actions):
        if action.purpose is not None:
            made[~many.consents.get(action.purpose, np.zeros(many.rows, dtype=bool)), at] = _PLACE["consent"]
        if (invalid := _validity(action, many.as_of)) is not None:
            made[:, at] = _PLACE[invalid]
    return made


def _validity(action: Action, as_of: int) -> str | None:
    if action.starts is not None and as_of < action.starts:
        return "not_valid_yet"
    return "expired" if action.ends is not None and as_of >= action.ends else None
