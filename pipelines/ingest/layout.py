"""How a file is written: found out before its rows are read, and errors of reading it in plain words."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as parquet

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.settings.mapping import FormatConfig

QUARANTINE_COLUMNS = ("quarantine_row", "quarantine_reason")


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is written, and the names of its columns in order (none for JSON lines)."""

    format: FormatConfig
    header: tuple[str, ...] = ()
    header_lines: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Names the columns have in SQL, whatever the file calls them."""
        return tuple(f"c{number}" for number in range(len(self.header)))

    @property
    def source_width(self) -> int:
        """Number of columns, those that quarantine adds left out."""
        return sum(name not in QUARANTINE_COLUMNS for name in self.header)


def look_at(file: Path, declared: FormatConfig) -> Layout:
    """Find out the layout of `file`, without reading its rows.

    Raises:
        UserError: missing, empty, unreadable, not what the mapping says, or two columns of one name.
    """
    if not file.is_file():
        raise unreadable(file, "a file", "a folder" if file.is_dir() else "nothing there", "check the path")
    if file.stat().st_size == 0:
        raise unreadable(file, "rows", "an empty file", "was it written completely?")
    name = file.name.lower().removesuffix(".gz")
    if declared.type == "parquet" and name.endswith(".csv"):
        declared = FormatConfig(type="csv")
    with explained(file, declared):
        if declared.type == "jsonl":
            return Layout(declared)
        if declared.type == "parquet":
            return Layout(declared, _distinct(file, tuple(parquet.read_schema(file).names)))
        return _csv_layout(file, declared)


def _csv_layout(file: Path, declared: FormatConfig) -> Layout:
    encoding = "utf-8-sig" if declared.encoding == "utf-8" else declared.encoding
    with opened(file) as stream, io.TextIOWrapper(stream, encoding=encoding, newline="") as text:
        reader = csv.reader(text, delimiter=declared.delimiter)
        header = next(reader, None)
        if header is None:
            raise unreadable(file, "a header", "nothing in it", "was it written completely?")
        names = tuple(name.strip() for name in header)
        return Layout(declared, _distinct(file, names), reader.line_num)


def _distinct(file: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise unreadable(file, "each column once", f"twice: {', '.join(twice)}", "rename one of them")
    return names


def is_gzip(file: Path) -> bool:
    return file.name.lower().endswith(".gz")


def opened(file: Path) -> IO[bytes]:
    return gzip.open(file) if is_gzip(file) else file.open("rb")  # type: ignore[return-value]


@contextmanager
def explained(file: Path, declared: FormatConfig) -> Iterator[None]:
    """Turn what the parsers raise into words for the person whose file it is."""
    try:
        yield
    except (EOFError, OSError, UnicodeError, pa.ArrowException) as error:
        text = " ".join(str(error).split())
        if isinstance(error, UnicodeError) or "UTF8" in text or "UTF-8" in text:
            raise unreadable(
                file,
                f"text in {declared.encoding}",
                f"other bytes{_first_bad_line(file, declared)}",
                "set format.encoding in the mapping, or save the file in UTF-8",
            ) from None
        if "runcated" in text or isinstance(error, EOFError) or "end-of-stream" in text:
            raise unreadable(file, "a whole gzip file", "one that ends early", "copy it again") from None
        if "straddling" in text or "out of sync" in text:
            raise unreadable(
                file, "every quote closed", "a quote that never ends", "double a quote that is part of the text"
            ) from None
        raise unreadable(file, f"a readable {declared.type} file", text[:120], "check the mapping's format") from None


def _first_bad_line(file: Path, declared: FormatConfig) -> str:
    with opened(file) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode(declared.encoding)
            except UnicodeError:
                return f" in line {number}"
    return ""


def unreadable(file: Path, expected: str, got: str, hint: str) -> UserError:
    problem = Problem("file", expected, got, hint, file.name)
    return UserError(f"cannot ingest {file.name}; nothing was written", [problem])
