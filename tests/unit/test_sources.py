"""The mapping language: what it accepts, and how it words what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from feature_repo.configuration import ConfigurationError, load_yaml, parse
from pipelines.settings.mapping import Choice
from pipelines.settings.source_checks import check_against_plan
from pipelines.settings.sources import SourceConfig
from pipelines.settings.tracking_plan import TrackingPlan
from pipelines.settings.workspace import CHECKOUT
from tests.unit.ingest_parts import ORDERS, PLAN, mapping

CONFIGS = CHECKOUT / "configs"


def mistakes(**changes: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        mapping(ORDERS, **changes)
    return str(caught.value)


@pytest.mark.parametrize("file", sorted((CONFIGS / "sources").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_mapping_of_the_project_fits_the_tracking_plan(file: Path) -> None:
    source = load_yaml(file, SourceConfig)
    assert source.source == file.stem
    assert check_against_plan(source, load_yaml(CONFIGS / "events.yaml", TrackingPlan)) == []


def test_all_mistakes_of_a_file_come_at_once() -> None:
    raw = {
        **yaml.safe_load(ORDERS),
        "timezone": "Asia/Atlantis",
        "group_by": ["nothing"],
        "user_id": "price",
        "colour": "red",
        "time": {"column": "who"},
        "events": [{"event": "Order Completed", "when": {"gone": {"equals": 1}}}],
    }
    with pytest.raises(ConfigurationError) as caught:
        parse(raw, SourceConfig, "shop.yaml")
    told = str(caught.value)
    for part in (
        "6 mistakes",
        "Asia/Bangkok",
        "'nothing' is not in columns",
        "colour",
        "'gone' is not in columns",
        "time: 'who' is id",
        "user_id: 'price' is decimal",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"event_id": "constant"}, "a template that names a column"),
        ({"event_id": "{number}-{at}"}, "only columns of group_by"),
        ({"anonymous_id": None, "user_id": None}, "user_id or anonymous_id"),
        ({"channel": None}, "events.0 needs a channel"),
        ({"arrival": {}}, "exactly one of column, delay"),
        ({"arrival": {"delay": "soon"}}, "soon"),
        ({"format": {"type": "xml"}}, "csv"),
        ({"format": {"type": "csv", "delimiter": "::"}}, "delimiter"),
        ({"source": "Shop Orders"}, "source"),
        ({"properties": {"x": {"column": "who", "sum": ["price"]}}}, "exactly one of"),
        ({"properties": {"x": {"sum": ["who"]}}}, "type decimal or integer"),
        ({"properties": {"x": {"template": "{who}-{missing}"}}}, "'missing' is not in columns"),
        ({"properties": {"x": {"column": "who", "as": "money"}}}, "type decimal or integer"),
        ({"properties": {"x": {"list": {"y": {"count": "rows"}}}}}, "each entry is one row"),
        ({"properties": {"x": {"sum": ["price"], "map": {"a": "b"}}}}, "map only with column"),
        ({"events": [{"event": "Order Completed"}, {"event": "Page Viewed"}]}, "no rule after it is ever taken"),
        ({"events": [{"event": "Order Completed", "when": {"who": {}}}]}, "one of: equals"),
        ({"events": [{"event": "Order Completed", "when": {"who": {"less_than": 3}}}]}, "type decimal or integer"),
        ({"columns": {"quarantine_row": {"type": "integer"}}}, "do not begin with quarantine_"),
        ({"columns": {"at": {"type": "string", "time_format": "%Y"}}}, "time_format only with type: timestamp"),
        ({"columns": {"at": {"type": "timestamp", "time_format": "iso"}}}, "a strptime format"),
        ({"columns": {"at": {"type": "timestamp", "path": "a.b"}}}, "path only with format jsonl"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(changes: dict[str, object], told: str) -> None:
    assert told in mistakes(**changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"channel": "fax"}, "channel: expected a name in events.yaml, got 'fax'"),
        ({"channel": "app"}, "expected a channel of Order Completed: web, pos, got 'app'"),
        ({"currency": "XXX"}, "currency: expected a name in events.yaml, got 'XXX'"),
        ({"currency": None}, "expected the currency of Order Completed's money, got nothing"),
        ({"events": [{"event": "Order Lost"}]}, "expected a name in events.yaml, got 'Order Lost'"),
        ({"events": [{"event": "Order Completed"}]}, "expected order_id, which Order Completed requires"),
        ({"properties": {"colour": {"constant": "red"}}}, "expected a property that an event of this source declares"),
        ({"properties": {"size": {"column": "price"}}}, "expected string, as Order Completed declares, got decimal"),
    ],
)
def test_what_the_tracking_plan_does_not_know_is_told(changes: dict[str, object], told: str) -> None:
    assert told in "\n".join(map(str, check_against_plan(mapping(ORDERS, **changes), PLAN)))


def test_unquoted_numbers_are_text_and_unquoted_booleans_are_mistakes() -> None:
    rules = yaml.safe_load("[{event: {column: who, map: {1: Order Completed, b: Page Viewed}}}]")
    event = mapping(ORDERS, events=rules).events[0].event
    assert isinstance(event, Choice)
    assert event.map == {"1": "Order Completed", "b": "Page Viewed"}
    told = mistakes(events=yaml.safe_load("[{event: {column: who, map: {yes: Order Completed}}}]"))
    assert 'quotes around words such as "yes"' in told
    assert 'quotes around words such as "yes"' in mistakes(columns=yaml.safe_load("{no: {type: id}}"))
