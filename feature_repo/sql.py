"""The spec as SQL: features at any set of (customer, as-of) points, over the log of events.

The relation `points` (point BIGINT, customer_id VARCHAR, as_of BIGINT microseconds UTC) is joined to
`customer_events` (see `event_table`), one aggregation per canonical event, and the parts are put
side by side: much faster than one wide query over all events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from feature_repo.extract import columns_sql, condition_sql, integer_sql, literal, texts_sql
from feature_repo.quotients import variance_sql
from feature_repo.spec import DAY_OPERATIONS, ZERO_WHERE_NOTHING, Feature, FeatureSpec, Measure, Stream
from feature_repo.windows import DAY, Window, day_sql, floor_sql, hop

# These need the events of a point one by one before they can be aggregated.
_OF_NEWEST = ("top", "latest")
_OF_VALUES = ("distinct", *_OF_NEWEST, *DAY_OPERATIONS)


@dataclass(frozen=True, slots=True)
class Step:
    """One named step of the query; `columns` are the features it yields per point."""

    name: str
    sql: str
    columns: tuple[str, ...] = ()


def features_query(spec: FeatureSpec, names: Sequence[str]) -> str:
    """SQL that yields `point` and the features `names`, in this order, one row per point.

    Raises:
        KeyError: a name is not in the spec.
    """
    aggregates = spec.closure(names)
    steps = [_events_step(spec, aggregates)]
    for index, event in enumerate(_events(aggregates)):
        of_event = [feature for feature in aggregates if feature.stream and feature.stream.event == event]
        steps += _EventSteps(spec, f"event_{index}", event, of_event).steps()
    parts = [step for step in steps if step.columns]
    columns = ", ".join(f"{_output(spec, name)} AS {name}" for name in names)
    joins = "".join(f"\nLEFT JOIN {part.name} USING (point)" for part in parts)
    ctes = ",\n".join(f"{step.name} AS {step.sql}" for step in steps)
    return f"WITH {ctes}\nSELECT point, {columns}\nFROM points{joins}\nORDER BY point"


def _events(aggregates: Iterable[Feature]) -> list[str]:
    return sorted({feature.stream.event for feature in aggregates if feature.stream})


def _events_step(spec: FeatureSpec, aggregates: Iterable[Feature]) -> Step:
    names = ", ".join(literal(event) for event in _events(aggregates))
    sql = f"""MATERIALIZED (
  SELECT customer_id, event, channel, value, properties, event_time, available_at, {columns_sql(spec.utc_offset)}
  FROM customer_events SEMI JOIN points USING (customer_id)
  WHERE event IN ({names})
)"""
    return Step("chosen_events", sql)


class _EventSteps:
    """The events of one kind matched to the points that see them, then aggregated."""

    def __init__(self, spec: FeatureSpec, name: str, event: str, features: list[Feature]) -> None:
        self._spec = spec
        self._name = name
        self._event = event
        self._features = features
        measures = sorted({f.measure for f in features if f.measure})
        self._integers = [measure for measure in measures if measure.kind == "integer"]
        self._texts = [measure for measure in measures if measure.kind == "text"]
        self._narrowed = sorted({f.stream for f in features if f.stream and f.stream.conditions})

    def steps(self) -> list[Step]:
        plain = [feature for feature in self._features if feature.operation not in _OF_VALUES]
        steps = [self._matched()]
        if plain:
            columns = [f"{self._aggregate(f)} AS {f.name}" for f in plain]
            steps.append(_grouped(f"{self._name}_plain", columns, self._matched_name, plain))
        for index, group in enumerate(_groups(self._features, ("distinct",))):
            steps += self._distinct(f"{self._name}_distinct_{index}", group)
        for index, group in enumerate(_groups(self._features, _OF_NEWEST)):
            steps += self._top(f"{self._name}_top_{index}", group)
        for index, group in enumerate(_groups(self._features, DAY_OPERATIONS)):
            steps += self._days(f"{self._name}_days_{index}", group)
        return steps

    @property
    def _matched_name(self) -> str:
        return f"{self._name}_matched"

    def _matched(self) -> Step:
        columns = {f"integer_{i}": integer_sql(measure.path) for i, measure in enumerate(self._integers)}
        columns |= {f"text_{i}": texts_sql(measure.path) for i, measure in enumerate(self._texts)}
        for i, stream in enumerate(self._narrowed):
            columns[f"in_stream_{i}"] = " AND ".join(map(condition_sql, stream.conditions))
        made = "".join(f", {sql} AS {name}" for name, sql in columns.items())
        kept = "".join(f", e.{name}" for name in columns)
        lengths = [feature.window.length for feature in self._features]
        longest = None if None in lengths else max(length for length in lengths if length is not None)
        # A bound on what any window of this event can reach; the windows themselves are cut exactly below.
        reach = "" if longest is None else f"\n    AND e.event_time >= p.as_of - {longest + DAY}"
        sql = f"""(
  SELECT p.point, p.as_of, e.event_time{kept}
  FROM points p JOIN (
    SELECT customer_id, event_time, available_at{made}
    FROM chosen_events WHERE event = {literal(self._event)}
  ) e ON e.customer_id = p.customer_id
    AND e.event_time < p.as_of AND e.available_at <= p.as_of{reach}
)"""
        return Step(self._matched_name, sql)

    def _in_stream(self, stream: Stream | None) -> str:
        """The column that says whether an event is of `stream`; empty where all are."""
        return f"in_stream_{self._narrowed.index(stream)}" if stream and stream.conditions else ""

    def _rows(self, stream: Stream | None) -> str:
        narrowed = self._in_stream(stream)
        return f"{self._matched_name} WHERE {narrowed}" if narrowed else self._matched_name

    def _items(self, group: Sequence[Feature]) -> str:
        """SQL for (point, as_of, event_time, item): each value of the group's measure, in each event."""
        stream, measure = group[0].stream, group[0].measure
        if measure in self._texts:
            item = f"unnest(text_{self._texts.index(measure)})"
        else:
            item = f"integer_{self._integers.index(measure)}" if measure else "NULL"
        rows = f"SELECT point, as_of, event_time, {item} AS item FROM {self._rows(stream)}"
        return f"SELECT * FROM ({rows}) WHERE item IS NOT NULL"

    def _distinct(self, name: str, group: Sequence[Feature]) -> list[Step]:
        """A value is in a window if its latest event is, so one row per value answers all windows."""
        values = f"""(
  SELECT point, any_value(as_of) AS as_of, max(event_time) AS event_time
  FROM ({self._items(group)}) GROUP BY point, item
)"""
        cap = self._spec.caps.distinct
        columns = [f"least(count(*) FILTER (WHERE {_inside(f.window)}), {cap}) AS {f.name}" for f in group]
        return [Step(f"{name}_values", values), _grouped(name, columns, f"{name}_values", group)]

    def _top(self, name: str, group: Sequence[Feature]) -> list[Step]:
        """The newest values of each point, then how often and when last each of them occurs in each window."""
        newest = f"""(
  SELECT point, as_of, event_time, item FROM ({self._items(group)})
  QUALIFY row_number() OVER (PARTITION BY point ORDER BY event_time DESC, item DESC) <= {self._spec.caps.recent}
)"""
        windows = list(dict.fromkeys(f.window for f in group))
        times = ", ".join(f"count(*) FILTER (WHERE {_inside(w)}) AS times_{i}" for i, w in enumerate(windows))
        counted = f"""(
  SELECT point, item, max(event_time) AS seen, {times} FROM {name}_newest GROUP BY point, item
)"""
        columns = []
        for f in group:
            at = f"times_{windows.index(f.window)}"
            order = f"'times': {at}, 'seen': seen" if f.operation == "top" else "'seen': seen"
            best = f"max({{{order}, 'item': item}}) FILTER (WHERE {at} > 0)"
            columns.append(f"({best}).item AS {f.name}")
        steps = [Step(f"{name}_newest", newest), Step(f"{name}_counted", counted)]
        return [*steps, _grouped(name, columns, f"{name}_counted", group)]

    def _days(self, name: str, group: Sequence[Feature]) -> list[Step]:
        """The newest active days, each with the one before it; consecutive ones share a run."""
        cap, offset = self._spec.caps.days, self._spec.utc_offset
        active = f"""(
  SELECT point, any_value(as_of) AS as_of, {day_sql("event_time", offset)} AS day, max(event_time) AS event_time
  FROM {self._rows(group[0].stream)} GROUP BY point, day
)"""
        ordered = f"""(
  SELECT *, day + newest AS run, day - earlier_day AS gap FROM (
    SELECT *, row_number() OVER latest AS newest, lead(day) OVER latest AS earlier_day,
           lead(event_time) OVER latest AS earlier_time
    FROM {name}_active WINDOW latest AS (PARTITION BY point ORDER BY day DESC)
  ) WHERE newest <= {cap}
)"""
        windows = list(dict.fromkeys(f.window for f in group))
        inside = ", ".join(f"count(*) FILTER (WHERE {_inside(w)}) AS days_{i}" for i, w in enumerate(windows))
        runs = f"""(
  SELECT point, any_value(as_of) AS as_of, max(day) AS last_day, {inside} FROM {name}_ordered GROUP BY point, run
)"""
        of_runs = [f for f in group if f.operation != "deviation_days_between"]
        of_gaps = [f for f in group if f.operation == "deviation_days_between"]
        steps = [Step(f"{name}_active", active), Step(f"{name}_ordered", ordered)]
        if of_runs:
            columns = [f"{self._of_runs(f, f'days_{windows.index(f.window)}')} AS {f.name}" for f in of_runs]
            steps += [Step(f"{name}_runs", runs), _grouped(name, columns, f"{name}_runs", of_runs)]
        if of_gaps:
            columns = [f"{_deviation(f.window, cap)} AS {f.name}" for f in of_gaps]
            steps.append(_grouped(f"{name}_gaps", columns, f"{name}_ordered", of_gaps))
        return steps

    def _of_runs(self, feature: Feature, days: str) -> str:
        if feature.operation == "active_days":
            return f"CAST(sum({days}) AS BIGINT)"
        if feature.operation == "longest_streak":
            return f"max({days})"
        today = day_sql("as_of", self._spec.utc_offset)
        return f"max({days}) FILTER (WHERE last_day >= {today} - 1)"

    def _aggregate(self, feature: Feature) -> str:
        conditions = [_inside(feature.window), self._in_stream(feature.stream)]
        column = "" if feature.measure is None else f"integer_{self._integers.index(feature.measure)}"
        conditions.append(f"{column} IS NOT NULL" if column else "")
        when = f"FILTER (WHERE {' AND '.join(part for part in conditions if part)})"
        count, total = f"count(*) {when}", f"sum({column}) {when}"
        days = f"CAST(any_value(as_of) - {{}}(event_time) {when} AS DOUBLE) / {float(DAY)}"
        expressions = {
            "count": count,
            "sum": f"CAST({total} AS BIGINT)",
            "mean": f"CAST(CAST({total} AS BIGINT) AS DOUBLE) / CAST({count} AS DOUBLE)",
            "min": f"min({column}) {when}",
            "max": f"max({column}) {when}",
            "variance": variance_sql(
                f"CAST({count} AS HUGEINT)",
                f"CAST({total} AS HUGEINT)",
                f"CAST(sum(CAST({column} AS HUGEINT) * {column}) {when} AS HUGEINT)",
            ),
            # Of several values at one instant, the smallest or greatest: no order of arrival can change it.
            "first": f"(min({{'at': event_time, 'value': {column}}}) {when}).value",
            "last": f"(max({{'at': event_time, 'value': {column}}}) {when}).value",
            "days_since_last": days.format("max"),
            "days_since_first": days.format("min"),
            # One division: the span in microseconds by the number of gaps, each of a day's microseconds.
            "mean_days_between": f"CASE WHEN {count} > 1 THEN CAST(max(event_time) {when} - min(event_time) {when} "
            f"AS DOUBLE) / CAST(({count} - 1) * {DAY} AS DOUBLE) END",
        }
        return expressions[feature.operation]


