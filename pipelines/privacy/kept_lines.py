"""The lines of quarantine, opened: which of them mention somebody, and the files without those."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.console import UserError
from pipelines.privacy.person import Mentions, parsed
from pipelines.privacy.sealing import WHOLE_ROW, EncryptionKeyMissing, Sealer, is_sealed, sealer_of
from pipelines.settings import Settings

csv.field_size_limit(1 << 30)
# What quarantine adds to a row of a file, which is of no person.
_NOTES = frozenset({"quarantine_row", "quarantine_reason"})


@dataclass(frozen=True, slots=True)
class KeptLine:
    """A line of a quarantine file: its number from 1, the header of a CSV left out, and what it says."""

    file: str
    line: int
    content: Any


class QuarantineReader:
    """Reads the quarantine of one workspace in the clear."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.workspace.quarantine
        try:
            self._sealer: Sealer | None = sealer_of(settings.workspace)
        except EncryptionKeyMissing:
            self._sealer = None

    def mentioning(self, mentions: Mentions) -> list[KeptLine]:
        """The lines that mention somebody."""
        return [
            KeptLine(str(file.relative_to(self._root)), number, content)
            for file in self._files()
            for number, _, content in self._lines(file)
            if _mentions(mentions, _said(content))
        ]

    def remove(self, mentions: Mentions) -> int:
        """Remove those lines; how many there were. Nobody may write to the files meanwhile."""
        removed = 0
        for file in self._files():
            lines = list(self._lines(file))
            kept = [raw for _, raw, content in lines if not _mentions(mentions, _said(content))]
            removed += len(lines) - len(kept)
            if len(kept) == len(lines):
                continue
            if kept:
                self._rewrite(file, kept)
            else:
                file.unlink()
        return removed

    def _files(self) -> list[Path]:
        return sorted(path for path in self._root.rglob("*") if path.is_file()) if self._root.exists() else []

    def _lines(self, file: Path) -> Iterator[tuple[int, Any, Any]]:
        """(number, the line as it is kept, its content in the clear)."""
        if file.suffix == ".jsonl":
            for number, line in enumerate(file.read_text(self._encoding(file)).split("\n"), 1):
                if line:
                    row = parsed(line)
                    yield number, line, self._opened(row, ()) if row is not None else line
            return
        header, rows = self._table(file)
        for number, cells in enumerate(rows, 1):
            named = {header[i] if i < len(header) else str(i): self._cell(header, i, c) for i, c in enumerate(cells)}
            yield number, cells, named

    def _cell(self, header: list[str], place: int, value: str) -> Any:
        return self._opened(value, (header[place] if place < len(header) else "",))

    def _opened(self, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return {key: self._opened(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._opened(item, path) for item in value]
        return self._unsealed(value, path) if is_sealed(value) else value

    def _unsealed(self, token: str, path: tuple[str, ...]) -> Any:
        """What is sealed; the token itself where its kind is none that such a place may have."""
        if self._sealer is None:
            return token
        kinds = (WHOLE_ROW, f"column:{'.'.join(path)}", f"column:{path[-1]}", path[-1])
        for kind in kinds:
            try:
                value = self._sealer.open_json(kind, token)
            except UserError:
                continue
            return parsed(value) or value if isinstance(value, str) else value
        return token

    def _table(self, file: Path) -> tuple[list[str], list[list[str]]]:
        with file.open(encoding=self._encoding(file), newline="") as stream:
            text = stream.read()
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter(file)))
        return (rows[0], rows[1:]) if rows else ([], [])

    def _rewrite(self, file: Path, kept: list[Any]) -> None:
        if file.suffix == ".jsonl":
            text = "".join(line + "\n" for line in kept)
        else:
            out = io.StringIO(newline="")
            writer = csv.writer(out, delimiter=self._delimiter(file), lineterminator="\n")
            writer.writerows([self._table(file)[0], *kept])
            text = out.getvalue()
        replace_file(file, text.encode(self._encoding(file)))

    def _encoding(self, file: Path) -> str:
        source = self._settings.sources.get(file.parent.name)
        return source.format.encoding if source else "utf-8"

    def _delimiter(self, file: Path) -> str:
        source = self._settings.sources.get(file.parent.name)
        return source.format.delimiter if source else ","


def replace_file(file: Path, content: bytes | Iterable[bytes]) -> None:
    """Put other content into a file, whole and on the disk, or leave the old one."""
    fresh = file.with_name(f".{file.name}.erasing")
    with fresh.open("wb") as stream:
        stream.writelines([content] if isinstance(content, bytes) else content)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.chmod(file.stat().st_mode)
    fresh.replace(file)


def _said(content: Any) -> Any:
    """A line without the notes of quarantine."""
    if not isinstance(content, dict):
        return content
    if "received_at" in content and "text" in content:
        return content["text"]
    return {key: item for key, item in content.items() if key not in _NOTES}


def _mentions(mentions: Mentions, content: Any) -> bool:
    if isinstance(content, str):
        inside = parsed(content)
        return mentions.in_json(inside) if inside is not None else mentions.in_text(content)
    if isinstance(content, dict):
        return any(_mentions(mentions, item) for item in content.values())
    if isinstance(content, list):
        return any(_mentions(mentions, item) for item in content)
    return isinstance(content, int) and not isinstance(content, bool) and mentions.is_value(str(content))
