"""What a person is named by leaves the SQL of an ingest sealed, or masked where a person only looks.

DuckDB hands columns over in pieces as Arrow; of each piece the distinct values are changed once, and
those of the pieces before are remembered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as compute

from pipelines.privacy import EXTERNAL_IDS, Sealer, change_personal, is_sealed
from pipelines.settings.identity import IdentityConfig

Change = Callable[[str, Any], str]
TextChange = Callable[[str], str]

# Values that are remembered for each function: about 100 MB at the most.
_REMEMBERED = 200_000


@dataclass(slots=True)
class Protection:
    """Gives SQL for values that name a person; `change` makes of (name, JSON value) the text that is kept.

    `failure` is what `change` raised, which DuckDB wraps into an error of its own.
    """

    identity: IdentityConfig
    change: Change
    failure: Exception | None = None
    _functions: dict[str, TextChange] = field(default_factory=dict)
    _names: dict[tuple[str, str], str] = field(default_factory=dict)

    def text(self, name: str, sql: str) -> str:
        """SQL of text that stands for the text `sql`."""
        return self.call("text", name, lambda text: self.change(name, text), sql)

    def json(self, name: str, sql: str) -> str:
        """SQL of text that stands for the value whose JSON text is `sql`."""
        return self.call("json", name, lambda text: self.change(name, msgspec.json.decode(text)), sql)

    def inside(self, parent: str, sql: str) -> str:
        """SQL of the JSON text `sql` of property `parent`, with what is personal in it changed."""
        return self.call("inside", parent, lambda text: self.changed_inside(parent, text), sql)

    def call(self, sort: str, name: str, function: TextChange, sql: str) -> str:
        """SQL that applies `function` to `sql`; one SQL function for each (sort, name)."""
        known = self._names.setdefault((sort, name), f"protect_{len(self._names)}")
        self._functions.setdefault(known, function)
        return f"{known}({sql})"

    def changed_inside(self, parent: str, text: str) -> str:
        """JSON text with what is personal in it changed; the same text where nothing is."""
        # An escape may spell any name.
        if "\\" not in text and not _key_pattern(self.identity).search(text):
            return text
        value = msgspec.json.decode(text)
        changed = change_personal(value, parent, self.identity, self.change)
        return text if changed == value else msgspec.json.encode(changed).decode()

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make the functions that were named so far known to `connection`."""
        for name, function in self._functions.items():
            connection.create_function(name, self._over_columns(function), ["VARCHAR"], "VARCHAR", type="arrow")
        self._functions.clear()

    def _over_columns(self, function: TextChange) -> Callable[[Any], Any]:
        known: dict[str, str] = {}

        def changed(column: Any) -> Any:
            whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            parts = compute.dictionary_encode(whole)
            try:
                values = [_remembered(known, function, text) for text in parts.dictionary.to_pylist()]
            except Exception as error:
                self.failure = error
                raise
            return pa.array(values, pa.string()).take(parts.indices)

        return changed


def _remembered(known: dict[str, str], function: TextChange, text: str) -> str:
    found = known.get(text)
    if found is None:
        found = function(text)
        if len(known) < _REMEMBERED:
            known[text] = found
    return found


@contextmanager
def explaining(protection: Protection) -> Iterator[None]:
    """Raise what `change` raised in place of DuckDB's error about it."""
    try:
        yield
    except duckdb.Error:
        if protection.failure is not None:
            raise protection.failure from None
        raise


def sealing(identity: IdentityConfig, sealer: Callable[[], Sealer]) -> Protection:
    """Values become tokens. The key is asked for when the first personal value is met."""
    return Protection(identity, lambda name, value: sealer().seal_json(name, value))


def masking(identity: IdentityConfig) -> Protection:
    """Values become their first letters."""
    return Protection(identity, lambda _, value: masked(value))


def masked(value: Any) -> str:
    """`s***@e***` for text, `***` for anything else."""
    if not isinstance(value, str) or is_sealed(value):
        return "***"
    return "@".join(f"{part[:1]}***" for part in value.split("@"))


@cache
def _key_pattern_of(names: frozenset[str]) -> re.Pattern[str]:
    alternatives = "|".join(sorted(map(re.escape, (*names, EXTERNAL_IDS))))
    return re.compile(rf'"(?:{alternatives})"\s*:')


def _key_pattern(identity: IdentityConfig) -> re.Pattern[str]:
    return _key_pattern_of(identity.personal_names)
