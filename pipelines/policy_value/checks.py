"""What logged decisions, a policy and a reward model must be, before anything is computed; all mistakes at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.policy_value.logged import Expected, Logged, Policy

# Chances that were written with six digits still sum to 1.
TOLERANCE = 1e-4


def check_inputs(logged: Logged, policies: dict[str, Policy], expected: Expected | None = None) -> None:
    """Refuse what no value can be computed from. `policies` are by the name that a mistake is told with.

    Raises:
        UserError: with every mistake of the log, of the policies and of the reward model.
    """
    problems = logged_problems(logged)
    for name, policy in policies.items():
        problems += _policy_problems(name, policy, logged)
    if expected is not None:
        problems += _expected_problems(expected, logged)
    if problems:
        count = len(problems)
        raise UserError(f"{count} mistake{'s' if count != 1 else ''} in what is to be evaluated", problems)


def logged_problems(logged: Logged) -> list[Problem]:
    """Mistakes of the log alone; shapes first, as nothing else can be told without them."""
    shaped = _shape_problems(logged)
    if shaped:
        return shaped
    if logged.rows == 0:
        return [Problem("decisions", "at least one", "none")]
    known = (logged.action >= 0) & (logged.action < logged.actions)
    chosen = np.where(known, logged.action, 0)
    chance = logged.propensity
    found = [
        _rows("action", f"0 to {logged.actions - 1}", ~known),
        _rows("reward", "finite numbers", ~np.isfinite(logged.reward)),
        _rows("propensity", "above 0 and at most 1", ~((chance > 0) & (chance <= 1)), "the chance of what was chosen"),
        _rows("eligible", "the action that was chosen", known & ~logged.eligible[np.arange(logged.rows), chosen]),
    ]
    return [problem for problem in found if problem is not None]


def _shape_problems(logged: Logged) -> list[Problem]:
    rows = len(logged.action)
    columns = {"reward": logged.reward, "propensity": logged.propensity, "cluster": logged.cluster}
    found = [
        Problem(name, f"shape ({rows},), as action has", str(values.shape))
        for name, values in columns.items()
        if values.shape != (rows,)
    ]
    if logged.eligible.ndim != 2 or len(logged.eligible) != rows:
        found.append(Problem("eligible", f"shape ({rows}, actions)", str(logged.eligible.shape)))
    return found


def _policy_problems(name: str, policy: Policy, logged: Logged) -> list[Problem]:
    if logged.eligible.ndim != 2:
        return []
    if policy.shape != logged.eligible.shape:
        return [Problem(name, f"shape {logged.eligible.shape}", str(policy.shape))]
    sums = policy.sum(axis=1)
    found = [
        _rows(name, "chances from 0 to 1", ~((policy >= 0) & (policy <= 1 + TOLERANCE)).all(axis=1)),
        _rows(name, "chances that sum to 1", ~(np.abs(sums - 1) <= TOLERANCE)),
        _rows(name, "0 for actions that are not eligible", ((policy > 0) & ~logged.eligible).any(axis=1)),
    ]
    return [problem for problem in found if problem is not None]


def _expected_problems(expected: Expected, logged: Logged) -> list[Problem]:
    if logged.eligible.ndim != 2:
        return []
    if expected.shape != logged.eligible.shape:
        return [Problem("expected", f"shape {logged.eligible.shape}", str(expected.shape))]
    wrong = _rows("expected", "finite for all that is eligible", (~np.isfinite(expected) & logged.eligible).any(axis=1))
    return [] if wrong is None else [wrong]


def _rows(field: str, expected: str, wrong: NDArray[np.bool_] | np.bool_, hint: str = "") -> Problem | None:
    """A mistake with the number of decisions that have it and the first of them, counted from 0."""
    count = int(wrong.sum())
    if not count:
        return None
    got = f"something else in {count:,} of {wrong.size:,} decisions, first in decision {int(np.argmax(wrong)):,}"
    return Problem(field, expected, got, hint)
