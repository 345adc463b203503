"""Write rows that became no event to a file in the layout of their source, for a person to mend."""

from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb

from pipelines.ingest.layout import QUARANTINE_COLUMNS, Layout
from pipelines.ingest.quoting import identifier, literal
from pipelines.ingest.rows import REASON_SEPARATOR
from pipelines.ingest.sealed_rows import QUARANTINE_TEXT, SealedRows

_REASON = f"replace(reason, {literal(REASON_SEPARATOR)}, '; ')"
_REFUSED_ROWS = "FROM refused JOIN raw USING (row) ORDER BY row"


def write_quarantine(connection: duckdb.DuckDBPyConnection, rows: SealedRows, file: Path) -> None:
    """Rows of table `refused`, as they came, with their number and reason.

    A row that could not be split into fields stands whole in the first column: in that shape it
    cannot pass for another row by accident. What names a person is sealed.
    """
    layout = rows.layout
    if layout.format.type == "jsonl":
        _write_jsonl(connection, rows, file)
    else:
        _write_csv(connection, rows, file)
    if layout.format.encoding != "utf-8":
        file.write_bytes(file.read_bytes().decode("utf-8").encode(layout.format.encoding))


def name_of(original: Path, written: Path, layout: Layout) -> str:
    """Name for a quarantine file: its source's, and a digest, so that the same rows give the same name."""
    plain = original.name.removesuffix(".gz").removesuffix(".GZ")
    stem, dot, suffix = plain.rpartition(".")
    if layout.format.type == "parquet" or not dot:
        stem, suffix = stem or plain, "csv" if layout.format.type != "jsonl" else "jsonl"
    with written.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:12]
    return f"{stem}-{digest}.{suffix}"


def _write_csv(connection: duckdb.DuckDBPyConnection, rows: SealedRows, file: Path) -> None:
    layout = rows.layout
    kept = [
        (column, name)
        for column, name in zip(layout.columns, layout.header, strict=True)
        if name not in QUARANTINE_COLUMNS
    ]
    values = []
    for number, (column, name) in enumerate(kept):
        whole = rows.whole("text") if number == 0 else "NULL"
        cell = rows.cell(name, f"nullif({column}, '')")
        values.append(f"CASE WHEN fault IS NOT NULL THEN {whole} ELSE {cell} END AS {identifier(name)}")
    rows.protection.register(connection)
    connection.execute(
        f"COPY (SELECT {', '.join(values)}, row AS quarantine_row, {_REASON} AS quarantine_reason {_REFUSED_ROWS})"
        f" TO {literal(str(file))} (FORMAT csv, HEADER, DELIMITER {literal(layout.format.delimiter)})"
    )


def _write_jsonl(connection: duckdb.DuckDBPyConnection, rows: SealedRows, file: Path) -> None:
    notes = f"json_object('quarantine_row', row, 'quarantine_reason', {_REASON})"
    text = f"json_object({literal(QUARANTINE_TEXT)}, {rows.whole('text')})"
    whole = f"json_merge_patch({text}, {notes})"
    patch = rows.line("CASE WHEN fault IS NULL THEN text END")
    line = f"CASE WHEN fault IS NULL THEN json_merge_patch(text, {notes}) ELSE {whole} END"
    if patch is not None:
        sealed = f"json_merge_patch(json_merge_patch(text, patch), {notes})"
        line = f"CASE WHEN patch <> '' THEN {sealed} ELSE {whole} END"
    rows.protection.register(connection)
    refused = f"(SELECT *, {patch or 'NULL'} AS patch {_REFUSED_ROWS})"
    found = connection.execute(f"SELECT CAST({line} AS VARCHAR) FROM {refused} ORDER BY row")
    with file.open("w", encoding="utf-8") as stream:
        while batch := found.fetchmany(10_000):
            stream.writelines(text + "\n" for (text,) in batch)
