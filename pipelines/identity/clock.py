"""When a decision that is made now begins to count, by the clock of the workspace."""

from __future__ import annotations

import time

from pipelines.events.opening import may_have_states, open_states
from pipelines.settings import Settings


def decided_at(settings: Settings) -> int:
    """Int64 microseconds UTC: now, or with the clock `data_end` at most the newest instant of the data.

    Events that a decision gives to a customer count from then on. With files of the past, a decision of today
    would make them events of today, and move the end of the data, which is "now" to every prediction there.
    """
    now = time.time_ns() // 1000
    newest = _newest(settings) if settings.profile.clock == "data_end" else None
    return now if newest is None else min(now, newest)


def _newest(settings: Settings) -> int | None:
    workspace = settings.workspace
    if may_have_states(settings):
        found = open_states(settings).newest(settings.features.hash)
        if found is not None:
            return found
    if not workspace.lake.exists():
        return None
    # An engine that takes long to import.
    from pipelines.events.lake import data_bounds

    return data_bounds(workspace.lake).last_available_at
