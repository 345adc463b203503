"""What a companion has to show against the present champion, read off figures of any size."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.companions.gates import check_gates
from pipelines.gate import Gate
from pipelines.settings.models import CompanionGates


def evaluation(gain: float | None, score: float | None = 200.0) -> dict[str, Any]:
    """It beats the simplest model; `gain` is the lower bound over the champion, whose own score is `score`."""
    against = {"train_mean": 50.0, "champion": gain}
    return {
        "test_rows": 500, "coverage": 0.9, "level": 0.9, "simplest": "train_mean", "judged_by": "deviance",
        "gains": [{"against": name, "metric": "deviance", "low": low} for name, low in against.items()],
        "models": [{"name": name, "figures": {"deviance": {"estimate": score}}} for name in against],
    }  # fmt: skip


def champion_gate(found: dict[str, Any], most: float = 0.02) -> Gate:
    gates = check_gates(CompanionGates(maximum_loss_against_champion=most), found)
    assert all(gate.passed for gate in gates[:-1])
    assert gates[-1].name == "maximum_loss_against_champion"
    return gates[-1]


@pytest.mark.parametrize(
    ("gain", "most", "passed", "lost"),
    [
        (10.0, 0.02, True, -0.05), (0.0, 0.0, True, 0.0), (-4.0, 0.02, True, 0.02), (-4.1, 0.02, False, 0.0205),
        (-4.1, 0.05, True, 0.0205), (-0.1, 0.0, False, 0.0005),
    ],
)  # fmt: skip
def test_what_is_lost_is_a_share_of_the_champions_score(gain: float, most: float, passed: bool, lost: float) -> None:
    gate = champion_gate(evaluation(gain), most)
    assert gate.passed is passed
    assert gate.figure == pytest.approx(lost)


@pytest.mark.parametrize(("gain", "score"), [(None, 200.0), (1.0, None)])
def test_a_comparison_that_is_not_defined_is_no_pass(gain: float | None, score: float | None) -> None:
    gate = champion_gate(evaluation(gain, score))
    assert not gate.passed
    assert "not known" in gate.text()


def test_of_a_champion_without_any_error_nothing_may_be_lost() -> None:
    assert champion_gate(evaluation(0.0, 0.0)).passed
    assert not champion_gate(evaluation(-0.1, 0.0)).passed


def test_without_a_champion_in_the_comparison_nothing_is_asked() -> None:
    found = evaluation(0.0)
    found["models"].pop()
    assert "maximum_loss_against_champion" not in {gate.name for gate in check_gates(CompanionGates(), found)}
