"""The facts of many events at once, gathered in SQL; `facts.facts_of` says the same event by event."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from pipelines.events import lake
from pipelines.events.journal import StoredEvent, decode
from pipelines.identity.facts import ALIASED, CONSENT_UPDATED, Evidence, Facts, Pair, facts_of
from pipelines.identity.vocabulary import Form, Vocabulary
from pipelines.settings.consent import ConsentConfig
from pipelines.settings.identity import ANONYMOUS_ID, USER_ID

_ROWS_A_FETCH = 10_000


def facts_of_lake(
    path: Path, version: int, after: int, until: int, vocabulary: Vocabulary, consent: ConsentConfig
) -> Facts:
    """The facts of the lake's events with after < position <= until, in this version of it."""
    facts = Facts()
    with duckdb.connect() as connection:
        lake.register(connection, path, "lake", version)
        connection.execute(_mentions_sql(list(vocabulary.config.kinds)), {"after": after, "until": until})
        for kind, stored, position in _rows(connection, _FORMS):
            facts.saw(Form(kind, stored), position)
        for kind, stored, other_kind, other, first in _rows(connection, _PAIRS):
            evidence = Evidence(first["known_at"], first["source"], first["event_id"])
            facts.together(Pair(Form(kind, stored), Form(other_kind, other), "event"), evidence)
        for events in _telling(connection, after, until):
            _merge(facts, facts_of(events, vocabulary, consent))
    return facts


def _mentions_sql(kinds: list[str]) -> str:
    # One pass over the rows: reading a kind at a time would read the JSON as often.
    mentions = ", ".join(f"{{'kind': '{kind}', 'stored': {_column(kind)}}}" for kind in kinds)
    return f"""
CREATE TEMP TABLE mentioned AS
SELECT position, known_at, source, event_id, mention.kind AS kind, mention.stored AS stored FROM (
  SELECT position, epoch_us(available_at) AS known_at, source, event_id, unnest([{mentions}]) AS mention
  FROM lake WHERE position > $after AND position <= $until
) WHERE mention.stored <> ''
"""


def _column(kind: str) -> str:
    if kind in (USER_ID, ANONYMOUS_ID):
        return kind
    path = f"'$.\"{kind}\"'"
    text = f"CASE WHEN json_type(identifiers, {path}) = 'VARCHAR' THEN json_extract_string(identifiers, {path}) END"
    return f"CASE WHEN identifiers <> '{{}}' THEN {text} END"


_FORMS = "SELECT kind, stored, min(position) FROM mentioned GROUP BY kind, stored"
_PAIRS = """
SELECT a.kind, a.stored, b.kind, b.stored, min({'known_at': a.known_at, 'source': a.source, 'event_id': a.event_id})
FROM (SELECT * FROM mentioned QUALIFY count(*) OVER (PARTITION BY position) > 1) a
JOIN mentioned b ON a.position = b.position AND (a.kind, a.stored) < (b.kind, b.stored)
GROUP BY ALL
"""


def _telling(connection: duckdb.DuckDBPyConnection, after: int, until: int) -> Iterator[list[StoredEvent]]:
    """Events that say more than which identifiers came together."""
    query = f"""SELECT {lake.STORED_ROW} FROM lake WHERE position > $after AND position <= $until AND
      (event IN ($aliased, $updated) OR contains(properties, '"categoryPreferences"'))"""
    cursor = connection.execute(query, {"after": after, "until": until, "aliased": ALIASED, "updated": CONSENT_UPDATED})
    while rows := cursor.fetchmany(_ROWS_A_FETCH):
        yield [decode(row) for row in rows]


def _merge(facts: Facts, more: Facts) -> None:
    for form, position in more.forms.items():
        facts.saw(form, position)
    for pair, evidence in more.pairs.items():
        facts.together(pair, evidence)
    facts.consents += more.consents


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[tuple[Any, ...]]:
    cursor = connection.execute(query)
    while rows := cursor.fetchmany(_ROWS_A_FETCH):
        yield from rows
