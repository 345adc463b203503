"""Rows of a file that wait in quarantine: what names a person in them sealed, and opened on the way back.

The kind of a token is the place of its value: `column:` and the header's name, or the path in a JSON object.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import duckdb
import msgspec

from pipelines.console import UserError
from pipelines.ingest.layout import QUARANTINE_COLUMNS, Layout
from pipelines.ingest.protection import Protection
from pipelines.ingest.quoting import literal
from pipelines.privacy import MARK, WHOLE_ROW, Sealer, is_sealed
from pipelines.settings.sources import SourceConfig

QUARANTINE_TEXT = "quarantine_text"
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SealedRows:
    """How rows of one file are kept. Of a source with personal columns, what nobody declared is sealed too."""

    source: SourceConfig
    layout: Layout
    personal: frozenset[str]
    protection: Protection
    sealer: Callable[[], Sealer]

    def whole(self, sql: str) -> str:
        """SQL of a row whose fields could not be told apart."""
        if not self.personal:
            return sql
        return self.protection.call("whole", WHOLE_ROW, lambda text: self.sealer().seal(WHOLE_ROW, text), sql)

    def opened_whole(self, text: str) -> str:
        """A row that `whole` sealed; any other text as it is."""
        try:
            return self.sealer().open(WHOLE_ROW, text) if is_sealed(text) else text
        except UserError:
            # A token of a column: it is opened with the column's own kind.
            return text

    def cell(self, name: str, sql: str) -> str:
        """SQL of a field of the file's column `name`."""
        declared = self.source.columns.get(name)
        kind = column_kind((name,))
        if name in self.personal or (self.personal and declared is None):
            return self.protection.call("cell", kind, lambda text: self.sealer().seal(kind, text), sql)
        if declared is not None and declared.type == "json":
            return self.protection.call("cell", kind, lambda text: self._json_cell(kind, name, text), sql)
        return sql

    def line(self, sql: str) -> str | None:
        """SQL of a merge patch that seals fields of a JSON object; '' where the line is to be sealed whole.

        None where the source needs no patch.
        """
        if not self.personal and all(column.type != "json" for column in self.source.columns.values()):
            return None
        return self.protection.call("line", "", self._patch, sql)

    def open_columns(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Put what was sealed in table `raw` back in the clear. Raises UserError: a token of another key."""
        for number, name in enumerate(self._raw_names()):
            if name not in self.source.columns or self.source.columns[name].column is not None:
                continue
            column, kind = f"c{number}", column_kind(self._path(name))
            sealed = f"starts_with({column}, {literal(MARK)})"
            ((found,),) = connection.execute(f"SELECT count(*) FROM raw WHERE {sealed}").fetchall()
            if found:
                opened = self.protection.call("open", kind, partial(self._opened, kind), column)
                self.protection.register(connection)
                connection.execute(f"UPDATE raw SET {column} = {opened} WHERE {sealed}")

    def _opened(self, kind: str, text: str) -> str:
        if not is_sealed(text):
            return text
        value = self.sealer().open_json(kind, text)
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()

    def _raw_names(self) -> tuple[str, ...]:
        return tuple(self.source.columns) if self.layout.format.type == "jsonl" else self.layout.header

    def _path(self, name: str) -> Path:
        path = self.source.columns[name].path
        return tuple(path.split(".")) if path and self.layout.format.type == "jsonl" else (name,)

    def _json_cell(self, kind: str, name: str, text: str) -> str:
        try:
            changed = self.protection.changed_inside(self._property(name), text)
        except msgspec.DecodeError:
            # No JSON, so nobody can tell what it holds.
            changed = ""
        return text if changed == text else self.sealer().seal(kind, text)

    def _property(self, name: str) -> str:
        """The property that a column fills: what its parts mean depends on it."""
        rules = (rule.properties for rule in self.source.events)
        given = [(key, value.column) for part in (self.source.properties, *rules) for key, value in part.items()]
        return next((key for key, column in given if column == name), name)

    def _patch(self, text: str) -> str:
        try:
            value = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            return ""
        return json.dumps(self._patch_of(value, ()))

    def _patch_of(self, value: Mapping[str, Any], above: Path) -> dict[str, Any]:
        patch: dict[str, Any] = {}
        for key, item in value.items():
            path = (*above, key)
            if item is None or path[0] in QUARANTINE_COLUMNS:
                continue
            if path == (QUARANTINE_TEXT,):
                patch[key] = self.sealer().seal_json(WHOLE_ROW, item)
            elif isinstance(item, dict) and any(known[: len(path)] == path != known for known in self._paths()):
                patch |= {key: inner} if (inner := self._patch_of(item, path)) else {}
            elif self._is_sealed_place(path, item):
                patch[key] = self.sealer().seal_json(column_kind(path), item)
        return patch

    def _is_sealed_place(self, path: Path, item: Any) -> bool:
        name = self._paths().get(path)
        if name is None:
            return bool(self.personal)
        if name in self.personal:
            return True
        if not isinstance(item, dict | list):
            return False
        text = msgspec.json.encode(item).decode()
        return (
            bool(self.personal)
            if self.source.columns[name].type != "json"
            else (self.protection.changed_inside(self._property(name), text) != text)
        )

    def _paths(self) -> dict[Path, str]:
        return {self._path(name): name for name, column in self.source.columns.items() if column.column is None}


def column_kind(path: Path) -> str:
    """Kind of the tokens of a column, or of a path in a JSON object."""
    return f"column:{'.'.join(path)}"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises ValueError: a name stands twice, so a patch might leave one of them."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found
