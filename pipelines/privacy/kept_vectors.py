"""The log of served vectors: what was served about somebody, and the log without it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from feature_repo.served import FeatureList, Record, ServedVector, decode_line
from pipelines.privacy.kept_lines import replace_file
from pipelines.privacy.person import Mentions, Person
from pipelines.served_log import lines_of, log_files
from pipelines.settings.workspace import Workspace

# A request id that the service chose. Others are a client's, who may have put anything into it.
_OWN_REQUEST_ID = re.compile(r"[0-9a-f]{32}")
_TEXTS_A_PIECE = 50_000


@dataclass(frozen=True, slots=True)
class KeptVectors:
    """One person's lines in a workspace's log. Numbers are never taken for identifiers."""

    workspace: Workspace
    person: Person
    mentions: Mentions

    def found(self) -> list[dict[str, Any]]:
        """What was served about the person, in JSON types; instants in int64 microseconds UTC."""
        lists: dict[str, FeatureList] = {}
        vectors: list[ServedVector] = []
        for file in log_files(self.workspace.served):
            for record in map(decode_line, lines_of(file)):
                if isinstance(record, FeatureList):
                    lists[record.id] = record
                elif isinstance(record, ServedVector) and self._is_theirs(record):
                    vectors.append(record)
        return [_told(vector, lists.get(vector.reads)) for vector in vectors]

    def remove(self) -> int:
        """Remove those lines, and torn ones, which could be theirs; how many were. Nobody may write meanwhile."""
        removed = 0
        for unfinished in self.workspace.served.glob("*.erasing"):
            unfinished.unlink()
        for file in log_files(self.workspace.served):
            try:
                removed += self._remove_from(file)
            except FileNotFoundError:
                # The service removes old files.
                continue
        return removed

    def _remove_from(self, file: Path) -> int:
        gone = sum(self._goes(decode_line(line)) for line in lines_of(file))
        if gone:
            replace_file(file, (line for line in lines_of(file) if not self._goes(decode_line(line))))
        return gone

    def _goes(self, record: Record | None) -> bool:
        return record is None or (isinstance(record, ServedVector) and self._is_theirs(record))

    def _is_theirs(self, record: ServedVector) -> bool:
        if record.customer_id in self.person.texts or record.customer_id in self.person.customer_ids:
            return True
        named = record.request_id
        # Wherever the search for traces would find it, also by chance: one line less is better than a doubt.
        if any(text in named for text in self.person.distinct_texts):
            return True
        if not _OWN_REQUEST_ID.fullmatch(named) and self.mentions.in_text(named):
            return True
        # What a call brought along is a client's too.
        brought = list(_brought(record))
        return any(text in one for one in brought for text in self.person.distinct_texts) or any(
            map(self.mentions.in_text, brought)
        )


def _brought(record: ServedVector) -> Iterator[str]:
    """Texts that a call brought along, and those that stand as features: of calls, or of what events say."""
    yield from (value for value in record.context.values() if isinstance(value, str))
    yield from (value for value in record.values if isinstance(value, str))


def texts_in(file: Path) -> Iterator[list[str]]:
    """What in a file of the log may hold an identifier, in pieces: ids, what calls brought along, and torn lines."""
    texts: list[str] = []
    for line in lines_of(file):
        record = decode_line(line)
        if isinstance(record, ServedVector):
            texts += [record.customer_id, record.request_id, *_brought(record)]
        elif record is None:
            texts.append(line.decode("utf-8", "replace"))
        if len(texts) > _TEXTS_A_PIECE:
            yield texts
            texts = []
    yield texts


def _told(vector: ServedVector, reads: FeatureList | None) -> dict[str, Any]:
    """A vector with the names of its features; without them, should their list be missing."""
    told = msgspec.to_builtins(vector)
    del told["kind"], told["reads"]
    if reads is None:
        return told
    values = dict(zip(reads.features, told.pop("values"), strict=True))
    return {**told, "model": reads.model, "version": reads.version, "spec_hash": reads.spec_hash, "values": values}
