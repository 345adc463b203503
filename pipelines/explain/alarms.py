"""What the leakage checks say of the model, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Above this AUC the test is easily told from the newest training rows: a choice of ours, no check's threshold.
EASILY_TOLD_APART = 0.7


def raised(leakage: Mapping[str, Any] | None) -> list[str] | None:
    """Names of the alarms that block this model; None where leakage was not looked for."""
    return _names(leakage, True) if leakage else None


def warned(leakage: Mapping[str, Any] | None) -> list[str]:
    """Names of the alarms that were raised and block nothing."""
    return _names(leakage, False) if leakage else []


def _names(leakage: Mapping[str, Any], blocks: bool) -> list[str]:
    return [
        item["name"].replace("_", " ")
        for item in leakage["alarms"] if item["raised"] and item.get("blocks", True) == blocks
    ]  # fmt: skip


def judged(alarm: Mapping[str, Any]) -> bool:
    """Whether the check has a threshold; without one its figure is for the reader to judge."""
    return bool(alarm["raised"]) or alarm["threshold"] is not None


def time_shift(leakage: Mapping[str, Any] | None) -> float | None:
    """AUC of telling the test from the newest training snapshot by the model's columns; None where not looked at."""
    for item in (leakage or {}).get("alarms", ()):
        if item["name"] == "time_in_features" and item["figure"] is not None:
            return float(item["figure"])
    return None
