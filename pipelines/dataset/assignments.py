"""Who got which action, as SQL over the lake: one row per assignment, and the control rows that nobody drew.

The as-of instant of a row is the assignment's `event_time` t. Features see what happened before t and had arrived by t,
so neither the assignment nor what it does; an outcome at t itself counts.

- **Left out** is an assignment without an action; where a chance is logged, one whose chance is missing, not above 0 or
  above 1; and one whose action is not among those that it says could be chosen. Of several of one customer at one
  instant the one that was stored first stays.
- **Control rows of `label.others`**: of each span every customer with one of its events is looked at once, at the
  instant of one of the span's actions, drawn by a hash of customer and span (the instants have as many chances as
  actions were assigned at them). It is a row if one of those events lies in `[t - within, t)` and was known by t,
  and no action of theirs lies in `[t - within, t + gap + horizon)`.

All times: int64 microseconds UTC.
"""

from __future__ import annotations

import json

import duckdb

from pipelines.dataset.spans import Spans
from pipelines.settings.labels import ActionLabel, AssignmentConfig, microseconds

# Why an assignment is no row.
NAMELESS = "without an action"
NO_PROPENSITY = "without a propensity"
BAD_PROPENSITY = "whose propensity is not above 0 and at most 1"
NOT_ELIGIBLE = "whose action is not among those that could be chosen"
SECOND = "of a customer with an earlier one at the same instant"

_EVENTS = """
SELECT customer_id, event_time AS as_of, available_at, position, {number} AS number,
       {action} AS action, {propensity} AS propensity, {eligible} AS eligible, {drawn} AS drawn
FROM customer_events WHERE event = {event}{only}
"""

_ASSIGNMENTS = f"""
CREATE OR REPLACE TEMP TABLE assignments AS
SELECT *, CASE WHEN action IS NULL THEN '{NAMELESS}'
               WHEN drawn AND propensity IS NULL THEN '{NO_PROPENSITY}'
               WHEN drawn AND NOT (propensity > 0 AND propensity <= 1) THEN '{BAD_PROPENSITY}'
               WHEN NOT list_contains(eligible, action) THEN '{NOT_ELIGIBLE}' END AS mistake
FROM ({{events}})
"""

_IN_TURN = f"""
CREATE OR REPLACE TEMP TABLE in_turn AS
SELECT customer_id, as_of, action, propensity, eligible,
       CASE WHEN mistake IS NULL AND row_number() OVER first_stored > 1 THEN '{SECOND}' ELSE mistake END AS mistake
FROM assignments WHERE as_of >= $begin AND as_of < $end AND available_at <= $known_by
WINDOW first_stored AS (PARTITION BY customer_id, as_of, mistake IS NULL ORDER BY position, number)
"""

_ASSIGNED = """
CREATE OR REPLACE TEMP TABLE assigned AS
SELECT customer_id, as_of, action, propensity, eligible FROM in_turn WHERE mistake IS NULL
"""

# The hash is MD5, which is the same in every version of the database.
_OTHERS = """
INSERT INTO assigned
WITH numbered AS (
    SELECT as_of, span, row_number() OVER (PARTITION BY span ORDER BY as_of, customer_id) - 1 AS number,
           count(*) OVER (PARTITION BY span) AS of_span
    FROM (FROM assigned SELECT *, as_of - (((as_of - $anchor) % $every) + $every) % $every AS span)
    WHERE action <> $control
), people AS (
    SELECT DISTINCT customer_id FROM customer_events WHERE list_contains($events, event)
), looked_at AS (
    SELECT customer_id, as_of
    FROM people CROSS JOIN (SELECT DISTINCT span, of_span FROM numbered) JOIN numbered USING (span, of_span)
    WHERE number = md5_number_lower(customer_id || '/' || span) % of_span
)
SELECT customer_id, as_of, $control, NULL, NULL
FROM looked_at l
SEMI JOIN (FROM customer_events WHERE list_contains($events, event)) e
ON e.customer_id = l.customer_id AND e.event_time >= l.as_of - $within AND e.event_time < l.as_of
   AND e.available_at <= l.as_of
ANTI JOIN (FROM assignments WHERE action IS DISTINCT FROM $control AND available_at <= $known_by) a
ON a.customer_id = l.customer_id AND a.as_of >= l.as_of - $within AND a.as_of < l.as_of + $after
ANTI JOIN assigned drawn ON drawn.customer_id = l.customer_id AND drawn.as_of = l.as_of
"""


