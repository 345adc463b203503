"""The validation step: a staged batch before it reaches the lake, or the lake as it is."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from great_expectations.core.expectation_validation_result import ExpectationValidationResult

from pipelines.console import UserError
from pipelines.settings import Settings
from pipelines.validate.compile import Compiled, compile_expectations
from pipelines.validate.docs import page_path, write_docs
from pipelines.validate.report import ExampleRow, ExpectationResult, Scope, ValidationReport
from pipelines.validate.suite import in_order, run_suite
from pipelines.validate.table import NAMING, frame_of, main_currency, stored_columns

FILE_ROW = "row"


def validate_batch(settings: Settings, batch: Path | pa.Table, name: str) -> ValidationReport:
    """Check a staged batch: a Parquet file or a table in `EVENT_SCHEMA` without `position`. A column
    `row` of the Parquet file holds the events' rows in their source file.

    `name` says what is checked, such as the source; it names the page in the Data Docs. Amounts are
    held against the currency of the lake the batch is meant for.

    Raises:
        ConfigurationError: with every mistake of the expectations.
        UserError: an expectation could not be computed.
    """

    def read(columns: list[str]) -> pa.Table:
        if isinstance(batch, pa.Table):
            return batch.select(columns)
        numbered = [FILE_ROW] if FILE_ROW in pq.read_schema(batch).names else []
        return pq.read_table(batch, columns=[*columns, *numbered])

    lake = settings.workspace.lake
    currency = main_currency(DeltaTable(str(lake)).to_pyarrow_dataset()) if _exists(lake) else None
    return _validate(settings, "batch", name, read, currency)


def validate_lake(settings: Settings, version: int | None = None) -> ValidationReport:
    """Check the whole lake, or one version of it; only columns that an expectation names are read.

    Raises:
        ConfigurationError: with every mistake of the expectations.
        UserError: there is no lake, or an expectation could not be computed.
    """
    lake = settings.workspace.lake
    if not _exists(lake):
        raise UserError(f"workspace {settings.workspace.name} has no events yet; ingest a file first")
    events = DeltaTable(str(lake), version=version).to_pyarrow_dataset()
    return _validate(settings, "lake", "lake", lambda columns: events.to_table(columns=columns), None)


def _exists(lake: Path) -> bool:
    return bool(DeltaTable.is_deltatable(str(lake)))


def _validate(
    settings: Settings, scope: Scope, name: str, read: Callable[[list[str]], pa.Table], currency: str | None
) -> ValidationReport:
    clock, stamp = time.perf_counter(), datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S%f")
    compiled = compile_expectations(settings.expectations.of(scope), settings.tracking_plan)
    frame = _frame(scope, compiled, read, currency)
    outcome = run_suite(scope, name, compiled, frame)
    found = in_order(compiled, outcome.results)
    results = tuple(_result(item, result, frame) for item, result in zip(compiled, found, strict=True))
    folder = settings.workspace.data_docs
    page = page_path(folder, scope, name, stamp)
    report = ValidationReport(scope, name, len(frame), time.perf_counter() - clock, results, page)
    write_docs(folder, outcome, report)
    return report


def _frame(
    scope: Scope, compiled: Sequence[Compiled], read: Callable[[list[str]], pa.Table], currency: str | None
) -> pd.DataFrame:
    """The columns that `compiled` looks at; for the lake also `position`, which names its rows."""
    names = list(dict.fromkeys(column for item in compiled for column in item.columns))
    if scope == "lake":
        names.append("position")
    money = ["value", "currency"] if "main_currency" in names else []
    table = read(stored_columns([*names, *money]))
    if money and currency is None:
        currency = main_currency(table)
    return frame_of(table, [*names, *(name for name in (FILE_ROW,) if name in table.column_names)], currency)


def _result(item: Compiled, result: ExpectationValidationResult, frame: pd.DataFrame) -> ExpectationResult:
    found: dict[str, Any] = result.result
    rows = found.get("partial_unexpected_index_list", []) if not result.success else []
    return ExpectationResult(
        name=item.config.name,
        expectation=item.config.expectation,
        severity=item.config.severity,
        success=bool(result.success),
        checked_count=_integer(found.get("element_count")),
        unexpected_count=_integer(found.get("unexpected_count")),
        observed=str(found["observed_value"]) if "observed_value" in found else None,
        examples=tuple(_example(frame, int(row)) for row in rows),
        meaning=item.config.meaning,
        remedy=item.config.remedy,
    )


def _integer(value: Any) -> int | None:
    return None if value is None else int(value)


def _example(frame: pd.DataFrame, row: int) -> ExampleRow:
    values = frame.iloc[row]
    number = next((int(values[column]) for column in ("position", FILE_ROW) if column in frame), row + 1)
    source, event_id = ("" if pd.isna(values[column]) else str(values[column]) for column in NAMING)
    return ExampleRow(number, source, event_id)
