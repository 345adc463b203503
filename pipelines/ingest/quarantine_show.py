"""Read a quarantine file with its encrypted values opened: for whoever mends it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.ingest.layout import look_at, opened
from pipelines.ingest.sealed_rows import QUARANTINE_TEXT, column_kind
from pipelines.privacy import WHOLE_ROW, Sealer, is_sealed, sealer_of
from pipelines.settings import Settings
from pipelines.settings.mapping import FormatConfig

# Of a line of the live quarantine: the call as it came.
_LIVE_TEXT = "text"


@dataclass(frozen=True, slots=True)
class QuarantineContent:
    """A quarantine file in the clear: `content` as it could stand in the file, `rows` for a program."""

    file: str
    rows: list[dict[str, Any]]
    content: str

    def text(self) -> str:
        """The content without its last line end."""
        return self.content.rstrip("\n")


def show(settings: Settings, file: Path) -> QuarantineContent:
    """The rows of `file`, in the layout of its source, with every value opened.

    Raises:
        UserError: it is no quarantine file of the workspace, there is no key, or it is another one.
    """
    declared = _format_of(settings, file)
    opener = _Opener(lambda: sealer_of(settings.workspace))
    if declared.type == "jsonl":
        found = [opener.line(json.loads(line)) for line in file.read_text("utf-8").splitlines()]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in found]
        return QuarantineContent(str(file), found, "".join(lines))
    return _csv(file, declared, opener)


class _Opener:
    def __init__(self, sealer: Callable[[], Sealer]) -> None:
        self._sealer = sealer

    def line(self, row: dict[str, Any]) -> dict[str, Any]:
        """A JSON line, of a file's quarantine or of the live one."""
        found = self._inside(row, ())
        for name in (QUARANTINE_TEXT, _LIVE_TEXT):
            if is_sealed(row.get(name)):
                found[name] = self._whole(row[name], column_kind((name,)))
        return found

    def fields(self, header: list[str], row: list[str]) -> list[str]:
        """A CSV row, whose first field may hold all of it."""
        return [self._field(name, row[number], number == 0) for number, name in enumerate(header)]

    def _field(self, name: str, value: str, first: bool) -> str:
        if not is_sealed(value):
            return value
        kind = column_kind((name,))
        found = self._whole(value, kind) if first else self._sealer().open_json(kind, value)
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)

    def _inside(self, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return {
                key: item if not path and key in (QUARANTINE_TEXT, _LIVE_TEXT) else self._inside(item, (*path, key))
                for key, item in value.items()
            }
        return self._sealer().open_json(column_kind(path), value) if is_sealed(value) else value

    def _whole(self, value: str, kind: str) -> Any:
        try:
            return self._sealer().open(WHOLE_ROW, value)
        except UserError:
            return self._sealer().open_json(kind, value)


def _format_of(settings: Settings, file: Path) -> FormatConfig:
    folder = settings.workspace.quarantine.resolve()
    path = file.resolve()
    if path.is_file() and path.parent == folder and path.suffix == ".jsonl":
        return FormatConfig(type="jsonl")
    if path.is_file() and path.parent.parent == folder and path.parent.name in settings.sources:
        return look_at(path, settings.sources[path.parent.name].format).format
    hint = f"they lie in {folder}; choose the workspace with --workspace"
    got = "another file" if path.is_file() else "nothing there"
    raise UserError(
        "this file cannot be shown", [Problem("FILE", "a quarantine file of this workspace", got, hint, file.name)]
    )


def _csv(file: Path, declared: FormatConfig, opener: _Opener) -> QuarantineContent:
    with opened(file) as stream, io.TextIOWrapper(stream, encoding=declared.encoding, newline="") as text:
        reader = csv.reader(text, delimiter=declared.delimiter)
        header = next(reader)
        table = [opener.fields(header, row) for row in reader]
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=declared.delimiter, lineterminator="\n").writerows([header, *table])
    return QuarantineContent(str(file), [dict(zip(header, row, strict=True)) for row in table], out.getvalue())