def _groups(features: Iterable[Feature], operations: Sequence[str]) -> list[list[Feature]]:
    """Features of these operations, those of one stream and measure together."""
    found: dict[tuple[Stream | None, Measure | None], list[Feature]] = {}
    for feature in features:
        if feature.operation in operations:
            found.setdefault((feature.stream, feature.measure), []).append(feature)
    return list(found.values())


def _grouped(name: str, columns: Sequence[str], source: str, features: Sequence[Feature]) -> Step:
    sql = f"(\n  SELECT point, {', '.join(columns)}\n  FROM {source} GROUP BY point\n)"
    return Step(name, sql, tuple(f.name for f in features))


def _deviation(window: Window, cap: int) -> str:
    """A gap is in a window if the earlier of its two days is."""
    when = f"FILTER (WHERE newest < {cap} AND gap IS NOT NULL AND {_inside(window, 'earlier_time')})"
    n, total, squares = f"count(*) {when}", f"sum(gap) {when}", f"sum(CAST(gap AS HUGEINT) * gap) {when}"
    hugeint = [f"CAST({part} AS HUGEINT)" for part in (n, total, squares)]
    return f"sqrt({variance_sql(*hugeint)})"


def _inside(window: Window, instant: str = "event_time") -> str:
    """The window rule of `windows` as SQL; the strict end is in the join."""
    if window.length is None:
        return "TRUE"
    return f"{instant} >= {floor_sql(f'(as_of - {window.length})', hop(window.length))}"


def _output(spec: FeatureSpec, name: str) -> str:
    feature = spec.by_name[name]
    if feature.operation in ZERO_WHERE_NOTHING:
        return f"coalesce({name}, 0)"
    if not feature.operands:
        return name
    top, bottom = (_output(spec, str(part)) for part in (feature.numerator, feature.denominator))
    by_top, by_bottom = (f" * {float(factor)}" if factor != 1 else "" for factor in feature.scale)
    return f"CASE WHEN {bottom} <> 0 THEN (CAST({top} AS DOUBLE){by_top}) / (CAST({bottom} AS DOUBLE){by_bottom}) END"
