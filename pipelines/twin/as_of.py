"""The past read from the log: what was known of a customer at an instant, and the twin that follows from it.

An event counts at an instant only if it had arrived by then, and was known to be the customer's. So a twin of the past
is the one that was, or would have been, answered then.

All instants are int64 microseconds UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from feature_repo.spec import FeatureSpec
from feature_repo.state.read import FeatureValue, StateReader
from feature_repo.state.tiles import LoggedEvent, fold_more
from pipelines.events.customer_log import Theirs
from pipelines.events.moments import moments_of
from pipelines.identity.facts import facts_of
from pipelines.identity.store import Member
from pipelines.identity.vocabulary import Vocabulary
from pipelines.settings.consent import ConsentConfig
from pipelines.twin.fold import TwinFold
from pipelines.twin.state import Twin


class Word(NamedTuple):
    """What a customer said of a purpose, when, and through which source."""

    purpose: str
    granted: bool
    at: int
    source: str


class Past:
    """Twins of any instant, of the events of a customer. Threads may share it."""

    def __init__(self, fold: TwinFold, spec: FeatureSpec) -> None:
        """`spec` is the one that `fold` was made with."""
        self._fold = fold
        self._reader = StateReader(spec, fold.features)

    def twin(self, customer_id: str, as_of: int, events: Iterable[LoggedEvent]) -> Twin | None:
        """The twin at `as_of`, of all events that count; None where none of them was known then."""
        known = known_at(events, as_of)
        if not known:
            return None
        features = dict(zip(self._reader.names, _read(self._reader, known, as_of), strict=True))
        position = max(event.position for event in known)
        return self._fold.twin_at(customer_id, as_of, moments_of(known), features, position)


def known_at(events: Iterable[LoggedEvent], as_of: int) -> list[LoggedEvent]:
    """Those that had arrived by then."""
    return [event for event in events if event.available_at <= as_of]


def features_at(
    spec: FeatureSpec, names: Sequence[str], events: Sequence[LoggedEvent], as_of: int
) -> dict[str, FeatureValue]:
    """Features at `as_of` of a customer's events, those that came later left out. Raises KeyError."""
    reader = StateReader(spec, names)
    return dict(zip(names, _read(reader, known_at(events, as_of), as_of), strict=True))


def _read(reader: StateReader, known: Sequence[LoggedEvent], as_of: int) -> list[FeatureValue]:
    return reader.read(fold_more(reader.plan, None, known) if known else None, as_of)


def counted(events: Iterable[Theirs]) -> list[LoggedEvent]:
    """Of a customer's events those that features and the twin read."""
    return [event.counted for event in events if event.counted is not None]


def words_at(
    events: Iterable[Theirs], as_of: int, vocabulary: Vocabulary, consent: ConsentConfig
) -> Mapping[str, Word]:
    """By purpose what the customer had said by `as_of`. Of two answers the later holds, of two at once the denial.

    Raises EncryptionKeyMissing: somebody said so under a personal identifier, and there is no key.
    """
    known = [event.stored for event in events if event.known_at <= as_of and event.stored.event.event_time <= as_of]
    said = facts_of(known, vocabulary, consent).consents
    said.sort(key=lambda word: (word.at, not word.granted))
    return {word.purpose: Word(word.purpose, word.granted, word.at, word.source) for word in said}


def members_at(members: Iterable[Member], events: Iterable[Theirs], as_of: int, vocabulary: Vocabulary) -> list[Member]:
    """Those identifiers of a customer that had come with an event of theirs by `as_of`."""
    known = {form for event in events if event.known_at <= as_of for form in vocabulary.forms(event.stored.event)}
    return [member for member in members if member.form in known and member.joined_at <= as_of]
