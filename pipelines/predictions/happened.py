"""What happened after each of many predictions, by the model's own label rules, each at its own as-of instant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from feature_repo.event_table import register_customer_events
from pipelines.dataset.consent import barred_from_training
from pipelines.dataset.labels import label_rows, log_range
from pipelines.events.opening import event_store
from pipelines.identity.current import current_membership
from pipelines.settings import Settings
from pipelines.settings.labels import ClassLabel, ConversionLabel

NO_EVENTS = "of customers who have no events any more (erased, known by another id now, or without consent)"
BARRED = "of customers without consent to learn from what they did"
NOT_ASKED = "of customers whom the label does not ask about at that instant"

_ASKED = pa.schema([("point", pa.int64()), ("customer", pa.string()), ("as_of", pa.int64())])
# Each point is a customer of its own, with a clock that says 0 at its as-of instant: the label's SQL answers for one
# instant, and so for all points at once.
_SHIFTED = """
CREATE OR REPLACE TEMP VIEW customer_events AS
SELECT e.* REPLACE (
  CAST(a.point AS VARCHAR) AS customer_id,
  e.event_time - a.as_of AS event_time,
  e.available_at - a.as_of AS available_at)
FROM events_of_label e JOIN asked a ON e.customer_id = a.customer
"""


@dataclass(frozen=True, slots=True)
class Happened:
    """`labels` by the place of what was asked; for the others it is counted why there is none.

    Instants in int64 microseconds UTC: a label is known up to `known_until`; `waiting` ones are not, the first of them
    at `first_known` (of all that were asked, where that is earlier), None where nothing was asked.
    """

    labels: dict[int, int]
    left_out: dict[str, int]
    waiting: int
    known_until: int
    first_known: int | None


def what_happened(settings: Settings, label: ClassLabel, points: Sequence[tuple[str, int]]) -> Happened:
    """The label of each of `points`: customer and as-of instant, int64 microseconds UTC.

    Raises:
        UserError: there are no events that the label knows.
    """
    with event_store(settings) as store:
        membership = current_membership(settings)
        snapshot = store.snapshot()
    with duckdb.connect() as connection:
        register_customer_events(connection, snapshot.lake_path, snapshot.version, snapshot.tail, membership)
        known_until = log_range(connection, label).outcomes_end
        barred = set(barred_from_training(connection, settings))
        there = {row[0] for row in connection.execute("SELECT DISTINCT customer_id FROM customer_events").fetchall()}
        allowed = [at for at, (who, _) in enumerate(points) if who in there and who not in barred]
        matured = [at for at in allowed if points[at][1] + label.window <= known_until]
        labels = _labels(connection, label, {at: points[at] for at in matured})
    left_out = {
        NO_EVENTS: sum(who not in there for who, _ in points),
        BARRED: sum(who in barred for who, _ in points),
        NOT_ASKED: len(matured) - len(labels),
    }
    return Happened(
        labels,
        {why: count for why, count in left_out.items() if count},
        len(allowed) - len(matured),
        known_until,
        min((points[at][1] + label.window for at in allowed), default=None),
    )


def _labels(
    connection: duckdb.DuckDBPyConnection, label: ClassLabel, points: dict[int, tuple[str, int]]
) -> dict[int, int]:
    columns = [list(points), [who for who, _ in points.values()], [as_of for _, as_of in points.values()]]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _ASKED, strict=True)]
    connection.register("asked", pa.Table.from_arrays(arrays, schema=_ASKED))
    theirs = "customer_id IN (SELECT customer FROM asked) AND list_contains($events, event)"
    made = f"CREATE TEMP TABLE events_of_label AS SELECT * FROM customer_events WHERE {theirs}"
    connection.execute(made, {"events": _events(label)})
    connection.execute(_SHIFTED)
    rows = label_rows(connection, label, [0])
    return {int(point): int(value) for point, value in zip(rows["customer_id"], rows["label"], strict=True)}


def _events(label: ClassLabel) -> list[str]:
    """All events that the label's rules look at."""
    closing = label.closed_by if isinstance(label, ConversionLabel) else ()
    excluded = label.exclude.events if label.exclude else ()
    return sorted({*label.population_events, *label.outcome_events, *closing, *excluded})
