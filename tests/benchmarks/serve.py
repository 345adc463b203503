"""The part about the whole service: what it answers, to 1, 8 and 64 clients at once, and of how many customers.

Beside it, in turns and by the same clients, an empty endpoint, and the stock way of the same answer: a sync API,
Feast's `get_online_features` and a pyfunc of each model.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count, cycle

import lightgbm as lgb
import mlflow
import psycopg
from psycopg import sql

from feature_repo.state.backends import open_file, open_server
from feature_repo.state.storage import StateStorage, StoredState
from pipelines.feature_store import apply_features
from pipelines.settings import Settings, Workspace
from tests.benchmarks.clients import Answered, Clients
from tests.benchmarks.decide import prepared
from tests.benchmarks.features.shop import OURS
from tests.benchmarks.features.stock import reachable
from tests.benchmarks.measure import Figure, ratios
from tests.benchmarks.place import Place, Size
from tests.benchmarks.servers import READY_SECONDS, SERVERS, KeepAlive, serving
from tests.benchmarks.services import MODELS, pyfunc_of
from tests.unit.serving_parts import ingest_key, publish, train

PART = "serve"
EMPTY = "empty endpoint"
STOCK = "stock: sync, Feast, pyfuncs"
# Redis for states, PostgreSQL for the journal.
ON_SERVERS = {"TWIN_PROFILE": "server", "TWIN_REDIS_URL": OURS["redis"], "TWIN_POSTGRES_URL": OURS["postgres"]}
_BATCH = 10_000
_numbers = count()


@dataclass(frozen=True)
class Contender:
    """What clients ask: a path of a server, with these bodies. `slow` ones are asked a tenth as often."""

    port: int
    path: str
    bodies: Iterator[bytes]
    headers: Mapping[str, str]
    slow: bool = False


def serve(place: Place, size: Size) -> list[Figure]:
    """Answers to several clients at once; then a prediction of one customer among ever more of them."""
    settings = with_models(place)
    return [*at_once(place, settings, size), *among(place, settings, size)]


def with_models(place: Place) -> Settings:
    """The workspace with every model that is asked for, in our store and as MLflow keeps it."""
    settings = prepared(place)
    for seed, name in enumerate(MODELS):
        booster = trained(settings, name, seed)
        where = pyfunc_of(settings.workspace, name)
        if not where.exists():
            mlflow.lightgbm.save_model(booster, str(where), pip_requirements=["lightgbm"])
    apply_features(settings)
    return settings


def trained(settings: Settings, name: str, seed: int) -> lgb.Booster:
    """A new version of a model, in our store."""
    features = settings.features.service_features(name)
    booster = train(features, seed)
    publish(settings, name, uuid.uuid4().hex[:8], booster, features=list(features))
    return booster


def at_once(place: Place, settings: Settings, size: Size) -> list[Figure]:
    """Each contender in turns, for each number of clients."""
    with ExitStack() as stack:
        ports = {name: stack.enter_context(serving(SERVERS[name], settings.workspace)) for name in SERVERS}
        contenders = contenders_of(place, settings, ports)
        check_alike(place, ports)
        warm(contenders)
        found = []
        for clients in size.clients:
            found += compare(contenders, clients, size)
        return found


def contenders_of(place: Place, settings: Settings, ports: Mapping[str, int]) -> dict[str, Contender]:
    """The empty endpoint first: it is the peer of the others."""
    ours, names = ports["ours"], list(MODELS)
    key = ingest_key(settings.workspace, f"bench-{next(_numbers)}")
    return {
        EMPTY: Contender(ports["empty"], "/v1/predict", asking(place.customers, {}), {}),
        "predict 2 models": Contender(ours, "/v1/predict", asking(place.customers, {"models": names}), {}),
        "predict with reasons": Contender(
            ours, "/v1/predict", asking(place.customers, {"models": names, "reasons": True}), {}
        ),
        "event with triggers": Contender(
            ours, "/v1/track", events(place.customers), {"Authorization": f"Bearer {key}"}, slow=True
        ),
        "decide": Contender(ours, "/v1/decide", asking(place.customers, {}), {}, slow=True),
        STOCK: Contender(ports["stock"], "/v1/predict", asking(place.customers, {}), {}, slow=True),
    }


def asking(customers: Sequence[str], more: Mapping[str, object]) -> Iterator[bytes]:
    return cycle([json.dumps({"customer_id": customer, **more}).encode() for customer in customers])


def events(customers: Sequence[str]) -> Iterator[bytes]:
    """Opened e-mails, each another one, so that triggers begin to hold."""
    run = uuid.uuid4().hex[:8]
    for number, customer in zip(count(), cycle(customers), strict=False):
        name = f"{run}-{number}"
        properties = {"message_id": name, "campaign_id": "bench"}
        told = {"userId": customer, "event": "Email Opened", "messageId": name, "properties": properties}
        yield json.dumps(told).encode()


def check_alike(place: Place, ports: Mapping[str, int]) -> None:
    """Raises RuntimeError where ours and stock do not agree on a probability."""
    for customer in place.customers[:3]:
        body = json.dumps({"customer_id": customer, "models": list(MODELS)}).encode()
        ours = {one["model"]: one["probability"] for one in _json(ports["ours"], body)["predictions"]}
        stock = _json(ports["stock"], json.dumps({"customer_id": customer}).encode())["probabilities"]
        if any(abs(ours[name] - stock[name]) > 1e-12 for name in MODELS):
            raise RuntimeError(f"ours says {ours}, stock says {stock}")


def _json(port: int, body: bytes) -> dict:  # type: ignore[type-arg]
    status, answer = KeepAlive(port).post(body)
    if status != 200:
        raise RuntimeError(f"{status}: {answer!r}")
    told: dict = json.loads(answer)  # type: ignore[type-arg]
    return told


def warm(contenders: Mapping[str, Contender]) -> None:
    """The first call of each opens files, which a busy machine may not manage within the service's time-out."""
    for contender in contenders.values():
        until = time.monotonic() + READY_SECONDS
        asking_once = KeepAlive(contender.port, contender.path, contender.headers)
        while asking_once.post(next(contender.bodies))[0] != 200 and time.monotonic() < until:
            time.sleep(0.5)


