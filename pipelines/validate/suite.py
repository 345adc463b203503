"""Run expectations over a pandas table with Great Expectations, in memory, without writing anything."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
from great_expectations import ExpectationSuite, RunIdentifier, ValidationDefinition
from great_expectations.core.expectation_validation_result import (
    ExpectationSuiteValidationResult,
    ExpectationValidationResult,
)
from great_expectations.data_context.data_context.abstract_data_context import AbstractDataContext
from great_expectations.data_context.data_context.context_factory import get_context
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.validate.compile import Compiled
from pipelines.validate.report import Scope
from pipelines.validate.table import PERSONAL

EXAMPLES = 5


def run_suite(
    scope: Scope, name: str, compiled: Sequence[Compiled], frame: pd.DataFrame
) -> ExpectationSuiteValidationResult:
    """Run `compiled` as the suite `scope` over `frame`; nothing is written.

    Raises:
        UserError: an expectation could not be computed.
        RuntimeError: Great Expectations did not run every expectation.
    """
    context = _context()
    data = context.data_sources.add_pandas(scope).add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
    suite = context.suites.add(ExpectationSuite(name=scope, expectations=[item.expectation for item in compiled]))
    definition = context.validation_definitions.add(ValidationDefinition(name=scope, data=data, suite=suite))
    with _quiet():
        outcome = definition.run(
            batch_parameters={"dataframe": frame},
            result_format=_result_format(compiled),
            run_id=RunIdentifier(name, datetime.datetime.now(datetime.UTC)),
        )
    _raise_dropped(compiled, outcome.results)
    _raise_uncomputed(compiled, in_order(compiled, outcome.results))
    return outcome


def in_order(
    compiled: Sequence[Compiled], results: Sequence[ExpectationValidationResult]
) -> list[ExpectationValidationResult]:
    """One result for each of `compiled`, in its order; Great Expectations gives them in another."""
    by_name = {_name(result): result for result in results}
    return [by_name[item.config.name] for item in compiled]


def _name(result: ExpectationValidationResult) -> str:
    return "" if result.expectation_config is None else str(result.expectation_config.meta["name"])


def _context() -> AbstractDataContext:
    """Everything in memory, no sites of its own (by default one lies in the folder for temporary files)."""
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return get_context(project_config=config, mode="ephemeral")


def _result_format(compiled: Sequence[Compiled]) -> dict[str, Any]:
    """Counts and a few row numbers. Values appear in the docs only where no column is personal."""
    personal = any(column in PERSONAL for item in compiled for column in item.columns)
    return {
        "result_format": "SUMMARY",
        "partial_unexpected_count": EXAMPLES,
        "exclude_unexpected_values": personal,
        "include_unexpected_rows": False,
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Great Expectations logs the traceback of each expectation it cannot compute; we raise those."""
    logger = logging.getLogger("great_expectations")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _raise_dropped(compiled: Sequence[Compiled], results: Sequence[ExpectationValidationResult]) -> None:
    """A check that got lost between the configuration and the run must not go unseen."""
    declared, run = [item.config.name for item in compiled], [_name(result) for result in results]
    if sorted(declared) != sorted(run):
        missing = ", ".join(sorted(set(declared) - set(run))) or "none"
        raise RuntimeError(f"{len(declared)} expectations were declared, {len(run)} were run; missing: {missing}")


def _raise_uncomputed(compiled: Sequence[Compiled], results: Sequence[ExpectationValidationResult]) -> None:
    problems = []
    for item, result in zip(compiled, results, strict=True):
        message = _exception(result.exception_info or {})
        if message:
            shown = "an error about a personal column" if PERSONAL.intersection(item.columns) else message[:200]
            hint = "its arguments may not suit the type of the column"
            problems.append(Problem(item.config.name, "an expectation that can be computed", shown, hint))
    if problems:
        raise UserError(f"{len(problems)} expectations of configs/expectations.yaml could not be computed", problems)


def _exception(info: dict[str, Any]) -> str:
    """The message of an exception; Great Expectations keys them by metric, or not at all."""
    entries = [info] if "raised_exception" in info else [entry for entry in info.values() if isinstance(entry, dict)]
    return "; ".join(str(entry.get("exception_message")) for entry in entries if entry.get("raised_exception"))
