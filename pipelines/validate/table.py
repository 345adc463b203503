"""The columns that expectations look at: those of the event table, and some worked out from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from feature_repo.event_table import EVENT_SCHEMA

STORED = tuple(EVENT_SCHEMA.names)
PERSONAL = frozenset({"user_id", "anonymous_id", "identifiers", "properties"})
NAMING = ("source", "event_id")
PAIR = " / "


@dataclass(frozen=True, slots=True)
class Derived:
    """A column worked out from stored ones; `make` gets the table and the main currency."""

    needs: tuple[str, ...]
    make: Callable[[pa.Table, str | None], pa.ChunkedArray | pa.Array]


def _delay_seconds(table: pa.Table, currency: str | None) -> pa.ChunkedArray:
    microseconds = pc.subtract(table["available_at"].cast(pa.int64()), table["event_time"].cast(pa.int64()))
    return pc.divide(microseconds, 1_000_000)


def _identity(table: pa.Table, currency: str | None) -> pa.ChunkedArray:
    return pc.case_when(
        pc.make_struct(pc.is_valid(table["user_id"]), pc.is_valid(table["anonymous_id"])), "user", "anonymous"
    )


def _event_channel(table: pa.Table, currency: str | None) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(table["event"], table["channel"], PAIR)


def _main_currency(table: pa.Table, currency: str | None) -> pa.Array:
    return pa.repeat(pa.scalar(currency, pa.string()), table.num_rows)


DERIVED = {
    "delay_seconds": Derived(("event_time", "available_at"), _delay_seconds),
    "identity": Derived(("user_id", "anonymous_id"), _identity),
    "event_channel": Derived(("event", "channel"), _event_channel),
    "main_currency": Derived((), _main_currency),
}
# Text stays in Arrow's memory: filters copy no Python objects.
_TEXT = {pa.string(): pd.StringDtype("pyarrow", na_value=np.nan)}
# Great Expectations compares `Int64` value by value, so only columns with empty values take it.
_WITH_EMPTY = {pa.int64(): pd.Int64Dtype()}
COLUMNS = (*STORED, *DERIVED)


def stored_columns(names: Iterable[str]) -> list[str]:
    """Stored columns that have to be read for the columns `names`, and to name rows; in table order."""
    wanted = set(NAMING)
    for name in names:
        wanted.update(DERIVED[name].needs if name in DERIVED else (name,))
    return [name for name in STORED if name in wanted]


def frame_of(table: pa.Table, names: Iterable[str], currency: str | None) -> pd.DataFrame:
    """Columns `names` and those that name rows, as pandas.

    Times stay microseconds UTC; integers stay integers (`Int64` beside empty values); rows are
    numbered from 0.
    """
    columns: dict[str, pd.Series] = {}
    for name in dict.fromkeys((*NAMING, *names)):
        column = DERIVED[name].make(table, currency) if name in DERIVED else table[name]
        types = _TEXT | (_WITH_EMPTY if column.null_count else {})
        columns[name] = column.to_pandas(types_mapper=types.get)
    return pd.DataFrame(columns)


def main_currency(events: pa.Table | ds.Dataset) -> str | None:
    """The currency most amounts are in; None where there are no amounts."""
    with duckdb.connect() as connection:
        connection.register("events", events)
        row = connection.execute(
            "SELECT currency FROM events WHERE value IS NOT NULL AND currency IS NOT NULL "
            "GROUP BY currency ORDER BY count(*) DESC, currency LIMIT 1"
        ).fetchone()
    return None if row is None else str(row[0])
