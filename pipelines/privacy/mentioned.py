"""Stored events that hold a text of a person, whoever they belong to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb

from pipelines.events import lake
from pipelines.events.journal import COLUMNS, Journal, StoredEvent, StoredRow, decode
from pipelines.privacy.person import Person

_ROWS_A_PAGE = 5_000
_TEXTS = tuple(COLUMNS.index(name) for name in ("user_id", "anonymous_id", "identifiers", "properties"))


def events_mentioning(journal: Journal, lake_path: Path, person: Person) -> list[StoredEvent]:
    """Candidates, ascending by position: every event that mentions the person is among them."""
    pattern = _pattern(person)
    found = {row[0]: row for row in _in_journal(journal, re.compile(pattern), person.texts)}
    found |= {row[0]: row for row in _in_lake(lake_path, pattern, person.texts)}
    return [decode(found[position]) for position in sorted(found)]


def _pattern(person: Person) -> str:
    """What stands in JSON where the person is mentioned; short texts as a whole value alone."""
    distinct = set(person.distinct_texts)
    inside = [json.dumps(text, ensure_ascii=False)[1:-1] for text in distinct]
    whole = [json.dumps(text, ensure_ascii=False) for text in person.texts - distinct]
    return "|".join(map(re.escape, [*inside, *whole]))


def _in_journal(journal: Journal, pattern: re.Pattern[str], texts: frozenset[str]) -> Iterator[StoredRow]:
    after = 0
    while rows := journal.read_rows(after, _ROWS_A_PAGE):
        after = rows[-1][0]
        for row in rows:
            said = [row[place] for place in _TEXTS if row[place] is not None]
            if any(text in texts or pattern.search(text) for text in said):
                yield row


def _in_lake(path: Path, pattern: str, texts: frozenset[str]) -> list[StoredRow]:
    query = f"""SELECT {lake.STORED_ROW} FROM lake
      WHERE list_contains($texts, user_id) OR list_contains($texts, anonymous_id)
      OR regexp_matches(identifiers, $pattern) OR regexp_matches(properties, $pattern)"""
    with duckdb.connect() as connection:
        lake.register(connection, path, "lake")
        return connection.execute(query, {"texts": sorted(texts), "pattern": pattern}).fetchall()
