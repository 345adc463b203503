"""The parts about events on their way in: live over HTTP, and in bulk from a file."""

from __future__ import annotations

import base64
import json
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from tests.benchmarks.measure import Figure, interleave, ratios, slowest_of_a_hundred
from tests.benchmarks.place import Place, Size
from tests.benchmarks.processes import run_module
from tests.benchmarks.servers import SERVERS, KeepAlive, Predict, serving
from tests.unit.serving_parts import ingest_key

BATCH = 100
AT_A_TIME = 4
_ROW = "x" * 300
_numbers = count()


def ingest_live(place: Place, size: Size) -> list[Figure]:
    """Events over HTTP until they are durable and folded: an empty endpoint and a bare SQLite commit beside them."""
    login = {"Authorization": "Basic " + base64.b64encode(f"{write_key(place)}:".encode()).decode()}
    with ExitStack() as stack:
        ports = {n: stack.enter_context(serving(SERVERS[n], place.settings.workspace)) for n in ("empty", "ours")}
        servers = {
            "empty": [KeepAlive(ports["empty"]).post],
            "track": [KeepAlive(ports["ours"], "/v1/track", login).post],
            "batch": [KeepAlive(ports["ours"], "/v1/batch", login).post for _ in range(AT_A_TIME)],
        }
        return compare_live(place, size, servers)


def write_key(place: Place) -> str:
    """A new key that may send events."""
    return ingest_key(place.settings.workspace, "bench")


def compare_live(place: Place, size: Size, servers: Mapping[str, Sequence[Predict]]) -> list[Figure]:
    """Time events on `servers` (empty, track, and one `batch` for each client that sends at the same time).

    Raises:
        RuntimeError: an event was not taken.
    """
    with (
        tempfile.TemporaryDirectory(dir=place.settings.workspace.root) as folder,
        closing(_bare(Path(folder) / "bare.db")) as bare,
        ThreadPoolExecutor(AT_A_TIME) as clients,
    ):
        question = json.dumps({"customer_id": place.customers[0]}).encode()
        bodies = {
            "track": iter([json.dumps(_event(place)).encode() for _ in range(2 * size.rounds * size.calls + 2)]),
            "batch": _batches(place, (size.rounds * _few(size) + 1) * len(servers["batch"])),
        }

        def bare_one() -> None:
            _sent(servers["empty"][0], question)
            _commit(bare, 1)

        def track() -> None:
            told = json.loads(_sent(servers["track"][0], next(bodies["track"])))
            if told["accepted"] != 1:
                raise RuntimeError(f"not accepted: {told}")

        def batches() -> None:
            sent = [clients.submit(_sent, post, next(bodies["batch"])) for post in servers["batch"]]
            for each in sent:
                told = json.loads(each.result())
                if told["accepted"] != BATCH:
                    raise RuntimeError(f"not accepted: {told}")

        one = {"empty endpoint, bare commit": bare_one, "one event": track}
        slow = {f"{name}, p99": call for name, call in one.items()}
        many = {"bare commit": lambda: _commit(bare, BATCH), f"batches of {BATCH}": batches}
        sizes = {"bare commit": BATCH, f"batches of {BATCH}": BATCH * len(servers["batch"])}
        return [
            *interleave("ingest-live", one, size.rounds, size.calls, "events"),
            *interleave("ingest-live", slow, size.rounds, size.calls, "events", summary=slowest_of_a_hundred),
            *_as_batch(interleave("ingest-live", many, size.rounds, _few(size), "events", sizes, per_item=True)),
        ]


def _few(size: Size) -> int:
    return max(1, size.calls // 10)


def _as_batch(figures: list[Figure]) -> list[Figure]:
    return [
        Figure(f.part, f"{f.name}, by event", f.seconds, f.unit, 1, f"{f.peer}, by event", f.ratios) for f in figures
    ]


def _sent(post: Predict, body: bytes) -> bytes:
    status, answer = post(body)
    if status != 200:
        raise RuntimeError(f"{status}: {answer!r}")
    return answer


def _event(place: Place) -> dict[str, object]:
    number = next(_numbers)
    customer = place.customers[number % len(place.customers)]
    properties = {"order_id": f"o{number}", "total": 25.5, "products": [{"product_id": "a", "quantity": 2}]}
    context = {"library": {"name": "bench", "version": "1"}}
    return {"messageId": f"m{number}", "type": "track", "event": "Order Completed"} | {
        "userId": customer, "properties": properties, "context": context,
    }  # fmt: skip


def _batches(place: Place, number: int) -> Iterator[bytes]:
    return iter([json.dumps({"batch": [_event(place) for _ in range(BATCH)]}).encode() for _ in range(number)])


def _bare(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (position INTEGER PRIMARY KEY, text TEXT)")
    return connection


def _commit(connection: sqlite3.Connection, rows: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO rows (text) VALUES (?)", [(_ROW,)] * rows)
    connection.execute("COMMIT")


def ingest_bulk(place: Place, size: Size) -> list[Figure]:
    """A large CSV file into a new lake, a process each, with its peak memory; DuckDB copies the same to Parquet."""
    kinds = {"copy": "DuckDB, CSV to Parquet", "load": "load into the lake", "validated": "with Great Expectations"}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    peaks: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "retail.csv"
        write_csv(file, size.bulk_rows)
        for _ in range(min(3, size.rounds)):
            for kind in kinds:
                told = _measured(kind, file)
                seconds[kind].append(told["seconds"])
                peaks[kind].append(told["megabytes"])
    names = {kind: f"{name}, {median(peaks[kind]):,.0f} MB" for kind, name in kinds.items()}
    return [
        Figure(
            "ingest-bulk", names[kind], tuple(taken), "rows", size.bulk_rows, names["copy"],
            () if kind == "copy" else ratios(taken, seconds["copy"]),
        )
        for kind, taken in seconds.items()
    ]  # fmt: skip


def _measured(kind: str, file: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        return run_module("tests.benchmarks.bulk", kind, str(file), folder)


def write_csv(file: Path, rows: int) -> None:
    """Invoices of four lines in the layout of UCI Online Retail."""
    rng = np.random.default_rng(1)
    invoice = np.arange(rows) // 4
    frame = pd.DataFrame(
        {
            "InvoiceNo": 500_000 + invoice,
            "StockCode": rng.integers(10_000, 14_000, rows),
            "Description": "A THING FOR THE HOUSE",
            "Quantity": rng.integers(1, 50, rows),
            "InvoiceDate": pd.Timestamp("2010-12-01 08:00") + pd.to_timedelta(invoice * 5, unit="min"),
            "UnitPrice": rng.integers(10, 5_000, rows) / 100,
            "CustomerID": (12_000 + invoice % 4_000).astype(float),
            "Country": "United Kingdom",
        }
    )
    frame.to_csv(file, index=False)
