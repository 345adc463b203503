"""A real service asked from several clients while events arrive and its journal moves; all answers are made again."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import duckdb
import httpx

from pipelines.events.opening import event_store
from pipelines.predictions.replay import PredictionReplay, replay_predictions
from pipelines.served_log import log_files, served_in
from pipelines.settings import Settings
from tests.e2e.test_service import Server

_CLIENTS = 4
_AT_ONCE = 25
# Of the calls: so many with reasons, and so many of many customers.
_WITH_REASONS, _OF_MANY = 0.3, 0.05
_EVENTS_PAUSE = 0.02


@dataclass
class Asked:
    """What the clients were answered: the probability by request and customer; `counted` answers, some with reasons.

    Of two ids of one customer in one call there are two answers.
    """

    models: Sequence[str]
    customers: Sequence[str]
    answers: dict[tuple[str, str], float] = field(default_factory=dict)
    counted: int = 0
    explained: int = 0
    events: int = 0
    told_to_come_again: int = 0
    other_answers: list[str] = field(default_factory=list)

    def refuse(self, answer: httpx.Response) -> None:
        """A busy machine answers some calls too late (503, 504); without consent or events 403 and 404 are right."""
        if answer.status_code in (503, 504):
            self.told_to_come_again += 1
        elif answer.status_code not in (403, 404):
            self.other_answers.append(f"{answer.status_code} {answer.text}")

    def note(self, request: str, item: dict[str, Any]) -> None:
        self.answers[request, item.get("resolved_customer_id") or item["customer_id"]] = item["probability"]
        self.counted += 1
        self.explained += item.get("reasons") is not None


@dataclass(frozen=True, slots=True)
class ServedAndReplayed:
    """`missing` answers are not in the log, `other` ones stand in it with another probability."""

    answered: int
    explained: int
    events: int
    told_to_come_again: int
    refused: tuple[str, ...]
    missing: int
    other: int
    replay: PredictionReplay

    @property
    def passed(self) -> bool:
        """All that was answered is in the log, and all of it was made again, with all contributions."""
        done = self.replay
        # Of a call that ran out of time the prediction may be logged all the same.
        whole = done.logged == done.answers == done.features_of >= self.answered and done.explained >= self.explained
        return whole and done.passed and not (self.missing or self.other or done.lost or self.refused)

    def text(self) -> str:
        """The result for a person."""
        refused = f"\n{len(self.refused)} other answers, such as {self.refused[0]}" if self.refused else ""
        return (
            f"answered {self.answered:,} predictions, {self.explained:,} with reasons, while {self.events:,} events"
            f" came and {self.told_to_come_again:,} calls were told to come again (503, 504);"
            f" after SIGTERM {self.missing:,} are missing in the log, {self.other:,} differ in it"
            f"{refused}\n{self.replay.text()}"
        )


def serve_and_replay(settings: Settings, key: str, models: Sequence[str], predictions: int) -> ServedAndReplayed:
    """At least `predictions` from a service over the workspace of `settings`, whose log is empty; `key` may do all.

    It is ended by SIGTERM right after the last answers.
    """
    asked = Asked(models, customers_of(settings))
    server = Server(settings.workspace.name, "--port", "0")
    try:
        _load(server, key, asked, predictions)
    finally:
        server.kill()
    logged = {(v.request_id, v.customer_id): v.probability for v, _ in served_in(log_files(settings.workspace.served))}
    return ServedAndReplayed(
        asked.counted,
        asked.explained,
        asked.events,
        asked.told_to_come_again,
        tuple(asked.other_answers),
        sum(one not in logged for one in asked.answers),
        sum(logged.get(one, probability) != probability for one, probability in asked.answers.items()),
        replay_predictions(settings),
    )


def customers_of(settings: Settings, most: int = 2_000) -> list[str]:
    """User ids of the workspace's events."""
    with event_store(settings) as store, duckdb.connect() as connection:
        store.snapshot().register(connection, "stored_events")
        found = "SELECT DISTINCT user_id FROM stored_events WHERE user_id IS NOT NULL ORDER BY 1"
        return [row[0] for row in connection.execute(f"{found} LIMIT {most}").fetchall()]


def _load(server: Server, key: str, asked: Asked, predictions: int) -> None:
    enough, lock = threading.Event(), threading.Lock()

    def client(number: int) -> None:
        chance, calls = random.Random(number), 0
        with httpx.Client(base_url=server.url(), auth=(key, ""), timeout=60, trust_env=False) as http:
            while not enough.is_set():
                calls += 1
                answer = _predict(http, chance, asked, f"client{number}-{calls}")
                if answer is None:
                    return
                with lock:
                    for item in answer:
                        asked.note(f"client{number}-{calls}", item)
                    if asked.counted >= predictions:
                        enough.set()

    def sender() -> None:
        chance = random.Random(99)
        with httpx.Client(base_url=server.url(), auth=(key, ""), timeout=60, trust_env=False) as http:
            while not enough.wait(_EVENTS_PAUSE):
                asked.events += _send(http, chance, asked)

    with ThreadPoolExecutor(_CLIENTS + 1) as pool:
        running = [pool.submit(client, number) for number in range(_CLIENTS)] + [pool.submit(sender)]
        for done in running:
            # One that fails must not leave the others to go on for ever.
            done.add_done_callback(lambda _: enough.set())
    for done in running:
        done.result()
    # What was answered last is at most a quarter of a second old, so not all of it is written yet.
    server.stop(signal.SIGTERM)


def _predict(http: httpx.Client, chance: random.Random, asked: Asked, request: str) -> list[dict[str, Any]] | None:
    """The answered items, None where the service ends."""
    body: dict[str, Any] = {"model": chance.choice(asked.models), "reasons": chance.random() < _WITH_REASONS}
    of_many = chance.random() < _OF_MANY
    if of_many:
        body["customer_ids"] = chance.sample(asked.customers, min(_AT_ONCE, len(asked.customers)))
    else:
        body["customer_id"] = chance.choice(asked.customers)
    path = "/v1/predict_many" if of_many else "/v1/predict"
    try:
        answer = http.post(path, json=body, headers={"x-request-id": request})
    except httpx.TransportError:
        return None
    if answer.status_code != 200:
        asked.refuse(answer)
        return []
    items: list[dict[str, Any]] = answer.json()["results"] if of_many else [answer.json()]
    return [item for item in items if item.get("probability") is not None]


def _send(http: httpx.Client, chance: random.Random, asked: Asked) -> int:
    name = f"live-{asked.events}"
    properties = {"order_id": name, "total": chance.randint(1, 9_999) / 4, "currency": "THB"}
    body = {"messageId": name, "userId": chance.choice(asked.customers), "event": "Order Completed"}
    answer = http.post("/v1/track", json={**body, "properties": properties})
    if answer.status_code != 200:
        asked.refuse(answer)
    return int(answer.status_code == 200)
