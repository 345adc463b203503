"""Who is in the dataset, as SQL over the lake: active customers, those with an open opportunity, or with an action.

Only what had arrived by the as-of instant t counts (`event_time < t` and `available_at <= t`), which is
what features see too. All times: int64 microseconds UTC.

- **Active**: a qualifying event lies in `[t - activity_window, t)`.
- **Open opportunity**: an opening lies in `[t - open_for, t)`, and no closing or goal event is later than it (one at
  the very instant of the opening is not). With `match`, each value of that property is an opportunity of its
  own, and an event without the property is of none.
- **Right after an opening** (`snapshots.at: opening`): t is one microsecond after the opening had happened and
  was known, so that features see it. The opportunities of such a row are those whose opening became known
  at that instant, and no earlier ones.
- **At an assignment** (a label of actions): t is when a customer got an action, see `assignments.py`.
- **Left out** is who has an event of `exclude` before t.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from pipelines.dataset.assignments import make_assigned
from pipelines.dataset.spans import ALL_TIME, Spans
from pipelines.settings.labels import ActionLabel, ConversionLabel, ExclusionConfig, Label, microseconds

# The opportunity of an event: '' where nothing is matched, so that all are of one; NULL where it is of none.
_LABEL_EVENTS = """
CREATE OR REPLACE TEMP VIEW label_events AS
SELECT customer_id, event, event_time, available_at, value, {opportunity} AS opportunity FROM customer_events
"""

_AT_INSTANTS = """
SELECT customer_id, as_of, opportunity, max(event_time) AS opened
FROM (SELECT unnest($instants::BIGINT[]) AS as_of) asked
JOIN label_events ON event_time >= as_of - $look_back AND event_time < as_of AND available_at <= as_of
WHERE list_contains($events, event) AND opportunity IS NOT NULL
GROUP BY ALL
"""

_AT_OPENINGS = """
SELECT customer_id, greatest(event_time, available_at) + 1 AS as_of, opportunity, max(event_time) AS opened
FROM label_events
WHERE list_contains($events, event) AND opportunity IS NOT NULL
GROUP BY ALL
HAVING as_of >= $begin AND as_of < $end AND opened >= as_of - $look_back
"""

_AT_ASSIGNMENTS = "SELECT customer_id, as_of, '' AS opportunity, as_of AS opened FROM assigned"

# Of several openings the latest decides: what came after it came after the earlier ones too.
_OPEN = """
SELECT c.customer_id, c.as_of, c.opportunity
FROM candidates c
ANTI JOIN (FROM label_events WHERE list_contains($closing, event)) e
ON e.customer_id = c.customer_id AND e.opportunity = c.opportunity
   AND e.event_time > c.opened AND e.event_time < c.as_of AND e.available_at <= c.as_of
"""

_EXCLUDED = """
SELECT DISTINCT c.customer_id, c.as_of
FROM standing c
JOIN (FROM label_events WHERE list_contains($events, event)) e
ON e.customer_id = c.customer_id AND e.event_time < c.as_of AND e.available_at <= c.as_of
   AND e.event_time >= c.as_of - $within
"""

_EVER = 2**62


@dataclass(frozen=True, slots=True)
class Openings:
    """Rows right after each opening, or at each assignment, with as-of instants in `[begin, end)`.

    Of each of `spans` a customer is looked at once where nobody was assigned.
    """

    begin: int
    end: int
    spans: Spans = ALL_TIME


When = Sequence[int] | Openings


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Customers at an instant that are no rows: all their opportunities were closed, or `label.exclude` fits them.

    `assignments` says why assignments of actions are none, and how many.
    """

    closed: int
    excluded: int
    assignments: Mapping[str, int] = field(default_factory=dict)


def make_population(connection: duckdb.DuckDBPyConnection, label: Label, when: When, known_by: int) -> LeftOut:
    """Make the temporary table `population` (customer_id, as_of, opportunity) from the view `customer_events`.

    `known_by` limits which assignments count; who else is in the population is known at the as-of instant.
    """
    assignments: dict[str, int] = {}
    connection.execute(_LABEL_EVENTS.format(opportunity=_opportunity(label)))
    values: dict[str, object] = {"events": list(label.population_events), "look_back": microseconds(label.look_back)}
    if isinstance(label, ActionLabel):
        begin, end, spans = _range(when)
        assignments = make_assigned(connection, label, begin, end, spans, known_by)
        _make(connection, "candidates", _AT_ASSIGNMENTS, {})
    elif isinstance(when, Openings):
        _make(connection, "candidates", _AT_OPENINGS, values | {"begin": when.begin, "end": when.end})
    else:
        _make(connection, "candidates", _AT_INSTANTS, values | {"instants": list(when)})
    closing = [*label.closed_by, *label.goal_events] if isinstance(label, ConversionLabel) else []
    _make(connection, "standing", _OPEN, {"closing": closing})
    _make(connection, "excluded", _EXCLUDED, _exclusion(label.exclude))
    _make(connection, "population", "FROM standing ANTI JOIN excluded USING (customer_id, as_of)", {})
    closed = "(SELECT DISTINCT customer_id, as_of FROM candidates) ANTI JOIN standing USING (customer_id, as_of)"
    return LeftOut(_count(connection, closed), _count(connection, "excluded"), assignments)


def _range(when: When) -> tuple[int, int, Spans]:
    if not isinstance(when, Openings):
        raise TypeError("rows of actions are at assignments, not at instants of the calendar")
    return when.begin, when.end, when.spans


def _make(connection: duckdb.DuckDBPyConnection, table: str, sql: str, values: dict[str, object]) -> None:
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {sql}", values)


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0])


def _opportunity(label: Label) -> str:
    if not isinstance(label, ConversionLabel) or label.match is None:
        return "''"
    path = f"$.{json.dumps(label.match, ensure_ascii=False)}".replace("'", "''")
    return f"nullif(json_extract_string(properties, '{path}'), '')"


def _exclusion(exclude: ExclusionConfig | None) -> dict[str, object]:
    if exclude is None:
        return {"events": [], "within": 0}
    return {"events": list(exclude.events), "within": microseconds(exclude.within) if exclude.within else _EVER}