def compare(contenders: Mapping[str, Contender], clients: int, size: Size) -> list[Figure]:
    """By contender and round what `clients` at once saw, as figures: time a request, and latencies."""
    opened = {name: Clients(c.port, c.path, clients, c.headers) for name, c in contenders.items()}
    seen: dict[str, list[Answered]] = {name: [] for name in contenders}
    for number in range(size.rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            contender = contenders[name]
            requests = max(clients, size.requests // (10 if contender.slow else 1))
            seen[name].append(opened[name].ask(contender.bodies, requests))
    for each in opened.values():
        each.close()
    words = f"{clients} client{'s' if clients > 1 else ''}"
    measures: dict[str, Callable[[Answered], float]] = {
        f"{words}, a request": lambda answered: answered.by_request,
        f"{words}, p50": lambda answered: answered.at(0.5),
        f"{words}, p99": lambda answered: answered.at(0.99),
        f"{words}, p99.9": lambda answered: answered.at(0.999),
    }
    return [figure for name, measure in measures.items() for figure in figures(name, seen, measure)]


def figures(
    words: str, seen: Mapping[str, Sequence[Answered]], measure: Callable[[Answered], float]
) -> Iterator[Figure]:
    """One measure of all contenders, against the first of them."""
    peer = next(iter(seen))
    to = tuple(map(measure, seen[peer]))
    for name, answered in seen.items():
        seconds = tuple(map(measure, answered))
        relative = () if name == peer else ratios(seconds, to)
        yield Figure(PART, f"{name}, {words}", seconds, "requests", 1, f"{peer}, {words}", relative)


def among(place: Place, settings: Settings, size: Size) -> list[Figure]:
    """One client's predictions of customers among few and many, in SQLite and in Redis; the fewest are the peer."""
    with ExitStack() as stack:
        contenders: dict[str, Contender] = {}
        # PostgreSQL has the journal beside Redis.
        backends = ("sqlite", "redis") if {"redis", "postgres"} <= set(reachable()) else ("sqlite",)
        for backend in backends:
            for customers in size.among:
                workspace = stack.enter_context(populated(place, settings, customers, backend))
                port = stack.enter_context(
                    serving(SERVERS["ours"], workspace, ON_SERVERS if backend == "redis" else {})
                )
                key = ingest_key(workspace, "bench", scopes=("predict",))
                names = [_name(number) for number in range(0, customers, max(1, customers // 5_000))]
                contenders[f"predict among {customers:,}, {backend}"] = Contender(
                    port, "/v1/predict", asking(names, {"models": list(MODELS)}), {"Authorization": f"Bearer {key}"}
                )
        warm(contenders)
        return compare(contenders, 1, size)


@contextmanager
def populated(place: Place, settings: Settings, customers: int, backend: str) -> Iterator[Workspace]:
    """A workspace with the same models and `customers` states, copies of those that are there under other names."""
    workspace = Workspace(f"bench-{uuid.uuid4().hex[:8]}")
    shutil.copytree(settings.workspace.bentoml_home, workspace.bentoml_home)
    storage = open_file(workspace.state) if backend == "sqlite" else open_server("redis", OURS["redis"], workspace.name)
    spec = settings.features.hash
    try:
        copy_states(open_file(settings.workspace.state), storage, spec, place.customers[:100], customers)
        yield workspace
    finally:
        if backend == "redis":
            storage.remove_spec(spec)
            with psycopg.connect(OURS["postgres"]) as connection:
                schema = sql.Identifier(f"customer_twin_{workspace.name}")
                connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))
        shutil.rmtree(workspace.root, ignore_errors=True)


def copy_states(of: StateStorage, to: StateStorage, spec: str, names: Sequence[str], customers: int) -> None:
    """`customers` states, made of those of `names` in turn."""
    known = [state for state in of.get_many(spec, names).values() if state.data]
    life = to.begin(spec)
    for start in range(0, customers, _BATCH):
        numbers = range(start, min(start + _BATCH, customers))
        to.replace_many(spec, [_renamed(known[number % len(known)], _name(number)) for number in numbers])
    to.note(spec, 0, 0, life, "bench")


def _renamed(state: StoredState, name: str) -> StoredState:
    return replace(state, customer_id=name, revision=0)


def _name(number: int) -> str:
    return f"m{number}"
