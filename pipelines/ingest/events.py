"""SQL of events: rows folded into one event each, and checked against the tracking plan."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.ingest.checks import CarriedProperty, event_checks, property_checks
from pipelines.ingest.folds import Fold, ManyRows, OneRow
from pipelines.ingest.protection import Protection
from pipelines.ingest.quoting import case, joined, literal
from pipelines.ingest.rows import REASON_SEPARATOR, names_of
from pipelines.ingest.values import Values, json_field, json_object
from pipelines.settings.labels import microseconds
from pipelines.settings.mapping import Choice, Expression, ValueType
from pipelines.settings.source_checks import events_of, properties_of
from pipelines.settings.sources import EventRule, SourceConfig
from pipelines.settings.tracking_plan import EventPlan, TrackingPlan


@dataclass(slots=True)
class _Columns:
    """Columns of a table that is being put together: each SQL expression once."""

    prefix: str
    names: dict[str, str] = field(default_factory=dict)

    def add(self, sql: str) -> str:
        """Name of the column that holds `sql`."""
        return self.names.setdefault(sql, f"{self.prefix}{len(self.names)}")

    def listed(self) -> str:
        """`, sql AS name` of each column."""
        return "".join(f", {sql} AS {name}" for sql, name in self.names.items())


def part_sql(source: SourceConfig, number: int, count: int) -> str:
    """View `part`: the typed rows of one in `count` parts, each event as a whole in one of them."""
    if count == 1:
        return "CREATE OR REPLACE VIEW part AS SELECT * FROM typed"
    return f"CREATE OR REPLACE VIEW part AS SELECT * FROM typed WHERE hash({_keys(source)}) % {count} = {number}"


def grouped_sql(source: SourceConfig) -> str:
    """View `grouped`: the rows of `part` with `g`, the number of the first row of their event."""
    if not source.group_by:
        return "CREATE VIEW grouped AS SELECT row AS g, * FROM part"
    keys = _keys(source)
    same = " AND ".join(f"part.{key} IS NOT DISTINCT FROM firsts.{key}" for key in keys.split(", "))
    return f"""
        CREATE VIEW grouped AS
        SELECT firsts.g, part.* FROM part
        JOIN (SELECT min(row) AS g, {keys} FROM part GROUP BY {keys}) AS firsts ON {same}
    """


def _keys(source: SourceConfig) -> str:
    names = names_of(source)
    return ", ".join(names.text(column) for column in source.group_by)


def facts_and_events_sql(source: SourceConfig, plan: TrackingPlan, protection: Protection) -> tuple[str, str]:
    """View `facts` (one row an event, values as in the file), and the query of `events` (as the lake wants them).

    `events` has `g`, `rows`, `faults` (rows with reasons of their own), `reason` (of the event as a
    whole, or null) and the columns of the lake but position.
    """
    return _Compiler(source, plan, protection).compile()


class _Compiler:
    def __init__(self, source: SourceConfig, plan: TrackingPlan, protection: Protection) -> None:
        self._source = source
        self._plan = plan
        self._fold: Fold = ManyRows() if source.group_by else OneRow()
        self._values = Values(source, names_of(source), plan.currencies, protection)
        self._facts = _Columns("f")
        self._finished = _Columns("p")

    def compile(self) -> tuple[str, str]:
        columns = self._lake_columns()
        reason = joined([*self._event_reasons(), self._property_reasons()], REASON_SEPARATOR)
        listed = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
        events = f"""
            WITH named AS (SELECT *, {self._named()} FROM facts),
                 finished AS (SELECT *{self._finished.listed()} FROM named)
            SELECT g, rows, faults, {listed}, CASE WHEN faults = 0 THEN {reason} END AS reason FROM finished
        """
        return self._facts_sql(), events

    def _facts_sql(self) -> str:
        faults = "count(reasons)" if self._source.group_by else "CASE WHEN reasons IS NULL THEN 0 ELSE 1 END"
        grouping = " GROUP BY g" if self._source.group_by else ""
        return (
            f"CREATE VIEW facts AS SELECT g, CAST({self._fold.rows()} AS BIGINT) AS rows,"
            f" CAST({faults} AS BIGINT) AS faults{self._facts.listed()} FROM grouped{grouping}"
        )

    def _first(self, sql: str) -> str:
        return self._facts.add(self._fold.first(sql))

    # Names ------------------------------------------------------------------------------------

    def _named(self) -> str:
        """rule (index of the first that holds), event, channel and currency."""
        rules = list(enumerate(self._source.events))
        rule = case([(self._holds(rule), str(number)) for number, rule in rules], "CAST(NULL AS INTEGER)")
        rule_column = f"{rule} AS rule"
        event = case([(f"rule = {number}", self._choice(rule.event)) for number, rule in rules])
        channel = case([(f"rule = {n}", self._choice(rule.channel or self._source.channel)) for n, rule in rules])
        currency = self._choice(self._source.currency)
        return f"{rule_column}, {event} AS event, {channel} AS channel, {currency} AS source_currency"

    def _holds(self, rule: EventRule) -> str:
        tests = [self._values.condition(column, condition) for column, condition in rule.when.items()]
        return self._facts.add(self._fold.every(" AND ".join(tests))) if tests else "true"

    def _choice(self, value: str | Choice | None) -> str:
        if value is None or isinstance(value, str):
            return self._values.choice(value)
        return self._first(self._values.choice(value))

    # The lake's columns -----------------------------------------------------------------------

    def _lake_columns(self) -> dict[str, str]:
        values = self._values
        user = self._user()
        anonymous = self._first(values.template(self._source.anonymous_id or ""))
        happened = self._event_time()
        return {
            "source": literal(self._source.source),
            "event_id": self._first(values.template(self._source.event_id)),
            "event": "event",
            "event_time": happened,
            "available_at": self._available_at(happened),
            "user_id": user,
            "anonymous_id": f"CASE WHEN {user} IS NULL THEN {anonymous} END",
            "identifiers": self._identifiers(),
            "channel": "channel",
            "value": self._value(),
            "currency": self._currency(),
            "properties": self._properties(),
        }

    def _user(self) -> str:
        column = self._source.user_id
        return self._first(self._values.names.text(column)) if column else "CAST(NULL AS VARCHAR)"

    def _event_time(self) -> str:
        value = self._values.names.value(self._source.time.column)
        pick = self._fold.earliest if self._source.time.of_group == "first" else self._fold.latest
        return self._facts.add(pick(value))

    def _available_at(self, happened: str) -> str:
        arrival = self._source.arrival
        if arrival is None:
            return happened
        if arrival.column is not None:
            return self._facts.add(self._fold.latest(self._values.names.value(arrival.column)))
        return f"({happened} + to_microseconds({microseconds(arrival.delay or '0d')}))"

    def _identifiers(self) -> str:
        return json_object(
            [
                json_field(kind, self._identifier(kind, self._first(self._values.names.text(column))), "string")
                for kind, column in sorted(self._source.identifiers.items())
            ]
        )

    def _identifier(self, kind: str, value: str) -> str:
        protection = self._values.protection
        return protection.text(kind, value) if kind in protection.identity.personal_kinds else value

    def _value(self) -> str:
        branches = []
        for condition, event, planned in self._cases():
            column = next((p.column for p in self._carried(condition, event) if p.name == planned.value), None)
            if column is not None:
                branches.append((condition, f"CAST({column} AS BIGINT)"))
        return case(branches, "CAST(NULL AS BIGINT)")

    def _currency(self) -> str:
        with_money = [
            condition
            for condition, _, planned in self._cases()
            if any(declared.type == "money" for declared in planned.properties.values())
        ]
        return case([(condition, "source_currency") for condition in with_money], "CAST(NULL AS VARCHAR)")

    def _properties(self) -> str:
        branches = []
        for condition, event, _ in self._cases():
            fields = [
                self._values.property_field(event, p.name, p.column, p.kind) for p in self._carried(condition, event)
            ]
            branches.append((condition, json_object(fields)))
        return case(branches, "'{}'")

    # Properties -------------------------------------------------------------------------------

    def _cases(self) -> list[tuple[str, str, EventPlan]]:
        """Each (rule, event) that can come out: condition over `named`, event, its plan."""
        found = []
        for number, rule in enumerate(self._source.events):
            for event in events_of(rule, self._plan):
                one = rule.names() is not None and len(events_of(rule, self._plan)) == 1
                condition = f"rule = {number}" + ("" if one else f" AND event = {literal(event)}")
                found.append((condition, event, self._plan.events[event]))
        return found

    def _carried(self, condition: str, event: str) -> list[CarriedProperty]:
        rule = self._source.events[int(condition.split()[2])]
        given = properties_of(self._source, rule, event, self._plan)
        return [
            CarriedProperty(name, planned, *self._property(name, given[name]))
            for name, planned in self._plan.events[event].properties.items()
            if name in given
        ]

    def _property(self, name: str, expression: Expression) -> tuple[str, ValueType, str]:
        """(column with the final value, its type, column with the value before it was scaled)."""
        raw = self._facts.add(self._values.folded(name, expression, self._fold))
        column = self._finished.add(self._values.scaled(expression, raw, "source_currency"))
        return column, expression.value_type(self._source.columns), raw

    # Reasons ----------------------------------------------------------------------------------

    def _event_reasons(self) -> list[str]:
        checks = [*event_checks(self._lake_columns(), self._plan), *self._conflicts(), *self._channel_checks()]
        return [case([(condition, literal(reason))]) for condition, reason in checks]

    def _conflicts(self) -> list[tuple[str, str]]:
        if self._source.user_id is None or not self._source.group_by:
            return []
        conflict = self._facts.add(self._fold.conflict(self._values.names.text(self._source.user_id)))
        return [(conflict, f"rows of one event name different values of {self._source.user_id}")]

    def _channel_checks(self) -> list[tuple[str, str]]:
        checks = []
        for condition, event, planned in self._cases():
            if planned.channels:
                allowed = ", ".join(map(literal, planned.channels))
                checks.append((f"{condition} AND channel NOT IN ({allowed})", f"{event}: its channel is not allowed"))
        return checks

    def _property_reasons(self) -> str:
        branches = []
        for condition, event, _ in self._cases():
            carried = self._carried(condition, event)
            checks = [check for p in carried for check in property_checks(event, p)]
            missing = [
                ("true", f"{event}: {name} is empty")
                for name, planned in self._plan.events[event].properties.items()
                if planned.required and name not in {p.name for p in carried}
            ]
            reasons = [case([(test, literal(reason))]) for test, reason in [*checks, *missing]]
            branches.append((condition, joined(reasons, REASON_SEPARATOR)))
        return case(branches, "CAST(NULL AS VARCHAR)")
