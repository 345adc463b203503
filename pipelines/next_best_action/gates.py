"""What a model of actions must show before it may become champion, read off its evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.gate import Gate
from pipelines.next_best_action.policies import CHAMPION, NO_ACTION
from pipelines.next_best_action.results import gain_over
from pipelines.settings.models import ActionGates


def check_gates(gates: ActionGates, evaluation: Mapping[str, Any]) -> tuple[Gate, ...]:
    """All gates, passed or not. Values are money a decision, net of costs."""
    rows, share = evaluation["test_rows"], evaluation["support"]["effective_share"]
    drawn = float(evaluation["randomised"])
    randomised = Gate("randomised", drawn >= 1.0, drawn, 1.0, "the actions were drawn with known chances: 1 if so")
    made = (
        Gate(
            "minimum_test_rows", rows >= gates.minimum_test_rows, rows, gates.minimum_test_rows,
            "decisions the test has, at least",
        ),
        Gate(
            "minimum_effective_sample_share", share >= gates.minimum_effective_sample_share, share,
            gates.minimum_effective_sample_share, "effective sample size of the policy over the test's rows, at least",
        ),
        _against_nobody(gates.worst_loss_against_no_action, evaluation),
        *_against_champion(gates.maximum_loss_against_champion, evaluation),
    )  # fmt: skip
    return (randomised, *made) if gates.randomised else made


def _against_nobody(most: float, evaluation: Mapping[str, Any]) -> Gate:
    """A policy that acts on nobody does the same as no action: it loses nothing."""
    found = gain_over(evaluation["gains"], NO_ACTION)
    meaning = "value lost against acting on nobody, by the lower bound, at most"
    lost = None if found is None else 0.0 - found["low"]
    return Gate("worst_loss_against_no_action", lost is not None and lost <= most, lost, most, meaning)


def _against_champion(most: float, evaluation: Mapping[str, Any]) -> tuple[Gate, ...]:
    """Nothing where no champion was compared."""
    found = gain_over(evaluation["gains"], CHAMPION)
    if found is None:
        return ()
    lost = 0.0 - found["low"]
    return (
        Gate(
            "maximum_loss_against_champion", lost <= most, lost, most,
            "value lost to the champion, upper bound, at most",
        ),
    )  # fmt: skip
