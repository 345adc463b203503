"""The spec as SQL: features at any set of (customer, as-of) points, over the log of events.

The relation `points` (point BIGINT, customer_id VARCHAR, as_of BIGINT microseconds UTC) is joined to
`customer_events` (see `event_table`), one aggregation per canonical event, and the parts are put
side by side: much faster than one wide query over all events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from feature_repo.extract import integer_sql, texts_sql
from feature_repo.spec import Feature, FeatureSpec, Measure, Stream
from feature_repo.windows import DAY, Window, hop


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
    steps = [_events_step(aggregates)]
    for index, event in enumerate(_events(aggregates)):
        of_event = [feature for feature in aggregates if feature.stream and feature.stream.event == event]
        steps += _event_steps(f"event_{index}", event, of_event, spec.distinct_cap)
    parts = [step for step in steps if step.columns]
    columns = ", ".join(f"{_output(spec, name)} AS {name}" for name in names)
    joins = "".join(f"\nLEFT JOIN {part.name} USING (point)" for part in parts)
    ctes = ",\n".join(f"{step.name} AS {step.sql}" for step in steps)
    return f"WITH {ctes}\nSELECT point, {columns}\nFROM points{joins}\nORDER BY point"


def _events(aggregates: Iterable[Feature]) -> list[str]:
    return sorted({feature.stream.event for feature in aggregates if feature.stream})


def _events_step(aggregates: Iterable[Feature]) -> Step:
    names = ", ".join(_literal(event) for event in _events(aggregates))
    sql = f"""MATERIALIZED (
  SELECT customer_id, event, channel, value, properties, event_time, available_at
  FROM customer_events SEMI JOIN points USING (customer_id)
  WHERE event IN ({names})
)"""
    return Step("chosen_events", sql)


def _event_steps(name: str, event: str, features: list[Feature], cap: int) -> list[Step]:
    """The events of one kind matched to the points that see them, then aggregated."""
    integers = sorted({f.measure for f in features if f.measure and f.measure.kind == "integer"})
    texts = sorted({f.measure for f in features if f.measure and f.measure.kind == "text"})
    matched = _matched_step(name, event, integers, texts, features)
    plain = [feature for feature in features if feature.operation != "distinct"]
    steps = [matched]
    if plain:
        columns = [f"{_aggregate(f, integers)} AS {f.name}" for f in plain]
        steps.append(_grouped(f"{name}_plain", ", ".join(columns), matched.name, plain))
    for index, (stream, measure) in enumerate(_distinct_groups(features)):
        chosen = [f for f in features if f.operation == "distinct" and (f.stream, f.measure) == (stream, measure)]
        steps += _distinct_steps(f"{name}_distinct_{index}", matched.name, stream, texts.index(measure), chosen, cap)
    return steps


def _matched_step(
    name: str, event: str, integers: list[Measure], texts: list[Measure], features: list[Feature]
) -> Step:
    measures = [f", {integer_sql(m)} AS integer_{i}" for i, m in enumerate(integers)]
    measures += [f", {texts_sql(m)} AS text_{i}" for i, m in enumerate(texts)]
    kept = [f", integer_{i}" for i in range(len(integers))] + [f", text_{i}" for i in range(len(texts))]
    lengths = [feature.window.length for feature in features]
    longest = None if None in lengths else max(length for length in lengths if length is not None)
    # A bound on what any window of this event can reach; the windows themselves are cut exactly below.
    reach = "" if longest is None else f"\n    AND e.event_time >= p.as_of - {longest + DAY}"
    sql = f"""(
  SELECT p.point, p.as_of, e.event_time, e.channel{"".join(kept)}
  FROM points p JOIN (
    SELECT customer_id, channel, event_time, available_at{"".join(measures)}
    FROM chosen_events WHERE event = {_literal(event)}
  ) e ON e.customer_id = p.customer_id
    AND e.event_time < p.as_of AND e.available_at <= p.as_of{reach}
)"""
    return Step(f"{name}_matched", sql)


def _grouped(name: str, columns: str, source: str, features: Sequence[Feature]) -> Step:
    sql = f"(\n  SELECT point, {columns}\n  FROM {source} GROUP BY point\n)"
    return Step(name, sql, tuple(f.name for f in features))


def _distinct_groups(features: Iterable[Feature]) -> list[tuple[Stream, Measure]]:
    found = {(f.stream, f.measure) for f in features if f.operation == "distinct"}
    return sorted((stream, measure) for stream, measure in found if stream and measure)


def _distinct_steps(name: str, source: str, stream: Stream, text: int, features: list[Feature], cap: int) -> list[Step]:
    """A value is in a window if its latest event is, so one row per value answers all windows."""
    channel = f"WHERE channel = {_literal(stream.channel)}" if stream.channel else ""
    values = f"""(
  SELECT point, any_value(as_of) AS as_of, max(event_time) AS event_time
  FROM (SELECT point, as_of, event_time, unnest(text_{text}) AS item FROM {source} {channel})
  GROUP BY point, item
)"""
    columns = [f"least(count(*) FILTER (WHERE {_inside(f.window)}), {cap}) AS {f.name}" for f in features]
    return [Step(f"{name}_values", values), _grouped(name, ", ".join(columns), f"{name}_values", features)]


def _aggregate(feature: Feature, integers: list[Measure]) -> str:
    condition = _inside(feature.window)
    if feature.stream and feature.stream.channel:
        condition += f" AND channel = {_literal(feature.stream.channel)}"
    if feature.measure is not None:
        column = f"integer_{integers.index(feature.measure)}"
        condition += f" AND {column} IS NOT NULL"
    else:
        column = ""
    when = f"FILTER (WHERE {condition})"
    days = f"CAST(any_value(as_of) - {{}}(event_time) {when} AS DOUBLE) / {float(DAY)}"
    expressions = {
        "count": f"count(*) {when}",
        "sum": f"CAST(sum({column}) {when} AS BIGINT)",
        "mean": f"CAST(CAST(sum({column}) {when} AS BIGINT) AS DOUBLE) / CAST(count(*) {when} AS DOUBLE)",
        "min": f"min({column}) {when}",
        "max": f"max({column}) {when}",
        # Of several values at the latest instant, the greatest: no order of arrival can change it.
        "last": f"(max({{'at': event_time, 'value': {column}}}) {when}).value",
        "days_since_last": days.format("max"),
        "days_since_first": days.format("min"),
        # One division: the span in microseconds by the number of gaps, each of a day's microseconds.
        "mean_days_between": f"CASE WHEN count(*) {when} > 1 THEN CAST(max(event_time) {when} - min(event_time) {when} "
        f"AS DOUBLE) / CAST((count(*) {when} - 1) * {DAY} AS DOUBLE) END",
    }
    return expressions[feature.operation]


def _inside(window: Window) -> str:
    """The window rule of `windows` as SQL; the strict end is in the join."""
    if window.length is None:
        return "TRUE"
    width = hop(window.length)
    start = f"(as_of - {window.length})"
    return f"event_time >= {start} - (({start} % {width}) + {width}) % {width}"


def _output(spec: FeatureSpec, name: str) -> str:
    feature = spec.by_name[name]
    if feature.operation in ("count", "distinct"):
        return f"coalesce({name}, 0)"
    if feature.operation != "ratio":
        return name
    top, bottom = (_output(spec, str(part)) for part in (feature.numerator, feature.denominator))
    return f"CASE WHEN {bottom} <> 0 THEN CAST({top} AS DOUBLE) / CAST({bottom} AS DOUBLE) END"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
