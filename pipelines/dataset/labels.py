"""The churn label, as SQL over the lake.

At an as-of instant t a customer belongs to the population if a qualifying event lies in
`[t - activity_window, t)` and had arrived by t (`available_at <= t`), which is what features see
too. The label is 1 if no qualifying event lies in `[t + gap, t + gap + horizon)`, else 0: outcomes
count by when they happened. For a test they count whenever they arrived; for training only if they
had arrived by the first test instant, since a model made then could not know more.
`label.arrival_delay` is how long a label waits for events that arrive late. Events in `[t, t + gap)`
decide nothing. All times: int64 microseconds UTC.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pandas as pd

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.dataset.snapshots import LogRange
from pipelines.settings.labels import ChurnLabel, Label, microseconds

FOR_EVER = 2**63 - 1

RANGE_SQL = """
SELECT min(event_time), max(least(event_time, available_at)) + 1
FROM customer_events WHERE list_contains($events, event)
"""

LABEL_SQL = """
WITH qualifying AS (
    SELECT customer_id, event_time, available_at FROM customer_events WHERE list_contains($events, event)
),
snapshots AS (
    SELECT unnest($instants::BIGINT[]) AS as_of
)
SELECT customer_id, as_of,
       CASE WHEN bool_or(event_time >= as_of + $gap AND available_at <= $known_by) THEN 0 ELSE 1 END::TINYINT AS label
FROM snapshots
JOIN qualifying ON event_time >= as_of - $activity AND event_time < as_of + $gap + $horizon
GROUP BY customer_id, as_of
HAVING bool_or(event_time < as_of AND available_at <= as_of)
ORDER BY as_of, customer_id
"""


def log_range(connection: duckdb.DuckDBPyConnection, label: Label) -> LogRange:
    """What the qualifying events cover.

    The end is one microsecond after the newest of them that is not dated later than it arrived, so
    a wrong clock does not make labels look matured; only qualifying events count, because other
    feeds may run on while the one that decides the label has stopped.

    Raises:
        UserError: there are no qualifying events of known customers.
    """
    found = connection.execute(RANGE_SQL, {"events": list(label.population_events)}).fetchone()
    if found is None or found[0] is None:
        events = ", ".join(label.population_events)
        hint = "ingest a source that has them, or change label.qualifying_events"
        raise UserError(
            "There is nothing to label.", [Problem("label.qualifying_events", events, "no such event", hint)]
        )
    return LogRange(int(found[0]), int(found[1]))


def label_rows(
    connection: duckdb.DuckDBPyConnection, label: Label, instants: Sequence[int], known_by: int = FOR_EVER
) -> pd.DataFrame:
    """Labels at `instants` from the view `customer_events`, outcomes as far as they had arrived by `known_by`.

    Returns:
        columns customer_id, as_of (int64 microseconds UTC) and label (0 or 1), one row per customer
        of the population and instant, ordered by instant and customer.
    """
    if not isinstance(label, ChurnLabel):
        raise NotImplementedError(f"labels of kind {label.kind}")
    values = {
        "events": list(label.qualifying_events),
        "instants": list(instants),
        "activity": microseconds(label.activity_window),
        "gap": microseconds(label.gap),
        "horizon": microseconds(label.horizon),
        "known_by": known_by,
    }
    return connection.execute(LABEL_SQL, values).df().astype({"as_of": "int64", "label": "int64"})
