"""Compaction beside live events: a row leaves the journal only when every state has it.

Why no state can miss a row. Let P be the journal's position when a run begins. (1) The run folds all rows
up to P into the states. (2) It waits until each fold that began before has ended: such a fold may have read
a state without those rows and would find them gone from the journal. (3) Only then rows up to P move. A fold
that begins later reads a state that has them. Builds in bulk are kept out of (1) and (3), because what they
fold was read when they began; one between the two began after P was read, so it has the rows as well.
"""

from __future__ import annotations

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.events.compaction import CompactionReport, compact
from pipelines.events.journal import Journal
from pipelines.events.lake import last_position
from pipelines.events.live_states import LiveStates
from pipelines.events.state_lock import alone, shared, wait_for_folds
from pipelines.settings.workspace import Workspace


class OtherStatesBehind(UserError):
    """States of a spec whose content is not known would lose events; nothing was moved."""


def compact_folded(workspace: Workspace, journal: Journal, states: LiveStates) -> CompactionReport | None:
    """Fold what the journal holds now, then move it into the lake; None where another process does so already.

    Live events are taken and folded meanwhile. Raises as `LiveStates.take` and as `compact`, and
    OtherStatesBehind.
    """
    with alone(workspace.compaction_lock) as is_alone:
        if not is_alone:
            return None
        with shared(workspace.state_lock) as lock:
            until = journal.last_position()
            # Without states to fold into, rows are left to the build that is to come.
            if states.built or last_position(workspace.lake) == 0:
                states.catch_up()
            _check_others(states, until)
            states.note_not_folded(until)
            wait_for_folds(lock)
            return compact(workspace.lake, journal, until)


def holds_rows(journal: Journal, count: int) -> bool:
    """Whether the journal holds at least `count` rows."""
    first = journal.read_rows(0, 1)
    # Positions are given without gaps but for those that bulk loads reserve, so most calls end here.
    if not first or journal.last_position() - first[0][0] + 1 < count:
        return False
    return len(journal.read_rows(0, count)) >= count


def _check_others(states: LiveStates, until: int) -> None:
    behind = states.not_folded_behind(until)
    if behind:
        hint = (
            "train and register the model that reads them again, or drop these states: twin compact --drop-other-states"
        )
        raise OtherStatesBehind(
            "events stay in the journal: there are states of features whose content is not known here, and they would"
            " never get them",
            [Problem("states", "all events of the journal", f"fewer, for spec {', '.join(behind)}", hint)],
        )
