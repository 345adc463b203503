"""Facts gathered in SQL over the lake are those of the same events one by one."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.event_table import EVENT_SCHEMA
from pipelines.events.compaction import _batch
from pipelines.events.journal import NewEvent, StoredEvent, encode
from pipelines.identity.facts import facts_of
from pipelines.identity.lake_facts import facts_of_lake
from pipelines.identity.vocabulary import Vocabulary
from tests.unit.test_identity_store import CONFIG, CONSENT, SEALER, happenings


def with_odd_parts(stored: StoredEvent) -> StoredEvent:
    """Identifiers that are no text, or of a kind nobody declared, count for nothing."""
    event = stored.event
    identifiers = {**event.identifiers, "visit": "v1", "cookie": event.identifiers.get("cookie", 7)}
    values = {name: getattr(event, name) for name in NewEvent.__dataclass_fields__}
    return StoredEvent(stored.position, NewEvent(**{**values, "identifiers": identifiers}))


@settings(max_examples=60, deadline=None)
@given(happenings(), st.integers(0, 6), st.integers(3, 20))
def test_sql_and_python_gather_the_same(events, after, until) -> None:
    events = [with_odd_parts(event) for event in events]
    vocabulary = Vocabulary(CONFIG, lambda: SEALER)
    with TemporaryDirectory() as folder:
        lake = Path(folder) / "lake"
        rows = [(e.position, *encode([e.event])[0].values) for e in events]
        write_deltalake(str(lake), pa.Table.from_batches([_batch(rows)], EVENT_SCHEMA))
        found = facts_of_lake(lake, 0, after, until, vocabulary, CONSENT)
    expected = facts_of([e for e in events if after < e.position <= until], vocabulary, CONSENT)
    assert found.forms == expected.forms
    assert found.pairs == expected.pairs
    assert sorted(found.consents) == sorted(expected.consents)
