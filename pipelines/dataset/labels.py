"""The label of every row, as SQL over the lake.

The outcome of a row is looked for in `[t + gap, t + gap + horizon)`, by when it happened. For a test it counts
whenever it arrived; for training only if it had arrived by the first test instant, since a model
made then could not know more. `label.arrival_delay` is how long a label waits for events that arrive late.
Events in `[t, t + gap)` decide nothing. All times: int64 microseconds UTC.

| kind | label |
|---|---|
| `churn` | 1 if no qualifying event lies in the window, else 0 |
| `conversion` | 1 if a goal event of one of the row's opportunities lies in the window, else 0 |
| `value` | sum of the window's `value` over `add` less that over `subtract`, minor units; 0 without any |
| `next_event` | microseconds from `t + gap` to the window's first qualifying event, -1 without one |
| `action` | the reward: 1 if an event lies in the window, else 0; or how many; or their `value` as above |

A `value` of more than 10^12 in size counts as empty, as in features, so that no sum leaves 64 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pandas as pd

from feature_repo.configuration import Problem
from feature_repo.extract import LARGEST
from pipelines.console import UserError
from pipelines.dataset.population import LeftOut, When, make_population
from pipelines.dataset.snapshots import LogRange
from pipelines.settings.labels import ActionLabel, Label, ValueLabel, microseconds

FOR_EVER = 2**63 - 1

# Not dated later than it arrived: a wrong clock must not make labels look matured.
_RANGE = """
SELECT min(event_time), max(least(event_time, available_at)) + 1
FROM customer_events WHERE list_contains($events, event)
"""

_LABEL = {
    "churn": "CASE WHEN count(e.event) = 0 THEN 1 ELSE 0 END",
    "conversion": "CASE WHEN count(e.event) = 0 THEN 0 ELSE 1 END",
    "value": f"coalesce(sum(CASE WHEN list_contains($subtract, e.event) THEN -e.value ELSE e.value END) "
    f"FILTER (WHERE e.value BETWEEN -{LARGEST} AND {LARGEST}), 0)",
    "next_event": "coalesce(min(e.event_time) - p.as_of - $gap, -1)",
}
_REWARD = {"any": _LABEL["conversion"], "count": "count(e.event)", "value": _LABEL["value"]}

_ROWS = """
SELECT p.customer_id, p.as_of, ({label})::BIGINT AS label
FROM population p
LEFT JOIN (FROM label_events WHERE list_contains($events, event) AND available_at <= $known_by) e
ON e.customer_id = p.customer_id AND e.opportunity = p.opportunity
   AND e.event_time >= p.as_of + $gap AND e.event_time < p.as_of + $gap + $horizon
GROUP BY p.customer_id, p.as_of
ORDER BY p.as_of, p.customer_id
"""


_ACTIONS = """
SELECT action, propensity, eligible FROM population p JOIN assigned USING (customer_id, as_of)
ORDER BY p.as_of, p.customer_id
"""


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """`rows`: customer_id, as_of (int64 microseconds UTC), label (int64), one a customer of the population and instant,
    ordered by instant and customer; of a label of actions also action, propensity and eligible (pipelines.artefacts).
    """

    rows: pd.DataFrame
    left_out: LeftOut


def log_range(connection: duckdb.DuckDBPyConnection, label: Label) -> LogRange:
    """What the label's events cover.

    Only the events that decide count, because other feeds may run on while these have stopped, or have begun before
    these did: before the first outcome event, every outcome would look as if it had not come.

    Raises:
        UserError: there are no such events of known customers.
    """
    ranges = []
    for field, events in _deciding(label).items():
        start, end = connection.execute(_RANGE, {"events": list(events)}).fetchall()[0]
        if start is None:
            hint = f"ingest a source that has them, with consent, or change {field}"
            problem = Problem(
                field, f"events called {' or '.join(events)}", "none of a known customer who allows it", hint
            )
            raise UserError("There is nothing to label.", [problem])
        ranges.append((int(start), int(end)))
    return LogRange(*ranges[0], *ranges[-1])


def label_rows(
    connection: duckdb.DuckDBPyConnection, label: Label, when: When, known_by: int = FOR_EVER
) -> pd.DataFrame:
    """The rows of `labelled`, without the count of those that were excluded."""
    return labelled(connection, label, when, known_by).rows


def labelled(connection: duckdb.DuckDBPyConnection, label: Label, when: When, known_by: int = FOR_EVER) -> LabelledRows:
    """Labels at `when` from the view `customer_events`, outcomes as far as they had arrived by `known_by`."""
    left_out = make_population(connection, label, when, known_by)
    values = {
        "events": list(label.outcome_events),
        "gap": microseconds(label.gap),
        "horizon": microseconds(label.horizon),
        "known_by": known_by,
    }
    said = _REWARD[label.reward.of] if isinstance(label, ActionLabel) else _LABEL[label.kind]
    if "$subtract" in said:
        values["subtract"] = list(_subtracted(label))
    rows = connection.execute(_ROWS.format(label=said), values).df().astype({"as_of": "int64", "label": "int64"})
    return LabelledRows(_with_actions(connection, rows) if isinstance(label, ActionLabel) else rows, left_out)


def _subtracted(label: Label) -> tuple[str, ...]:
    if isinstance(label, ActionLabel):
        return label.reward.subtract
    return label.subtract if isinstance(label, ValueLabel) else ()


def _with_actions(connection: duckdb.DuckDBPyConnection, rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with what was assigned; both are in the same order."""
    found = connection.execute(_ACTIONS).fetchall()
    return rows.assign(
        action=pd.Series([action for action, _, _ in found], dtype="object"),
        propensity=pd.Series([propensity for _, propensity, _ in found], dtype="float64"),
        eligible=pd.Series([None if names is None else tuple(names) for _, _, names in found], dtype="object"),
    )


def is_positive(labels: pd.Series, label: Label) -> pd.Series:
    """Which of `labels` are 1, an amount above 0, or the time to an event that came."""
    return labels >= 0 if label.kind == "next_event" else labels > 0


def _deciding(label: Label) -> dict[str, tuple[str, ...]]:
    """Field and events: who is in the population, then what the outcome is."""
    if label.kind == "conversion":
        return {"label.opened_by": label.opened_by, "label.goal_events": label.goal_events}
    if label.kind == "value":
        return {"label.qualifying_events": label.qualifying_events, "label.add": label.add}
    if label.kind == "action":
        return {"label.assigned_by": label.population_events, "label.reward.events": label.reward.events}
    return {"label.qualifying_events": label.qualifying_events}
