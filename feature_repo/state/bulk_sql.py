"""What a state keeps, as SQL over all events of many customers at once: the tables that `bulk` makes states of.

`all_customers` has a row for each customer; `customers` those of one part, numbered from 0; `entries` their
events, reduced to what the spec reads. Everything else groups the settled ones of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from feature_repo.extract import columns_sql, condition_sql, integer_sql, literal, text_sql, texts_sql
from feature_repo.spec import Measure
from feature_repo.state.cells import SQUARE_BITS, Cell, CellLayout
from feature_repo.state.plan import SETTLED_EVERY, Level, StatePlan, StreamPlan
from feature_repo.windows import day_sql, floor_sql

ALL_CUSTOMERS = f"""
SELECT *, {floor_sql("newest_arrival", SETTLED_EVERY)} AS settled_until
FROM (
  SELECT customer_id, max(position) AS position, max(event_time) AS newest_event,
         max(available_at) AS newest_arrival, count(*) AS events
  FROM customer_events GROUP BY customer_id
)
"""


def customers(part: int, parts: int) -> str:
    """The customers of one of `parts` parts, in the order of their ids."""
    return f"""
SELECT CAST(row_number() OVER (ORDER BY customer_id) - 1 AS BIGINT) AS customer, *
FROM all_customers WHERE hash(customer_id) % {parts} = {part} ORDER BY customer_id
"""


@dataclass(frozen=True, slots=True)
class EventColumns:
    """Where `entries` holds what is read of one canonical event.

    `code` stands for the event; `measures` are the columns of the plan's measures, in their order, and
    `flags` say of each of its streams whether the event is in it. Events share columns.
    """

    code: int
    measures: tuple[str, ...]
    flags: tuple[str, ...]


def event_columns(plan: StatePlan, event: str) -> EventColumns:
    """The columns of `event`."""
    seen: dict[str, int] = {}
    measures = []
    for measure in plan.measures[event]:
        kind = "several" if has_several(measure) else measure.kind
        seen[kind] = seen.get(kind, -1) + 1
        measures.append(f"{kind}_{seen[kind]}")
    flags = tuple(
        f"flag_{place}" if plan.streams[index].stream.conditions else "TRUE"
        for place, index in enumerate(plan.by_event[event])
    )
    return EventColumns(list(plan.by_event).index(event), tuple(measures), flags)


def entries(plan: StatePlan) -> str:
    """The events of `customers` that the spec reads, and whether they are settled."""
    ways: dict[str, dict[str, str]] = {"code": {}}
    for event, places in plan.by_event.items():
        columns = event_columns(plan, event)
        ways["code"][event] = str(columns.code)
        for name, measure in zip(columns.measures, plan.measures[event], strict=True):
            ways.setdefault(name, {})[event] = _measure_sql(measure)
        for name, index in zip(columns.flags, places, strict=True):
            if conditions := plan.streams[index].stream.conditions:
                ways.setdefault(name, {})[event] = " AND ".join(map(condition_sql, conditions))
    read = ", ".join(map(literal, plan.by_event)) or "NULL"
    made = ", ".join(f"{_by_event(of)} AS {name}" for name, of in ways.items())
    return f"""
SELECT c.customer, c.settled_until, e.position, e.event_time, e.available_at,
       e.event_time < c.settled_until AND e.available_at <= c.settled_until AS settled, {made}