def read_assignments(connection: duckdb.DuckDBPyConnection, label: ActionLabel) -> None:
    """Make the temporary table `assignments` from the view `customer_events`: every assignment of the log."""
    parts = [_events(label, source, number) for number, source in enumerate(label.assigned_by)]
    connection.execute(_ASSIGNMENTS.format(events=" UNION ALL ".join(parts)))


def make_assigned(
    connection: duckdb.DuckDBPyConnection, label: ActionLabel, begin: int, end: int, spans: Spans, known_by: int
) -> dict[str, int]:
    """Make the table `assigned` (customer_id, as_of, action, propensity, eligible), one row a customer and instant.

    Instants are in `[begin, end)`, of what had arrived by `known_by`. Propensity is NULL where nobody drew.

    Returns:
        why assignments are left out, and how many.
    """
    read_assignments(connection, label)
    connection.execute(_IN_TURN, {"begin": begin, "end": end, "known_by": known_by})
    connection.execute(_ASSIGNED)
    if label.others is not None:
        values = {
            "events": list(label.others.events),
            "within": microseconds(label.others.within),
            "after": microseconds(label.gap) + microseconds(label.horizon),
            "control": label.control,
            "anchor": spans.anchor,
            "every": spans.every,
            "known_by": known_by,
        }
        connection.execute(_OTHERS, values)
    counted = "SELECT mistake, count(*) FROM in_turn WHERE mistake IS NOT NULL GROUP BY mistake ORDER BY mistake"
    return {str(mistake): int(count) for mistake, count in connection.execute(counted).fetchall()}


def _events(label: ActionLabel, source: AssignmentConfig, number: int) -> str:
    propensity, eligible = "NULL::DOUBLE", "NULL::VARCHAR[]"
    if source.propensity is not None:
        propensity = f"TRY_CAST({_string(source.propensity)} AS DOUBLE) / {source.scale}"
    if source.eligible is not None:
        path = _path(source.eligible)
        names = f"json_extract_string(properties, {_text(path + '[*]')})"
        translated = f"list_transform({names}, lambda name: {_translated(label, 'name')})"
        is_list = f"json_type(properties, {_text(path)}) = 'ARRAY'"
        eligible = f"CASE WHEN {is_list} THEN list_sort(list_distinct({translated})) END"
    return _EVENTS.format(
        number=number,
        action=_translated(label, f"nullif({_string(source.action)}, '')"),
        propensity=propensity,
        eligible=eligible,
        drawn="true" if source.propensity is not None else "false",
        event=_text(source.event),
        only="".join(f" AND {_is(name, value)}" for name, value in source.only.items()),
    )


def _translated(label: ActionLabel, name: str) -> str:
    """The catalogue's name for a name of the log."""
    cases = " ".join(f"WHEN {_text(own)} THEN {_text(action)}" for own, action in label.actions.items())
    return f"CASE {name} {cases} ELSE {name} END" if cases else name


def _is(name: str, value: str | int | bool) -> str:
    """Whether a property has this value, of this type: "1", 1 and true are three."""
    kinds = "'BOOLEAN'" if isinstance(value, bool) else "'VARCHAR'" if isinstance(value, str) else "'BIGINT', 'UBIGINT'"
    text = value if isinstance(value, str) else json.dumps(value)
    return f"json_type(properties, {_text(_path(name))}) IN ({kinds}) AND {_string(name)} = {_text(text)}"


def _string(name: str) -> str:
    return f"json_extract_string(properties, {_text(_path(name))})"


def _path(name: str) -> str:
    return f"$.{json.dumps(name, ensure_ascii=False)}"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
