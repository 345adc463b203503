"""A small catalogue of actions as a person writes it, for tests that change one thing in it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from feature_repo.configuration import ConfigurationError, Problem
from pipelines.catalogue import Catalogue
from pipelines.settings import load_settings
from pipelines.settings.catalogue import load_catalogue
from pipelines.settings.surroundings import Surroundings

# 2026-06-15 12:00 in Bangkok.
NOW = 1_781_499_600_000_000

ACTIONS: dict[str, Any] = {
    "version": 1,
    "currency": "THB",
    "model": "next_best_action",
    "fallback_model": "conversion",
    "time_zone": "Asia/Bangkok",
    "time_zone_trait": "timezone",
    "traits": {
        "language": "customer_identified_language_latest_lifetime",
        "timezone": "customer_identified_timezone_latest_lifetime",
    },
    "rules": {"buys": "orders_lately and speaks", "orders_lately": "order_completed_count_90d > 0",
              "speaks": "traits.language in ['th', 'en']"},
    "holdout": {"share": 0.05, "salt": "2026"},
    "exploration": {"share": 0.1, "cold_start_share": 0.3},
    "budget": {"amount": 20000, "per": "1d"},
    "caps": [{"contacts": 3, "within": "7d"}, {"channel": "email", "contacts": 1, "within": "1d"}],
    "quiet_hours": {"from": "21:00", "to": "09:00"},
    "channels": {"line": {"quiet_hours": {"from": "23:00", "to": "07:30"}}},
    "send_time": {
        "channels": {"email": "email_opened_count_hour_{hour}_90d"}, "fallback_hour": 19, "at_least": 5,
    },
    "actions": [
        {
            "id": "coupon", "description": "A coupon.", "channel": "email", "cost": 12.5,
            "value": "0.3 * order_completed_value_mean_lifetime", "eligible": "buys and stage == 'usage'",
            "consent": "marketing", "valid": {"from": "2026-06-01", "until": "2026-06-30"},
            "caps": [{"contacts": 1, "within": "30d"}], "priority": 1.5, "boost": -2.25,
            "variants": [
                {"id": "calm", "when": "order_refunded_count_lifetime > 0", "because": "something went back",
                 "text": {"en": "Sorry", "th": "ขออภัย"}},
                {"id": "plain", "template": {"en": "coupon-en", "th": "coupon-th"}},
            ],
        },
        {"id": "chat", "description": "LINE.", "channel": "line", "cost": 0, "value": 100, "consent": "marketing"},
        {"id": "receipt", "description": "Proof.", "channel": "email", "cost": 0, "value": 1, "consent": "none",
         "quiet_hours": "none"},
        {"id": "call", "description": "A task.", "channel": "none", "cost": 80, "value": "3 * 100",
         "consent": "profiling"},
    ],
}  # fmt: skip
JOURNEYS: dict[str, Any] = {
    "version": 1,
    "stages": [{"name": "usage", "when": "orders_lately"}, {"name": "awareness", "when": True}],
}


@cache
def around() -> Surroundings:
    return load_settings().surroundings


def changed(*changes: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The catalogue with changes made to a copy of it."""
    content = deepcopy(ACTIONS)
    for change in changes:
        change(content)
    return content


def write(folder: Path, actions: Any = ACTIONS, journeys: Any = JOURNEYS) -> tuple[Path, Path]:
    files = folder / "actions.yaml", folder / "journeys.yaml"
    # Triggers offer what is in the catalogue of the checkout.
    (folder / "triggers.yaml").unlink(missing_ok=True)
    for file, content in zip(files, (actions, journeys), strict=True):
        if content is not None:
            file.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False))
    return files


def load(folder: Path, actions: Any = ACTIONS, journeys: Any = JOURNEYS, now: int | None = NOW) -> Catalogue:
    return load_catalogue(*write(folder, actions, journeys), around(), now)


def mistakes(folder: Path, actions: Any, journeys: Any = JOURNEYS, now: int | None = NOW) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as raised:
        load(folder, actions, journeys, now)
    return raised.value.problems
