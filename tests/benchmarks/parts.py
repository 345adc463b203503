"""The parts: each gives its figures, the first of them the peer of the others."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import duckdb
import mlflow
from deltalake import write_deltalake

from pipelines.feature_store import apply_features
from pipelines.ingest.steps import commit, stage
from pipelines.settings import Workspace
from tests.benchmarks.decide import decide
from tests.benchmarks.features.build import build
from tests.benchmarks.features.history import history
from tests.benchmarks.features.online import online
from tests.benchmarks.features.training import growth, training
from tests.benchmarks.features.update import update
from tests.benchmarks.identity import identity
from tests.benchmarks.ingest import ingest_bulk, ingest_live, write_csv
from tests.benchmarks.measure import Figure, interleave
from tests.benchmarks.place import Place, Size
from tests.benchmarks.servers import SERVERS, KeepAlive, Predict, serving
from tests.benchmarks.services import pyfunc_of
from tests.benchmarks.train.run import train


def http(place: Place, size: Size) -> list[Figure]:
    """One keep-alive client, one request at a time: the service, an empty endpoint, and the stock way."""
    prepare_stock(place)
    with ExitStack() as stack:
        ports = {
            name: stack.enter_context(serving(command, place.settings.workspace)) for name, command in SERVERS.items()
        }
        return compare_http(place, size, {name: KeepAlive(port).post for name, port in ports.items()})


def prepare_stock(place: Place) -> None:
    """What the stock service reads: Feast's registry, and the model as MLflow keeps it."""
    apply_features(place.settings)
    mlflow.lightgbm.save_model(place.booster, str(pyfunc_of(place.settings.workspace)), pip_requirements=["lightgbm"])


def compare_http(place: Place, size: Size, servers: Mapping[str, Predict]) -> list[Figure]:
    """Time predict on `servers` (empty, ours, stock).

    Raises:
        RuntimeError: ours and stock do not agree on a probability, or one answers with an error.
    """
    for customer in place.customers[:3]:
        ours, stock = (json.loads(_answer(servers[name], _body(customer)))["probability"] for name in ("ours", "stock"))
        if abs(ours - stock) > 1e-12:
            raise RuntimeError(f"ours says {ours!r}, stock says {stock!r}")

    def asking(name: str, reasons: bool = False) -> Callable[[], object]:
        bodies = cycle([_body(customer, reasons) for customer in place.customers])
        return lambda: _answer(servers[name], next(bodies))

    contenders = {
        "empty endpoint": asking("empty"),
        "predict": asking("ours"),
        "predict with reasons": asking("ours", True),
        "stock: sync, Feast, pyfunc": asking("stock"),
    }
    return interleave("http", contenders, size.rounds, size.calls, "requests")


def _body(customer: str, reasons: bool = False) -> bytes:
    return json.dumps({"customer_id": customer, "reasons": reasons}).encode()


def _answer(predict: Predict, body: bytes) -> bytes:
    status, answer = predict(body)
    if status != 200:
        raise RuntimeError(f"{status}: {answer!r}")
    return answer


def start(place: Place, size: Size) -> list[Figure]:
    """From the command to ready: the service, against an endpoint that does nothing, both over BentoML."""

    def starting(command: Sequence[str]) -> Callable[[], object]:
        def run() -> None:
            with serving(command, place.settings.workspace):
                pass

        return run

    commands = {"empty endpoint": SERVERS["empty"], "python -m serving": ["serving"]}
    contenders = {name: starting(command) for name, command in commands.items()}
    return interleave("start", contenders, _few(size), 1, "starts")


def load(place: Place, size: Size) -> list[Figure]:
    """A CSV file into a new lake: typed, checked, each row accounted for; against DuckDB copying it unchecked."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "retail.csv"
        write_csv(file, size.csv_rows)
        places = (Path(folder) / str(number) for number in range(10_000))

        def copied() -> object:
            with duckdb.connect() as connection:
                rows = connection.read_csv(str(file)).to_arrow_reader(100_000)
                return write_deltalake(str(next(places)), rows)

        def loaded() -> object:
            inside = replace(place.settings, workspace=Workspace("bench", next(places)))
            return commit(stage(inside, "online_retail", file))

        contenders = {"copy, unchecked": copied, "load into the lake": loaded}
        return interleave("load", contenders, _few(size), 1, "rows", size.csv_rows)


def _few(size: Size) -> int:
    """Rounds of what takes a second and more."""
    return min(3, size.rounds)


PARTS: dict[str, Callable[[Place, Size], list[Figure]]] = {
    "http": http,
    "start": start,
    "load": load,
    "ingest-live": ingest_live,
    "ingest-bulk": ingest_bulk,
    "identity": identity,
    "online": online,
    "update": update,
    "build": build,
    "training": training,
    "growth": growth,
    "history": history,
    "train": train,
    "decide": decide,
}
