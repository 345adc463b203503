"""Read a CSV, JSON-lines or Parquet file in batches of rows, numbered from 1, bad rows included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv

from pipelines.ingest.layout import Layout, explained, is_gzip, opened_parquet, unreadable
from pipelines.ingest.mend import put_right, split, with_fields

BLOCK_BYTES = 4 << 20
# JSON text cannot hold this character raw, so a line of JSON is one field.
_NOT_IN_JSON = "\x01"


@dataclass(slots=True)
class _Faults:
    """Rows that could not be split into fields, as the parser meets them."""

    numbers: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __call__(self, row: Any) -> str:
        self.numbers.append(row.number)
        self.texts.append(row.text)
        return "skip"


def read(
    file: Path, layout: Layout, advance: Callable[[float], None], opened: Callable[[str], str] = str
) -> Iterator[pa.Table]:
    """The rows of `file`, in order: `row` from 1, `fault` (or null), `text` and the file's columns.

    CSV columns are text as written; Parquet columns have their own types; JSON lines have only
    `text`. A row with a `fault` has its `text` and no columns. `advance` is told the bytes read;
    `opened` gives the text of a row that stands sealed in a quarantine file.

    Raises:
        UserError: the file ends early, is not in its encoding, or never closes a quote.
    """
    with explained(file, layout.format):
        if layout.format.type == "parquet":
            yield from _parquet_rows(file, layout, advance)
        else:
            yield from _text_rows(file, layout, advance, opened)


def _parquet_rows(file: Path, layout: Layout, advance: Callable[[float], None]) -> Iterator[pa.Table]:
    source = opened_parquet(file)
    share = file.stat().st_size / max(source.metadata.num_rows, 1)
    done = 0
    for batch in source.iter_batches(batch_size=50_000):
        numbers = np.arange(done + 1, done + batch.num_rows + 1)
        nothing = pa.nulls(batch.num_rows, pa.string())
        yield pa.table([pa.array(numbers), nothing, nothing, *batch.columns], ["row", "fault", "text", *layout.columns])
        done += batch.num_rows
        advance(share * batch.num_rows)


def _text_rows(
    file: Path, layout: Layout, advance: Callable[[float], None], opened: Callable[[str], str]
) -> Iterator[pa.Table]:
    faults = _Faults()
    whole_lines = layout.format.type == "jsonl"
    names = ["text"] if whole_lines else list(layout.columns)
    with _Counting(file, advance) as stream:
        reader = arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(
                use_threads=False,
                block_size=BLOCK_BYTES,
                column_names=names,
                skip_rows=layout.header_lines,
                encoding="utf8" if layout.format.encoding == "utf-8" else layout.format.encoding,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=_NOT_IN_JSON if whole_lines else layout.format.delimiter,
                quote_char=False if whole_lines else '"',
                newlines_in_values=not whole_lines,
                invalid_row_handler=faults,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, strings_can_be_null=False
            ),
        )
        good = 0
        last: pa.RecordBatch | None = None
        for batch in reader:
            yield _numbered(batch, good, faults, layout, opened)
            good += batch.num_rows
            last = batch if batch.num_rows else last
        if not whole_lines and stream.quotes % 2:
            values = [str(column[-1].as_py()) for column in last.columns] if last is not None else []
            _check_last_quote(file, [*values, *faults.texts[-1:]], good + len(faults.numbers))
    yield _faulty(faults, layout)


def _numbered(
    batch: pa.RecordBatch, before: int, faults: _Faults, layout: Layout, opened: Callable[[str], str]
) -> pa.Table:
    """Give rows their numbers in the file: good ones count on, and skip the faulty ones between them."""
    counted = np.arange(before + 1, before + batch.num_rows + 1)
    skipped = np.array(faults.numbers, dtype=np.int64) - layout.header_lines - np.arange(len(faults.numbers))
    numbers = counted + np.searchsorted(skipped, counted, side="right")
    nothing = pa.nulls(batch.num_rows, pa.string())
    if layout.format.type == "jsonl":
        return pa.table([pa.array(numbers), nothing, batch.column(0)], ["row", "fault", "text"])
    table = pa.table([pa.array(numbers), nothing, nothing, *batch.columns], ["row", "fault", "text", *layout.columns])
    return put_right(table, layout, opened)


def _faulty(faults: _Faults, layout: Layout) -> pa.Table:
    """The rows with a wrong number of fields. Their fields are kept in order from the left, so that
    the event they belong to can still be told in most cases."""
    numbers = pa.array([number - layout.header_lines for number in faults.numbers], pa.int64())
    if layout.format.type == "jsonl":
        said = pa.array(["not a JSON object" for _ in faults.numbers], pa.string())
        return pa.table([numbers, said, pa.array(faults.texts, pa.string())], ["row", "fault", "text"])
    return with_fields(numbers, [(text, split(text, layout)) for text in faults.texts], layout)


def _check_last_quote(file: Path, values: list[str], rows: int) -> None:
    """A quote that is never closed swallows the rest of the file into its last row, good or faulty."""
    if any("\n" in value for value in values):
        raise unreadable(
            file,
            "every quote closed",
            f"a quote opened in row {rows} that never ends",
            "close it, or double a quote that is part of the text",
        )


class _Counting:
    """A file to read from that decompresses, tells how far it is, and counts quotes."""

    def __init__(self, file: Path, advance: Callable[[float], None]) -> None:
        self._raw = pa.OSFile(str(file))
        self._stream = pa.CompressedInputStream(self._raw, "gzip") if is_gzip(file) else self._raw
        self._advance = advance
        self._told = 0
        self.quotes = 0

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read(size if size >= 0 else None)
        self.quotes += data.count(b'"')
        at = self._raw.tell()
        self._advance(at - self._told)
        self._told = at
        return data

    @property
    def closed(self) -> bool:
        return bool(self._stream.closed)

    def close(self) -> None:
        self._stream.close()
        self._raw.close()

    def __enter__(self) -> _Counting:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
