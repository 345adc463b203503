"""The naive oracle of journals: a list and a dictionary, in memory."""

from __future__ import annotations

from pipelines.events.journal import Appended, NewEvent, StoredEvent


class NaiveJournal:
    """What a journal must answer, without threads, disks or limits."""

    def __init__(self) -> None:
        self.last = 0
        self.known: dict[tuple[str, str], int] = {}
        self.stored: list[StoredEvent] = []

    def append(self, events: list[NewEvent]) -> list[Appended]:
        answers = []
        for new in events:
            key = (new.source, new.event_id)
            duplicate = key in self.known
            if not duplicate:
                self.last += 1
                self.known[key] = self.last
                self.stored.append(StoredEvent(self.last, new))
            answers.append(Appended(self.known[key], duplicate))
        return answers

    def reserve(self, count: int) -> int:
        first, self.last = self.last + 1, self.last + count
        return first

    def remember(self, keys: list[tuple[str, str]], first: int) -> None:
        for index, key in enumerate(keys):
            self.known.setdefault(key, first + index)

    def remove_until(self, position: int) -> None:
        self.stored = [each for each in self.stored if each.position > position]
