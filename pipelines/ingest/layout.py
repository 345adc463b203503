"""How a file is written: found out before its rows are read, and errors of reading it in plain words."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
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
HEADER_CHARACTERS = 1 << 20
_GZIP = b"\x1f\x8b"
# A row that cannot be split may be as long as the file; Python's own limit is 128 KiB a field.
csv.field_size_limit(1 << 30)


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
        UserError: missing, empty, unreadable, or not what the mapping says.
    """
    if not file.is_file():
        raise unreadable(file, "a file", "a folder" if file.is_dir() else "nothing there", "check the path")
    if file.stat().st_size == 0:
        raise unreadable(file, "rows", "an empty file", "was it written completely?")
    with explained(file, declared):
        _check_suffix(file)
    name = file.name.lower().removesuffix(".gz")
    if declared.type == "parquet" and name.endswith(".csv"):
        declared = FormatConfig(type="csv")
    with explained(file, declared):
        if declared.type == "jsonl":
            return Layout(declared)
        if declared.type == "parquet":
            with opened_parquet(file) as source:
                return Layout(declared, tuple(source.schema_arrow.names))
        return _csv_layout(file, declared)


def check_columns(file: Path, layout: Layout, wanted: Collection[str]) -> None:
    """Raises UserError: the header lacks columns that are `wanted`, or has two of one name.

    Names are told only of a line that is a header: the first line of a file without one is somebody's data.
    """
    missing = [name for name in wanted if name not in layout.header]
    if missing:
        header = ", ".join(layout.header)
        known = any(name in header for name in wanted)
        has = f"the file has: {header[:300]}" if known else "the first line names none of them; is it a header?"
        hint = f"{has}; delimiter {layout.format.delimiter!r}"
        raise UserError(
            f"cannot ingest {file.name}: it lacks columns of the source; nothing was written",
            [
                Problem("columns", "in the header", f"no {name}", hint if name == missing[0] else "", file.name)
                for name in missing
            ],
        )
    twice = sorted(name for name, count in Counter(layout.header).items() if count > 1)
    if twice:
        told = f"twice: {', '.join(name or 'one without a name' for name in twice)[:300]}"
        raise unreadable(file, "each column once", told, "rename or remove one of them")


def _check_suffix(file: Path) -> None:
    with file.open("rb") as stream:
        packed = stream.read(2) == _GZIP
    if packed and not is_gzip(file):
        raise unreadable(file, "a name that ends in .gz", "a gzip file of another name", "add .gz to its name")
    if is_gzip(file) and not packed:
        raise unreadable(file, "a gzip file", "a file that is not packed", "take .gz off its name")


def _csv_layout(file: Path, declared: FormatConfig) -> Layout:
    encoding = "utf-8-sig" if declared.encoding == "utf-8" else declared.encoding
    with opened(file) as stream, io.TextIOWrapper(stream, encoding=encoding, newline="") as text:
        begin = text.read(HEADER_CHARACTERS)
        reader = csv.reader(io.StringIO(begin, newline=""), delimiter=declared.delimiter)
        header = next(reader, None)
        if header is None:
            raise unreadable(file, "a header", "nothing in it", "was it written completely?")
        lines = reader.line_num
        if len(begin) == HEADER_CHARACTERS and next(reader, None) is None:
            hint = "check the mapping's format, and that every quote in the header is closed"
            raise unreadable(file, "a header", "a first line that does not end", hint)
        names = tuple(name.strip() for name in header)
        if not any(names):
            raise unreadable(file, "a header in the first line", "a line without names", "remove what stands before it")
        return Layout(declared, names, lines)


def is_gzip(file: Path) -> bool:
    return file.name.lower().endswith(".gz")


def opened(file: Path) -> IO[bytes]:
    return gzip.open(file) if is_gzip(file) else file.open("rb")  # type: ignore[return-value]


def opened_parquet(file: Path) -> parquet.ParquetFile:
    return parquet.ParquetFile(opened(file) if is_gzip(file) else file)


@contextmanager
def explained(file: Path, declared: FormatConfig) -> Iterator[None]:
    """Turn what the parsers raise into words for the person whose file it is."""
    try:
        yield
    except PermissionError:
        raise unreadable(file, "a file you may read", "no permission", "change its permissions") from None
    except (EOFError, OSError, UnicodeError, csv.Error, zlib.error, pa.ArrowException) as error:
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
