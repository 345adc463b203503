"""Take a person out of the files that hold more people: data sets, predictions, reports, logs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet

from feature_repo.spec_content import FILE as SPEC_CONTENT
from pipelines.privacy.kept_lines import replace_file
from pipelines.privacy.person import Mentions, Person
from pipelines.settings import Workspace

_ARTICLE = re.compile(r"<article\b.*?</article>\s*", re.DOTALL)
PARTIAL = ".partial"
_WORDS = (".html", ".htm", ".log", ".txt", ".md", ".yaml", ".yml")


def files_of(workspace: Workspace, without: Iterable[Path] = ()) -> list[Path]:
    """Every file that the product wrote for a workspace, apart from what lies in `without`.

    What features and catalogues are compiled from is configuration: it names no customer, and is nothing to erase from.
    """
    left_out = (*without, workspace.specs, workspace.catalogues)
    files = (file for root in (workspace.root, workspace.mlruns) for file in files_below(root))
    return [
        file
        for file in files
        if file.name != SPEC_CONTENT and not any(file == place or place in file.parents for place in left_out)
    ]


def stores_of(workspace: Workspace) -> list[Path]:
    """Files that have an eraser of their own, or hold no customer."""
    databases = [
        workspace.journal,
        workspace.decisions,
        workspace.outbox,
        workspace.identity,
        workspace.state,
        workspace.access,
        workspace.feast_registry,
    ]
    beside = [path.with_name(path.name + end) for path in databases for end in ("-wal", "-shm")]
    audit = [workspace.audit.with_suffix(end) for end in (".jsonl", ".head", ".key")]
    return [
        *databases,
        *beside,
        *audit,
        workspace.lake,
        workspace.quarantine,
        workspace.served,
        workspace.sources,
        workspace.erasure,
    ]


def erase_from_files(files: Iterable[Path], person: Person, mentions: Mentions) -> dict[str, int]:
    """Remove the person from each file; how many rows, items and passages of each file are gone."""
    removed: dict[str, int] = {}
    for file in files:
        try:
            gone = _erase(file, person, mentions)
        except FileNotFoundError:
            # A service that runs takes files of its own away.
            continue
        if gone:
            removed[str(file)] = gone
    return removed


def _erase(file: Path, person: Person, mentions: Mentions) -> int:
    with file.open("rb") as stream:
        start = stream.read(4)
    if start == b"PAR1":
        return _rows(file, person)
    if file.suffix == ".json":
        return _json(file, mentions)
    if file.suffix == ".jsonl":
        return _lines(file, mentions)
    return _passages(file, mentions) if file.suffix in _WORDS else 0


def _rows(file: Path, person: Person) -> int:
    """Rows of a table in which a text is one of theirs; what was never written to its end goes whole."""
    try:
        table = parquet.read_table(file)
    except pa.ArrowInvalid:
        if file.suffix != PARTIAL:
            raise
        file.unlink()
        return 1
    texts = pa.array(sorted(person.texts), pa.string())
    theirs: Any = None
    for column in table.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            found = compute.is_in(column.cast(pa.string()), texts)
            theirs = found if theirs is None else compute.or_(theirs, found)
    count = 0 if theirs is None else int(compute.sum(theirs).as_py() or 0)
    if count:
        out = BytesIO()
        parquet.write_table(table.filter(compute.invert(theirs)), out)
        replace_file(file, out.getvalue())
    return count


def _json(file: Path, mentions: Mentions) -> int:
    try:
        content = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError):
        return _passages(file, mentions)
    pruned, gone = _pruned(content, mentions)
    if gone:
        replace_file(file, (json.dumps(pruned, indent=1, ensure_ascii=False) + "\n").encode())
    return gone


def _lines(file: Path, mentions: Mentions) -> int:
    lines = file.read_text("utf-8", "surrogateescape").splitlines(keepends=True)
    kept = [line for line in lines if not mentions.in_text(line)]
    if len(kept) < len(lines):
        replace_file(file, "".join(kept).encode("utf-8", "surrogateescape"))
    return len(lines) - len(kept)


def _pruned(value: Any, mentions: Mentions) -> tuple[Any, int]:
    """Without the items of lists that are about the person, and with what is left of them elsewhere blotted out."""
    if isinstance(value, list):
        return _items(value, mentions)
    if isinstance(value, dict):
        parts = {key: _pruned(item, mentions) for key, item in value.items() if not mentions.in_value(key)}
        gone = len(value) - len(parts) + sum(count for _, count in parts.values())
        return {key: part for key, (part, _) in parts.items()}, gone
    if isinstance(value, str) and mentions.in_value(value):
        return (None if mentions.is_value(value) else mentions.blotted(value)), 1
    return value, 0


def _items(items: list[Any], mentions: Mentions) -> tuple[list[Any], int]:
    kept, gone = [], 0
    for item in items:
        about = isinstance(item, dict) and any(isinstance(v, str) and mentions.in_value(v) for v in item.values())
        if about or (isinstance(item, str) and mentions.is_value(item)):
            gone += 1
            continue
        part, inside = _pruned(item, mentions)
        kept.append(part)
        gone += inside
    return kept, gone


def _passages(file: Path, mentions: Mentions) -> int:
    """Articles of a page that are about the person, and what is left of them in its text."""
    text = file.read_text("utf-8", "surrogateescape")
    fewer = _ARTICLE.sub(lambda found: "" if mentions.in_text(found.group()) else found.group(), text)
    blotted = mentions.blotted(fewer)
    if blotted == text:
        return 0
    replace_file(file, blotted.encode("utf-8", "surrogateescape"))
    return 1


def files_below(root: Path) -> Iterator[Path]:
    """Every file in a folder and its folders; none where there is no such folder."""
    return (path for path in sorted(root.rglob("*")) if path.is_file()) if root.exists() else iter(())
