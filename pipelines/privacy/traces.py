"""Search every file for what a person was known by: as bytes, unpacked, and as the readers of its format see it."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet

from pipelines.privacy.person import Person

_SQLITE = b"SQLite format 3\0"
# A piece of a file, and how far two pieces overlap: no identifier is longer than that.
_PIECE, _OVERLAP = 64 << 20, 4 << 10


@dataclass(frozen=True, slots=True)
class Trace:
    """A file that still names the person; `where` says how it was read. Never the identifier itself."""

    file: str
    where: str


class TraceSearch:
    """Looks for all texts of a person.

    Short ones, which stand in any file by chance, count as a whole value alone: a cell of a table, or a quoted text.
    `longer` gives the known values of others that contain one: those are no trace.
    """

    def __init__(self, person: Person, longer: Callable[[str], Iterable[str]] = lambda text: ()) -> None:
        self._texts = person.texts
        self._longer = longer
        distinct = set(person.distinct_texts)
        wanted = {form for text in distinct for form in (text, json.dumps(text)[1:-1])}
        wanted |= {
            json.dumps(text, ensure_ascii=escape) for text in person.texts - distinct for escape in (True, False)
        }
        ordered = sorted(wanted, key=len, reverse=True)
        self._pattern = "|".join(map(re.escape, ordered))
        self._compiled = re.compile(self._pattern) if ordered else None

    def search(self, files: Iterable[Path], root: Path) -> list[Trace]:
        """Every trace in `files`, by the path from `root` on."""
        found = []
        for file in files:
            found += [Trace(str(file.relative_to(root)), where) for where in dict.fromkeys(self._in_file(file))]
        return found

    def search_texts(self, pieces: Iterable[list[str]], file: str) -> list[Trace]:
        """A trace in `file`, read as the texts it holds, where numbers of others must not be taken for identifiers."""
        found = any(self._in_column(pa.array(texts, pa.string())) for texts in pieces)
        return [Trace(file, "texts")] if found else []

    def _in_file(self, file: Path) -> Iterator[str]:
        try:
            with file.open("rb") as stream:
                start = stream.read(16)
                stream.seek(0)
                yield from ("bytes" for piece in _pieces(stream.read) if self._in_bytes(piece))
            if start[:2] == b"\x1f\x8b":
                with gzip.open(file) as unpacked:
                    yield from ("unpacked" for piece in _pieces(unpacked.read) if self._in_bytes(piece))
            if start[:4] == b"PAR1":
                yield from ("rows" for column in _columns(file) if self._in_column(column))
            if start == _SQLITE:
                yield from ("rows" for column in _cells(file) if self._in_column(column))
        except FileNotFoundError:
            # Files of a service that runs come and go.
            return

    def _in_bytes(self, content: bytes) -> bool:
        # As Latin-1 every byte is one character, so that a text is found wherever its bytes stand.
        return self._matches(pa.array([content], pa.large_binary()), content)

    def _in_column(self, column: pa.Array) -> bool:
        """A whole cell, or a text within one."""
        if compute.any(compute.is_in(column, pa.array(sorted(self._texts), column.type))).as_py():
            return True
        return self._compiled is not None and any(
            self._is_trace(text) for text in _matching(column, self._pattern).to_pylist()
        )

    def _matches(self, array: pa.Array, content: bytes) -> bool:
        if self._compiled is None or not _raw_pattern_found(array, self._pattern):
            return False
        return self._is_trace(content.decode("utf-8", "replace"))

    def _is_trace(self, text: str) -> bool:
        """Whether one of the texts stands in `text` other than as a part of somebody else's identifier."""
        for match in self._compiled.finditer(text) if self._compiled else ():
            around = text[max(0, match.start() - 256) : match.end() + 256]
            if not any(other in around for other in self._longer(match.group())):
                return True
        return False


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    before = b""
    while fresh := read(_PIECE):
        yield before + fresh
        before = fresh[-_OVERLAP:]


def _raw_pattern_found(array: pa.Array, pattern: str) -> bool:
    encoded = pattern.encode("utf-8", "surrogatepass")
    return bool(compute.any(compute.match_substring_regex(array, encoded)).as_py())


def _matching(column: pa.Array, pattern: str) -> pa.Array:
    return column.filter(compute.fill_null(compute.match_substring_regex(column, pattern), False))


def _columns(file: Path) -> Iterator[pa.Array]:
    """The texts of a Parquet file, nested ones as one text a row."""
    with parquet.ParquetFile(file) as source:
        for batch in source.iter_batches(batch_size=100_000):
            for column in batch.columns:
                if pa.types.is_nested(column.type):
                    yield pa.array([json.dumps(value, default=str, ensure_ascii=False) for value in column.to_pylist()])
                elif pa.types.is_dictionary(column.type):
                    yield column.dictionary_decode().cast(pa.string())
                elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                    yield column.cast(pa.string())


def _cells(file: Path) -> Iterator[pa.Array]:
    """The texts and bytes of an SQLite file; long values are parted over its pages, where bytes alone miss them."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30.0)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
            listed = [
                column[1] for column in columns if column[2].upper() not in ("INTEGER", "BIGINT", "FLOAT", "REAL")
            ]
            if not any(column[2].upper() != "BLOB" for column in columns if column[1] in listed):
                continue
            for name in listed:
                cursor = connection.execute(f'SELECT "{name}" FROM "{table}"')
                while rows := cursor.fetchmany(50_000):
                    yield pa.array([_text(row[0]) for row in rows], pa.string())


def _text(value: object) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value if isinstance(value, str) else None
