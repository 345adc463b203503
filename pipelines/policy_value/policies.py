"""Policies by name: what `--policy` and `--against` of `twin ope` can say."""

from __future__ import annotations

import numpy as np

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.policy_value.decision_log import DecisionLog
from pipelines.policy_value.logged import Policy

KINDS = "constant:ACTION, uniform, logged or columns:PREFIX"


def policy_named(text: str, log: DecisionLog, option: str = "policy") -> Policy | None:
    """The policy that `text` says, chances of shape (n, actions); None is the log itself.

    constant:ACTION always chooses it, and no action where it is not eligible. uniform draws evenly from what is
    eligible. columns:PREFIX has its chances in the columns PREFIX<action>; an action without a column is not chosen.

    Raises:
        UserError: it says none, or names what the log does not know.
    """
    kind, _, rest = text.partition(":")
    if text == "logged":
        return None
    if text == "uniform":
        eligible = log.logged.eligible.astype(np.float64)
        made: Policy = eligible / eligible.sum(axis=1, keepdims=True)
        return made
    if kind == "constant" and rest:
        return _constant(rest, log, option)
    if kind == "columns" and rest:
        return _columns(rest, log, option)
    raise UserError("There is no such policy", [Problem(option, KINDS, repr(text))])


def _constant(action: str, log: DecisionLog, option: str) -> Policy:
    if action not in log.actions:
        known = ", ".join(log.actions[:50])
        raise UserError("The log knows no such action", [Problem(option, f"one of: {known}", repr(action))])
    place = log.actions.index(action)
    made = np.zeros(log.logged.eligible.shape)
    made[:, place] = log.logged.eligible[:, place]
    if log.otherwise is not None:
        made[made[:, place] == 0, log.actions.index(log.otherwise)] = 1.0
    return made


def _columns(prefix: str, log: DecisionLog, option: str) -> Policy:
    made = np.zeros(log.logged.eligible.shape)
    known = [(place, prefix + name) for place, name in enumerate(log.actions) if prefix + name in log.frame.columns]
    if not known:
        expected = f"columns {prefix}<action>, such as {prefix}{log.actions[0]}"
        raise UserError("The file has no such policy", [Problem(option, expected, "none of them")])
    problems = []
    for place, name in known:
        try:
            made[:, place] = log.frame[name].to_numpy(dtype=np.float64)
        except (TypeError, ValueError):
            problems.append(Problem(name, "a chance in every row", "something else"))
    if problems:
        raise UserError("The file's policy is no policy", problems)
    return made
