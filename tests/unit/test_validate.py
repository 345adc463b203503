"""Great Expectations really runs here, on small tables."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from feature_repo.configuration import ConfigurationError, parse
from feature_repo.event_table import EVENT_SCHEMA
from pipelines.console import UserError
from pipelines.settings import Settings, Workspace, load_settings
from pipelines.settings.expectations import ExpectationsConfig
from pipelines.validate import (
    ValidationFailure,
    ValidationReport,
    check_expectations,
    raise_if_critical,
    validate_batch,
    validate_lake,
)
from pipelines.validate.suite import run_suite
from pipelines.validate.table import PERSONAL

Row = dict[str, Any]
Change = Callable[[list[Row]], Any]
STAGED = pa.schema([field.with_nullable(True) for field in EVENT_SCHEMA if field.name != "position"])
NOON = datetime.datetime(2024, 3, 1, 12, tzinfo=datetime.UTC)
DEFAULTS = load_settings().expectations


def good_rows() -> list[Row]:
    """Twelve events that nothing is wrong with: ten orders, a refund, a page view without amount."""
    events = ["Order Completed"] * 10 + ["Order Refunded", "Page Viewed"]
    return [
        {
            "source": "shop", "event_id": f"e{number}", "event": event, "event_time": NOON, "available_at": NOON,
            "user_id": f"secret-{number}", "anonymous_id": None, "identifiers": "{}", "channel": "web",
            "value": 100 if event.startswith("Order") else None,
            "currency": "GBP" if event.startswith("Order") else None, "properties": "{}",
        }
        for number, event in enumerate(events)
    ]  # fmt: skip


def staged(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=STAGED)


def put(column: str, value: Any, *numbers: int) -> Change:
    """A change that sets `column` in the rows `numbers` (from 0)."""

    def change(rows: list[Row]) -> None:
        for number in numbers:
            rows[number][column] = value

    return change


def later(**delay: float) -> datetime.datetime:
    return NOON + datetime.timedelta(**delay)


# Name of each default expectation on a batch, a change that breaks it, and the rows (from 1) that break it.
BREAKS: dict[str, tuple[Change, list[int]]] = {
    "not_empty": (list.clear, []),
    "source_present": (put("source", None, 3), [4]),
    "event_id_present": (put("event_id", None, 3), [4]),
    "event_id_unique": (put("event_id", "e5", 7), [6, 8]),
    "event_present": (put("event", None, 2), [3]),
    "event_in_tracking_plan": (put("event", "Orders Completed", 0, 1), [1, 2]),
    "channel_present": (put("channel", None, 9), [10]),
    "channel_in_tracking_plan": (put("channel", "fax", 9), [10]),
    "channel_fits_event": (put("channel", "app", 11), [12]),
    "event_time_present": (put("event_time", None, 1), [2]),
    "event_time_plausible": (put("event_time", datetime.datetime(1970, 1, 20, tzinfo=datetime.UTC), 1, 4), [2, 5]),
    "available_at_present": (put("available_at", None, 1), [2]),
    "available_at_plausible": (put("available_at", later(days=365_000), 1), [2]),
    "available_after_event": (put("available_at", later(days=-1, seconds=-1), 6), [7]),
    "arrives_in_time": (put("available_at", later(days=31), 4, 5), [5, 6]),
    "belongs_to_someone": (put("user_id", None, 4), [5]),
    "mostly_known_customers": (
        lambda rows: [row.update(user_id=None, anonymous_id="browser") for row in rows[:7]], [1, 2, 3, 4, 5],
    ),
    "order_has_value": (put("value", None, 0), [1]),
    "order_value_not_negative": (put("value", -1, 0), [1]),
    "refund_not_negative": (put("value", -100, 10), [11]),
    "refund_has_value": (put("value", 0, 10), [11]),
    "value_has_currency": (put("currency", None, 0), [1]),
    "currency_in_tracking_plan": (put("currency", "XAU", 0), [1]),
    "one_currency": (put("currency", "THB", 0, 10), [1, 11]),
}  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return dataclasses.replace(load_settings(), workspace=Workspace("shop", checkout=tmp_path))


def only(settings: Settings, name: str) -> Settings:
    entries = tuple(entry for entry in DEFAULTS.of("batch") if entry.name == name)
    return dataclasses.replace(settings, expectations=ExpectationsConfig(batch=entries))


def configured(settings: Settings, *entries: Row) -> Settings:
    filled = [{"severity": "critical", "meaning": "So.", "remedy": "Mend it.", **entry} for entry in entries]
    return dataclasses.replace(settings, expectations=parse({"batch": filled}, ExpectationsConfig))


def write_lake(settings: Settings, rows: list[Row]) -> None:
    numbered = [{"position": 100 + number, **row} for number, row in enumerate(rows)]
    table = pa.Table.from_pylist(numbered, schema=EVENT_SCHEMA)
    write_deltalake(str(settings.workspace.lake), table, mode="append")


def failed(report: ValidationReport) -> set[str]:
    return {result.name for result in report.results if not result.success}


def test_every_default_expectation_has_a_case() -> None:
    assert set(BREAKS) == {entry.name for entry in DEFAULTS.of("batch")}


def test_good_events_meet_every_expectation(settings: Settings) -> None:
    rows = good_rows()
    rows[3]["available_at"] = later(hours=-20)
    rows[4]["value"] = 0
    report = validate_batch(settings, staged(rows), "shop")
    raise_if_critical(report)
    assert (report.passed, failed(report), report.rows) == (True, set(), 12)
    assert [result.name for result in report.results] == [entry.name for entry in DEFAULTS.of("batch")]


def test_good_events_meet_every_expectation_of_the_lake(settings: Settings) -> None:
    write_lake(settings, good_rows())
    report = validate_lake(settings)
    assert (report.passed, failed(report), len(report.results)) == (True, set(), len(DEFAULTS.of("lake")))


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_expectation_is_found_with_its_rows(settings: Settings, name: str) -> None:
    change, broken = BREAKS[name]
    rows = good_rows()
    change(rows)
    report = validate_batch(only(settings, name), staged(rows), "shop")
    [result] = report.results
    assert (result.name, result.success) == (name, False)
    assert [example.row for example in result.examples] == broken
    assert all(example.event_id == (rows[example.row - 1]["event_id"] or "") for example in result.examples)
    if result.severity == "warning":
        assert name in "\n".join(report.summary_lines())
        return
    with pytest.raises(ValidationFailure) as stop:
        raise_if_critical(report)
    [problem] = stop.value.problems
    assert (problem.field, problem.hint) == (name, result.remedy)
    assert all(f"{row} (event " in problem.got for row in broken)


def test_a_warning_does_not_stop(settings: Settings) -> None:
    rows = good_rows()
    rows[11]["channel"] = "app"
    report = validate_batch(settings, staged(rows), "shop")
    raise_if_critical(report)
    assert (report.passed, failed(report)) == (True, {"channel_fits_event"})


def test_many_failing_rows_are_counted_but_few_are_named(settings: Settings) -> None:
    rows = [{**good_rows()[0], "event_id": str(number), "value": -1} for number in range(1000)]
    report = validate_batch(settings, staged(rows), "shop")
    result = next(result for result in report.results if result.name == "order_value_not_negative")
    assert (result.unexpected_count, [example.row for example in result.examples]) == (1000, [1, 2, 3, 4, 5])


def test_a_batch_in_another_currency_than_the_lakes_stops(settings: Settings) -> None:
    write_lake(settings, good_rows())
    foreign = [{**row, "event_id": f"t{row['event_id']}", "currency": row["currency"] and "THB"} for row in good_rows()]
    report = validate_batch(settings, staged(foreign), "thai")
    assert failed(report) == {"one_currency"}
    with pytest.raises(ValidationFailure, match="--workspace NAME"):
        raise_if_critical(report)


def test_the_lake_names_positions(settings: Settings) -> None:
    rows = good_rows()
    rows[2]["currency"] = "THB"
    write_lake(settings, rows)
    report = validate_lake(settings)
    assert failed(report) == {"one_currency"}
    with pytest.raises(ValidationFailure, match=r"1 of 11 events: positions 102 \(event shop/e2\)"):
        raise_if_critical(report)


def test_a_version_of_the_lake_can_be_checked(settings: Settings) -> None:
    write_lake(settings, good_rows())
    write_lake(settings, [{**good_rows()[0], "event_id": "new", "value": -5}])
    assert failed(validate_lake(settings, version=0)) == set()
    assert failed(validate_lake(settings)) == {"order_value_not_negative", "position_unique"}


def test_no_lake_is_a_users_error(settings: Settings) -> None:
    with pytest.raises(UserError, match="ingest a file first"):
        validate_lake(settings)


def test_a_parquet_file_gives_what_the_table_gives(settings: Settings, tmp_path: Path) -> None:
    rows = good_rows()
    rows[0]["value"] = -1
    pq.write_table(staged(rows), tmp_path / "staged.parquet")
    from_file = validate_batch(settings, tmp_path / "staged.parquet", "shop")
    assert from_file.results == validate_batch(settings, staged(rows), "shop").results


def test_docs_open_offline_name_the_suite_and_hold_nothing_personal(settings: Settings) -> None:
    rows = good_rows()
    rows[0]["value"] = -1
    report = validate_batch(settings, staged(rows), "online retail/1")
    docs = settings.workspace.data_docs
    assert docs in report.docs.parents
    page, index = report.docs.read_text(encoding="utf-8"), (docs / "index.html").read_text(encoding="utf-8")
    assert "Expectation Suite: batch" in re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    assert "order_value_not_negative" in page
    assert f'href="{report.docs.relative_to(docs).as_posix()}">stopped: order_value_not_negative<' in index
    assert re.findall(r'href="([^#"][^"]*)"', page) == ["../index.html"]
    for text in (page, index):
        assert not re.search(r"https?://(?!www\.w3\.org)|<script|<link|<img", text)
        assert "secret-" not in text


def test_nothing_is_written_outside_the_workspace(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, temporary, here = (tmp_path / name for name in ("home", "temporary", "here"))
    for folder in (home, temporary, here):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.chdir(here)
    write_lake(settings, good_rows())
    validate_batch(settings, staged(good_rows()), "shop")
    validate_lake(settings)
    assert [path for folder in (home, temporary, here) for path in folder.rglob("*")] == []
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and settings.workspace.root not in path.parents]
    assert outside == []


def test_only_the_newest_runs_keep_their_pages(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.validate.docs.KEEP_RUNS", 2)
    few = only(settings, "not_empty")
    pages = [validate_batch(few, staged(good_rows()), "shop").docs for _ in range(3)]
    assert [page.exists() for page in pages] == [False, True, True]


def test_the_report_is_json(settings: Settings) -> None:
    report = validate_batch(settings, staged([]), "shop")
    text = json.loads(json.dumps(report.to_json()))
    assert (text["passed"], text["rows"], len(text["results"])) == (False, 0, len(report.results))
    assert "found 0" in "\n".join(report.summary_lines())


def test_all_mistakes_are_told_at_once(settings: Settings) -> None:
    wrong = configured(
        settings,
        {"name": "unknown", "expectation": "ExpectColumnValuesToNotBeNul", "kwargs": {"column": "event"}},
        {"name": "argument", "expectation": "ExpectColumnValuesToNotBeNull", "kwargs": {"column": "event", "most": 1}},
        {"name": "absent", "expectation": "ExpectColumnValuesToBeInSet", "kwargs": {"value_set": ["a"]}},
        {"name": "kind", "expectation": "ExpectColumnValuesToBeBetween",
         "kwargs": {"column": "value", "min_value": [1], "mostly": 3}},
        {"name": "column", "expectation": "ExpectColumnValuesToNotBeNull", "kwargs": {"column": "evnt"}},
        {"name": "reference", "expectation": "ExpectColumnValuesToBeInSet",
         "kwargs": {"column": "event", "value_set": {"from": "tracking_plan.evnts"}}},
        {"name": "condition", "expectation": "ExpectColumnValuesToNotBeNull", "kwargs": {"column": "value"},
         "where": {"event": ["Order"], "present": ["valeu"]}},
        {"name": "table", "expectation": "ExpectColumnToExist", "kwargs": {"column": "value"},
         "where": {"source": ["shop"]}},
        {"name": "refused", "expectation": "ExpectColumnQuantileValuesToBeBetween", "kwargs": {"column": "value"}},
        {"name": "personal", "expectation": "ExpectColumnMostCommonValueToBeInSet",
         "kwargs": {"column": "user_id", "value_set": ["a"]}},
    )  # fmt: skip
    with pytest.raises(ConfigurationError) as error:
        check_expectations(wrong)
    found = [problem.field for problem in error.value.problems]
    assert found == [
        "unknown.expectation", "argument.kwargs.most", "absent.kwargs.column", "kind.kwargs.mostly",
        "kind.kwargs.min_value", "kind.kwargs", "column.kwargs", "reference.kwargs.value_set",
        "condition.where.event", "condition.where.present", "table.where", "refused.expectation",
        "personal.expectation",
    ]  # fmt: skip
    assert error.value.problems[0].hint == "did you mean ExpectColumnValuesToNotBeNull?"
    assert all(item.file == "expectations.yaml" and item.expected and item.got for item in error.value.problems)


def test_a_name_stands_once() -> None:
    entry = {"name": "twice", "expectation": "ExpectTableRowCountToBeBetween", "severity": "warning",
             "meaning": "So.", "remedy": "Mend."}  # fmt: skip
    with pytest.raises(ConfigurationError, match="twice"):
        parse({"batch": [entry], "lake": [entry]}, ExpectationsConfig)


def test_an_expectation_that_cannot_be_computed_is_told(settings: Settings) -> None:
    wrong = configured(
        settings,
        {"name": "mean_of_text", "expectation": "ExpectColumnMeanToBeBetween",
         "kwargs": {"column": "event", "max_value": 1}},
        {"name": "pattern", "expectation": "ExpectColumnValuesToMatchRegex",
         "kwargs": {"column": "user_id", "regex": "("}},
    )  # fmt: skip
    with pytest.raises(UserError) as error:
        validate_batch(wrong, staged(good_rows()), "shop")
    assert [problem.field for problem in error.value.problems] == ["mean_of_text", "pattern"]
    assert "secret-" not in str(error.value)


def test_personal_values_never_reach_the_docs(settings: Settings) -> None:
    suite = configured(
        settings,
        *(
            {"name": f"short_{column}", "expectation": "ExpectColumnValueLengthsToBeBetween", "severity": "warning",
             "kwargs": {"column": column, "max_value": 1}}
            for column in sorted(PERSONAL)
        ),
    )  # fmt: skip
    report = validate_batch(suite, staged(good_rows()), "shop")
    assert "short_user_id" in failed(report)
    written = [path for path in settings.workspace.data_docs.rglob("*") if path.is_file()]
    assert len(written) == 3
    assert not any("secret-" in path.read_text(encoding="utf-8") for path in written)


def test_a_check_that_is_dropped_is_noticed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from great_expectations import ExpectationSuite

    def forgetful(name: str, expectations: list[Any]) -> ExpectationSuite:
        return ExpectationSuite(name=name, expectations=expectations[1:])

    monkeypatch.setitem(run_suite.__globals__, "ExpectationSuite", forgetful)
    with pytest.raises(RuntimeError, match="not_empty"):
        validate_batch(settings, staged(good_rows()), "shop")


def test_two_conditions_must_both_hold(settings: Settings) -> None:
    suite = configured(
        settings,
        {"name": "cheap", "expectation": "ExpectColumnValuesToBeBetween",
         "kwargs": {"column": "value", "max_value": 50},
         "where": {"event": ["Order Completed", "Order Refunded"], "source": ["till"], "present": ["user_id"]}},
    )  # fmt: skip
    rows = good_rows()
    rows[3]["source"] = rows[5]["source"] = "till"
    rows[5]["user_id"] = None
    result = validate_batch(suite, staged(rows), "shop").results[0]
    assert (result.checked_count, [example.row for example in result.examples]) == (1, [4])


# One usable expectation of each kind: what it is given, and whether it holds on the good events.
KINDS: list[tuple[str, Row, bool]] = [
    ("ExpectColumnDistinctValuesToBeInSet", {"column": "currency", "value_set": ["GBP"]}, True),
    ("ExpectColumnDistinctValuesToContainSet", {"column": "event", "value_set": ["Email Opened"]}, False),
    ("ExpectColumnMaxToBeBetween", {"column": "event_time", "max_value": datetime.date(2024, 3, 2)}, True),
    ("ExpectColumnMaxToBeBetween", {"column": "event_time", "max_value": datetime.date(2024, 3, 1)}, False),
    ("ExpectColumnMeanToBeBetween", {"column": "value", "min_value": 100, "max_value": 100}, True),
    ("ExpectColumnMostCommonValueToBeInSet", {"column": "channel", "value_set": ["app"]}, False),
    ("ExpectColumnPairValuesAToBeGreaterThanB",
     {"column_A": "available_at", "column_B": "event_time", "or_equal": True}, True),
    ("ExpectColumnProportionOfNonNullValuesToBeBetween", {"column": "user_id", "min_value": 0.9}, True),
    ("ExpectColumnSumToBeBetween", {"column": "value", "max_value": 1000}, False),
    ("ExpectColumnUniqueValueCountToBeBetween", {"column": "event", "max_value": 2}, False),
    ("ExpectColumnValuesToBeJsonParseable", {"column": "properties"}, True),
    ("ExpectColumnValuesToBeNull", {"column": "anonymous_id"}, True),
    ("ExpectColumnValuesToMatchRegex", {"column": "event_id", "regex": "^e[0-9]$"}, False),
    ("ExpectColumnValueLengthsToEqual", {"column": "currency", "value": 3}, True),
    ("ExpectSelectColumnValuesToBeUniqueWithinRecord", {"column_list": ["source", "event_id"]}, True),
]  # fmt: skip


def test_other_expectations_can_be_declared(settings: Settings) -> None:
    entries = [
        {"name": f"kind_{number}", "expectation": expectation, "kwargs": kwargs}
        for number, (expectation, kwargs, _) in enumerate(KINDS)
    ]
    report = validate_batch(configured(settings, *entries), staged(good_rows()), "shop")
    assert [result.success for result in report.results] == [holds for _, _, holds in KINDS]
    assert all(result.observed or result.unexpected_count is not None for result in report.results)
