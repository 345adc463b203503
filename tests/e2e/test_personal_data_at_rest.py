"""The demo's files and live calls about its customers; then every byte kept is searched for what names them."""

from __future__ import annotations

import asyncio
import csv
import gc
import gzip
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from pipelines.cli.data import ingest_file
from pipelines.demo import DemoConfig, generate, source_files
from pipelines.events.compaction import compact
from pipelines.events.opening import event_store
from pipelines.settings import Settings, Workspace, load_settings
from pipelines.validate import validate_lake
from serving.api.ingest.body import Envelope
from serving.ingestion import Ingestion
from tests.unit.serving_parts import ingest_key

pytestmark = pytest.mark.slow

COLUMNS = ("name_th", "name_en", "email", "phone", "line_id", "loyalty_card")


@dataclass(frozen=True)
class Shop:
    settings: Settings
    customers: list[dict[str, str]]

    @property
    def root(self) -> Path:
        return self.settings.workspace.root


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Everything that writes: files good and bad, live calls good and bad, compaction, validation, Data Docs."""
    workspace = Workspace("demo", checkout=tmp_path_factory.mktemp("checkout"))
    settings = replace(load_settings("demo"), workspace=workspace)
    generate(DemoConfig(customers=120, months=8, seed=5), workspace.sources)
    customers = parquet.read_table(workspace.sources / "crm.parquet").to_pylist()
    for source, file in source_files(workspace.sources):
        ingest_file(settings, source, file)
    _ingest_bad_rows(settings, customers[:20])
    _call(settings, customers)
    with event_store(replace(load_settings(), workspace=workspace)) as store:
        assert compact(workspace.lake, store.journal).moved
    _call(settings, customers[:10], note="again")
    validate_lake(settings)
    return Shop(settings, customers)


def _ingest_bad_rows(settings: Settings, customers: list[dict[str, str]]) -> None:
    folder = settings.workspace.sources / "bad"
    folder.mkdir()
    calls = folder / "calls.csv"
    with calls.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["call_id", "ended_at", "customer_no", "caller", "reason", "seconds", "solved"])
        for number, customer in enumerate(customers):
            writer.writerow([f"bad-{number}", "soon", customer["customer_no"], customer["phone"], "billing", 60, "yes"])
            writer.writerow([f"cut-{number}", customer["phone"], customer["name_en"]])
    lines = folder / "line.jsonl"
    bad = [{"type": "read", "timestamp": "soon", "source": {"userId": c["line_id"]}, "name": c} for c in customers]
    cut = [json.dumps({"user": c}, default=str)[:-1] for c in customers]
    lines.write_text("\n".join([*(json.dumps(line, default=str, ensure_ascii=False) for line in bad), *cut]))
    for source, file in (("demo_call_centre", calls), ("demo_line", lines)):
        report, _ = ingest_file(settings, source, file)
        assert report.quarantined == report.read > 0


def _call(settings: Settings, customers: list[dict[str, str]], note: str = "") -> None:
    key = ingest_key(settings.workspace)
    items = []
    for customer in customers:
        traits = {name: customer[name] for name in COLUMNS}
        about = {"userId": customer["customer_no"], "context": {"traits": traits}}
        external = [
            {"id": customer["line_id"], "type": "line_id"},
            {"id": customer["loyalty_card"], "type": "loyalty_card"},
        ]
        items += [
            {"type": "identify", **about, "traits": {**traits, "note": note}},
            {
                "type": "track",
                "event": "Door Opened",
                "userId": customer["customer_no"],
                "properties": {"who": [traits]},
            },
            {"type": "page", "userId": customer["customer_no"], "context": {"externalIds": external}},
            {"type": "track", "event": "Order Completed", **about},
            {"type": "nothing", **about},
        ]
    made = Ingestion(settings)
    try:
        envelope = Envelope([json.dumps(item, ensure_ascii=False).encode() for item in items], key)
        done = asyncio.run(made.ingest(envelope, key, None))
    finally:
        made.close()
    assert (done.accepted, len(done.rejected)) == (3 * len(customers), 2 * len(customers))


def files_of(*folders: Path) -> list[Path]:
    """All files of `folders`."""
    # Closes the connections nobody holds any more; SQLite removes files then, which must not happen while one reads.
    gc.collect()
    return [file for folder in folders for file in folder.rglob("*") if file.is_file()]


def texts(file: Path) -> Iterator[str]:
    """All that a file says: its bytes, also unpacked, and what its readers make of it."""
    content = file.read_bytes()
    yield content.decode("utf-8", "replace")
    if content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content).decode("utf-8", "replace")
    if content[:4] == b"PAR1":
        for row in parquet.read_table(file).to_pylist():
            yield str(row)
    if content[:15] == b"SQLite format 3":
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for found in connection.execute(f'SELECT * FROM "{table}"'):
                    yield from (v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in found)


def leaks(values: set[str], files: list[Path]) -> dict[str, set[str]]:
    """File to the values it holds, also where JSON wrote them in escapes."""
    escaped = {json.dumps(value)[1:-1]: value for value in values}
    known = {**escaped, **{value: value for value in values}}
    pattern = re.compile("|".join(map(re.escape, sorted(known, key=len, reverse=True))))
    found: dict[str, set[str]] = {}
    for file in files:
        met = {known[match.group()] for text in texts(file) for match in pattern.finditer(text)}
        if met:
            found[str(file)] = met
    return found


def test_nothing_on_disk_names_a_customer(shop: Shop) -> None:
    files = files_of(shop.root)
    sources = [file for file in files if shop.settings.workspace.sources in file.parents]
    values = {str(customer[name]) for customer in shop.customers for name in COLUMNS if customer[name]}
    assert len(values) > 400
    found = set().union(*leaks(values, sources).values())
    assert values == found, "the search finds each of them where it stands in the clear"
    kept = [file for file in files if file not in sources]
    kinds = {file.name for file in kept} | {file.suffix for file in kept}
    assert kinds >= {"journal.db", "state.db", ".parquet", ".jsonl", ".csv", ".html", "encryption.id"}
    assert leaks(values, kept) == {}
