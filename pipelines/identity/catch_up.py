"""The identity store follows the events: what lake and journal hold, and it has not taken in yet, is applied."""

from __future__ import annotations

from pathlib import Path

from pipelines.events.journal import Journal
from pipelines.identity.store import IdentityStore

_ROWS_A_PAGE = 10_000


def catch_up(identity: IdentityStore, lake: Path, journal: Journal) -> frozenset[str]:
    """Apply every event that was stored before the call; the customers whose events are others now.

    A bulk load announces its positions (`tables.expect_events`) before its commit, so that its events are
    found even where the process died right after it.

    Raises:
        JournalUnavailable: the journal cannot be read now.
        EncryptionKeyMissing: there are personal identifiers, and there is no key.
    """
    _, position = identity.head()
    until = journal.last_position()
    changed: frozenset[str] = frozenset()
    if until > position or identity.expected():
        found, compacted = _apply_lake(identity, lake, journal, position)
        changed |= found
        position = max(position, compacted)
    while rows := [row for row in journal.read(position, _ROWS_A_PAGE) if row.position <= until]:
        changed |= identity.apply(rows)
        position = rows[-1].position
    identity.caught_up(until)
    return changed


def _apply_lake(identity: IdentityStore, lake: Path, journal: Journal, position: int) -> tuple[frozenset[str], int]:
    """Apply what left the journal, and announced loads; also the position up to which the journal was compacted."""
    # Engines that take long to import: for whom there is something to apply.
    from deltalake import DeltaTable

    from pipelines.events.compaction import watermark
    from pipelines.events.lake import newest_position
    from pipelines.identity.lake_facts import facts_of_lake

    if not DeltaTable.is_deltatable(str(lake)):
        return frozenset(), 0
    # Read after the journal's end was: rows up to there that left the journal are in this version.
    table = DeltaTable(str(lake))
    compacted = watermark(table, journal.identity)
    expected = identity.expected()
    # A store that is new beside a lake has everything in it still to take in.
    last = max(compacted, newest_position(lake)[1]) if position == 0 else compacted
    gone = [(position, last)] if last > position else []
    changed: frozenset[str] = frozenset()
    for after, last in [*gone, *expected]:
        facts = facts_of_lake(lake, int(table.version()), after, last, identity.vocabulary, identity.consent)
        changed |= identity.apply_facts(facts)
        if (after, last) in expected and facts.forms:
            identity.arrived(after, last)
    return changed, compacted