FROM (SELECT *, {columns_sql(plan.utc_offset)} FROM customer_events WHERE event IN ({read})) e
JOIN customers c USING (customer_id)
"""


def _by_event(ways: dict[str, str]) -> str:
    when = " ".join(f"WHEN {literal(event)} THEN {sql}" for event, sql in ways.items())
    return f"CASE event {when} END" if when else "NULL"


def _measure_sql(measure: Measure) -> str:
    """BIGINT, VARCHAR, or VARCHAR[] where an event may have several."""
    if measure.kind == "integer":
        return integer_sql(measure.path)
    return texts_sql(measure.path) if has_several(measure) else text_sql(measure.path)


def has_several(measure: Measure) -> bool:
    """Whether one event may have several values."""
    return measure.kind == "text" and "[]." in measure.path


@dataclass(frozen=True, slots=True)
class StreamSQL:
    """Queries over `entries` for one stream: the columns of its measures, and which rows are of it."""

    plan: StreamPlan
    columns: dict[Measure, str]
    inside: str

    @property
    def _settled(self) -> str:
        return f"FROM entries WHERE settled AND {self.inside}"

    def totals(self) -> str:
        """customer, the cells, the latest instant, and (instant, value) of each measure of `last`."""
        lasts = [
            f"max({{'at': event_time, 'value': {column}}}) FILTER (WHERE {column} IS NOT NULL)"
            for column in map(self._column, self.plan.lasts)
        ]
        columns = [*self._cells(), "max(event_time)", *(f"({sql}).{part}" for sql in lasts for part in ("at", "value"))]
        return f"SELECT customer, {', '.join(columns)} {self._settled} GROUP BY customer ORDER BY customer"

    def tiles(self, level: Level) -> str:
        """customer, start of the tile, the cells: those that a read can still reach."""
        reach = floor_sql(f"(settled_until - {level.longest})", level.hop)
        rows = f"SELECT *, {floor_sql('event_time', level.hop)} AS start {self._settled} AND start >= {reach}"
        cells = ", ".join(self._cells())
        return f"SELECT customer, start, {cells} FROM ({rows}) GROUP BY customer, start ORDER BY customer, start"

    def latest(self, measure: Measure) -> str:
        """customer, value, its latest instant."""
        items = self._items(measure)
        return f"SELECT customer, item, max(event_time) FROM ({items}) GROUP BY customer, item ORDER BY customer"

    def newest(self, measure: Measure, cap: int) -> str:
        """customer, instant, value: the newest `cap` of each customer, newest first."""
        order = "event_time DESC, item DESC"
        return f"""
SELECT customer, event_time, item FROM ({self._items(measure)})
QUALIFY row_number() OVER (PARTITION BY customer ORDER BY {order}) <= {cap} ORDER BY customer, {order}
"""

    def days(self, utc_offset: int) -> str:
        """customer, number of the day, its latest instant."""
        day = day_sql("event_time", utc_offset)
        return (
            f"SELECT customer, {day} AS day, max(event_time) {self._settled} GROUP BY customer, day ORDER BY customer"
        )

    def _items(self, measure: Measure) -> str:
        item = self._column(measure)
        if has_several(measure):
            item = f"unnest({item})"
        return f"SELECT * FROM (SELECT customer, event_time, {item} AS item {self._settled}) WHERE item IS NOT NULL"

    def _column(self, measure: Measure) -> str:
        return self.columns[measure]

    def _cells(self) -> list[str]:
        return [sql for cell in self.plan.layout.cells for sql in self._cell(cell)]

    def _cell(self, cell: Cell) -> list[str]:
        """One column; of a value at the earliest instant two."""
        column = "" if cell.measure is None else self._column(cell.measure)
        if cell.kind == "first":
            first = f"(min({{'at': event_time, 'value': {column}}}) FILTER (WHERE {column} IS NOT NULL))"
            return [f"{first}.at", f"{first}.value"]
        square = f"(CAST({column} AS HUGEINT) * {column})"
        return [
            {
                "count": "count(*)",
                "first_instant": "min(event_time)",
                "n": f"count({column})",
                "sum": f"CAST(coalesce(sum({column}), 0) AS BIGINT)",
                "square_high": f"CAST(coalesce(sum({square} // {1 << SQUARE_BITS}), 0) AS BIGINT)",
                "square_low": f"CAST(coalesce(sum({square} % {1 << SQUARE_BITS}), 0) AS BIGINT)",
                "min": f"min({column})",
                "max": f"max({column})",
            }[cell.kind]
        ]


def stream_queries(plan: StatePlan, event: str) -> list[tuple[int, StreamSQL]]:
    """The streams of one canonical event, each with its place in the state."""
    columns = event_columns(plan, event)
    measures = dict(zip(plan.measures[event], columns.measures, strict=True))
    return [
        (index, StreamSQL(plan.streams[index], measures, f"code = {columns.code} AND {flag}"))
        for index, flag in zip(plan.by_event[event], columns.flags, strict=True)
    ]


def cells_of(layout: CellLayout, columns: Sequence[list[object]]) -> list[list[object]]:
    """The columns of `layout`'s cells, one a cell: of two columns of an earliest value, one of pairs."""
    found, rest = [], iter(columns)
    for cell in layout.cells:
        column = next(rest)
        if cell.kind == "first":
            column = [None if at is None else (at, value) for at, value in zip(column, next(rest), strict=True)]
        found.append(column)
    return found
