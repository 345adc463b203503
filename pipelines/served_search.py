"""Finds what was served under a request id in the log of served vectors, without decoding the rest."""

from __future__ import annotations

import mmap
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import msgspec

from feature_repo.served import FeatureList, ServedVector, decode_line
from pipelines.served_log import log_files


@dataclass(frozen=True, slots=True)
class Served:
    """A vector, and the list of features that it names."""

    vector: ServedVector
    reads: FeatureList


def find_served(folder: Path, request_id: str, customer_ids: Collection[str] | None = None) -> list[Served]:
    """All that was served under `request_id`, of the customer with these ids or of all, the newest file first.

    Reads the whole log, at the speed of memory; nothing is found of a log that is not written yet.
    """
    needle = b'"request_id":' + msgspec.json.encode(request_id)
    found: list[Served] = []
    for file in reversed(log_files(folder)):
        found += _in_file(file, needle, request_id, customer_ids)
    return found


def _in_file(file: Path, needle: bytes, request_id: str, customer_ids: Collection[str] | None) -> list[Served]:
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            records = [decode_line(line) for line in _lines_with(content, needle)]
            vectors = [one for one in records if isinstance(one, ServedVector) and one.request_id == request_id]
            wanted = [one for one in vectors if customer_ids is None or one.customer_id in customer_ids]
            if not wanted:
                return []
            lists = [decode_line(line) for line in _lines_with(content, b'{"kind":"features",')]
    except (FileNotFoundError, ValueError):
        # Removed meanwhile, for it is old; or empty, which cannot be mapped.
        return []
    known = {one.id: one for one in lists if isinstance(one, FeatureList)}
    return [Served(vector, known[vector.reads]) for vector in wanted if vector.reads in known]


def _lines_with(content: mmap.mmap, needle: bytes) -> list[bytes]:
    lines = []
    at = content.find(needle)
    while at >= 0:
        start, end = content.rfind(b"\n", 0, at) + 1, content.find(b"\n", at)
        end = len(content) if end < 0 else end + 1
        lines.append(content[start:end])
        at = content.find(needle, end)
    return lines
