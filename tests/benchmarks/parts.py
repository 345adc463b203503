"""The parts: each gives its figures, the first of them the peer of the others."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
from deltalake import write_deltalake

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
from tests.benchmarks.serve import serve
from tests.benchmarks.servers import SERVERS, serving
from tests.benchmarks.train.run import train


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
    "serve": serve,
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
