"""Rows of a CSV file whose fields could not be told apart, on their way in and back from quarantine."""

from __future__ import annotations

import csv
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as compute

from pipelines.ingest.layout import QUARANTINE_COLUMNS, Layout
from pipelines.privacy import MARK


def split(text: str, layout: Layout) -> list[str]:
    """The fields of one row as it stands in the file."""
    return next(csv.reader([text], delimiter=layout.format.delimiter), [])


def with_fields(numbers: pa.Array, rows: list[tuple[str, list[str]]], layout: Layout) -> pa.Table:
    """Rows given as (text, fields). One with as many fields as its columns is a good row; of another
    the fields stay in order from the left, so that in most cases its event can still be told."""
    said = [_fault(len(fields), layout.source_width) for _, fields in rows]
    padded = [(fields + [""] * len(layout.header))[: len(layout.header)] for _, fields in rows]
    columns = [pa.array([fields[number] for fields in padded], pa.string()) for number in range(len(layout.header))]
    texts = pa.array([text for text, _ in rows], pa.string())
    return pa.table([numbers, pa.array(said, pa.string()), texts, *columns], ["row", "fault", "text", *layout.columns])


def _fault(given: int, expected: int) -> str | None:
    return None if given == expected else f"{given} fields where {expected} were expected"


def put_right(table: pa.Table, layout: Layout, opened: Callable[[str], str]) -> pa.Table:
    """Rows of a quarantine file that stand whole in its first column, split anew into their fields.

    Without this, a row that was not mended would no longer be known as part of its event, and the
    event would be stored without it. `opened` gives the text of one that was sealed.
    """
    if layout.source_width == len(layout.header) or layout.source_width < 2:
        return table
    table = _unsealed(table, opened)
    whole = compute.greater(compute.find_substring(table["c0"], layout.format.delimiter), -1)
    for name, column in zip(layout.header[1:], layout.columns[1:], strict=True):
        if name not in QUARANTINE_COLUMNS:
            whole = compute.and_(whole, compute.equal(table[column], ""))
    if not compute.any(whole).as_py():
        return table
    texts = table["c0"].filter(whole).to_pylist()
    numbers = table["row"].filter(whole).combine_chunks()
    mended = with_fields(numbers, [(text, split(text, layout)) for text in texts], layout)
    return pa.concat_tables([table.filter(compute.invert(whole)), mended])


def _unsealed(table: pa.Table, opened: Callable[[str], str]) -> pa.Table:
    sealed = compute.starts_with(table["c0"], MARK)
    if not compute.any(sealed).as_py():
        return table
    texts = pa.array([opened(text) for text in table["c0"].to_pylist()], pa.string())
    return table.set_column(table.schema.get_field_index("c0"), "c0", texts)
