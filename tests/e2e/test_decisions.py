"""Decisions by the real service: caps, budget and consent under many clients, kill -9, a mistaken catalogue."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.cli.decide import ask
from pipelines.decisions.ledger_event import EVENT, Recorded, recorded
from pipelines.decisions.replay import replay_decisions
from pipelines.events.opening import event_store
from pipelines.settings import CHECKOUT, Settings, Workspace
from tests.e2e.live_service import check_error, kill_outright
from tests.e2e.test_service import Server
from tests.unit.desk_parts import Office, changed, decision_settings, furnish, write_catalogue
from tests.unit.serving_parts import ingest_key

pytestmark = pytest.mark.slow

CUSTOMERS = [f"c{number}" for number in range(6)]
TIGHT = changed(budget={"amount": 14, "per": "1d"}, exploration={"share": 1.0})


@dataclass
class Place:
    """A workspace with its own configuration, and services over it."""

    settings: Settings
    key: str
    servers: list[Server]

    def serve(self) -> httpx.Client:
        self.servers.append(Server(self.settings.workspace.name, "--port", "0"))
        return httpx.Client(base_url=self.servers[-1].url(), auth=(self.key, ""), timeout=60, trust_env=False)

    def kill(self) -> None:
        for server in self.servers:
            kill_outright(server)
        self.servers.clear()

    def logged(self) -> list[Recorded]:
        """From the log: each decision as often as it stands there."""
        with event_store(self.settings) as store:
            rows = store.read().to_pylist()
        return [recorded(json.loads(row["properties"])) for row in rows if row["event"] == EVENT]


@contextmanager
def place(name: str, folder: Path, catalogue: dict[str, Any], customers: int = len(CUSTOMERS)) -> Iterator[Place]:
    workspace = Workspace(f"{name}-{os.getpid()}", checkout=CHECKOUT)
    patch = pytest.MonkeyPatch()
    patch.setenv("TWIN_CONFIG_DIR", str(folder / "configs"))
    made = Place(decision_settings(folder, workspace), "", [])
    write_catalogue(folder / "configs", catalogue)
    made.settings = decision_settings(folder, workspace)
    try:
        furnish(made.settings, customers=customers)
        made.key = ingest_key(workspace)
        yield made
    finally:
        made.kill()
        patch.undo()
        shutil.rmtree(workspace.root, ignore_errors=True)
        shutil.rmtree(workspace.mlruns, ignore_errors=True)


def decide(client: httpx.Client, customer: str, **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/decide", json={"customer_id": customer, **more})
    # The first one imports engines; on a busy machine that takes longer than an answer may.
    until = time.monotonic() + 60
    while answer.status_code in (503, 504) and time.monotonic() < until:
        time.sleep(0.2)
        answer = client.post("/v1/decide", json={"customer_id": customer, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_many_clients_never_exceed_caps_and_budget_and_the_log_has_all(tmp_path: Path) -> None:
    with place("test-decisions", tmp_path, TIGHT) as made:
        # Two services over one workspace.
        clients = [made.serve(), made.serve()]
        first = decide(clients[0], "c0", decision_id="first", reasons=True)
        assert decide(clients[1], "c0", decision_id="first")["action"] == first["action"]
        assert ask(str(clients[0].base_url), "c1", True, "cli")["decision_id"] == "cli"
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: decide(clients[n % 2], CUSTOMERS[n % 6]), range(120)))
        logged = made.logged()
        names = Counter(one.decision.decision_id for one in logged)
        assert set(names.values()) == {1}
        assert {answer["decision_id"] for answer in answers} | {"first", "cli"} == names.keys()
        contacts = Counter(one.decision.customer_id for one in logged if one.decision.action != "no_action")
        assert max(contacts.values()) == 3
        assert sum(one.decision.cost for one in logged) == 1_400
        body = {"customer_id": "c1", "purposes": {"marketing": False}}
        assert clients[0].post("/v1/consent", json=body).status_code == 200
        after = [decide(client, "c1") for client in clients]
        assert [answer["action"] for answer in after] == ["no_action"] * 2
        assert {item["lost"] for item in after[1]["alternatives"]} == {"consent"}
        for client in clients:
            client.close()
        made.kill()
        done = replay_decisions(made.settings)
        assert done.differences == ()
        assert done.from_record == 124


def test_every_acknowledged_decision_outlives_kill_9_once(tmp_path: Path) -> None:
    with place("test-decisions-kill", tmp_path, changed()) as made:
        acknowledged: list[str] = []
        for round_ in range(2):
            client = made.serve()
            decide(client, "c0", decision_id=f"warm{round_}")
            acknowledged.append(f"warm{round_}")

            def work(worker: int, client: httpx.Client = client, round_: int = round_) -> None:
                with suppress(httpx.TransportError):
                    for number in range(10_000):
                        name = f"{round_}-{worker}-{number}"
                        body = {"customer_id": CUSTOMERS[number % 6], "decision_id": name}
                        answer = client.post("/v1/decide", json=body)
                        if answer.status_code == 200:
                            acknowledged.append(name)

            with ThreadPoolExecutor(4) as pool:
                running = [pool.submit(work, worker) for worker in range(4)]
                until = time.monotonic() + 30
                while len(acknowledged) < 25 * (round_ + 1) and time.monotonic() < until:
                    time.sleep(0.05)
                made.kill()
                for each in running:
                    each.result()
            client.close()
        # The next one to start appends what was decided and not appended.
        office = Office(made.settings)
        office.desk.recover(office.ingestion.files)
        waiting = office.desk._opened()[0].waiting(1_000)
        office.close()
        names = Counter(one.decision.decision_id for one in made.logged())
        assert len(acknowledged) >= 50
        assert set(acknowledged) <= names.keys()
        assert set(names.values()) == {1}
        assert waiting == []


def test_a_mistaken_catalogue_is_held_back_while_the_last_good_one_answers(tmp_path: Path) -> None:
    with place("test-decisions-catalogue", tmp_path, changed()) as made:
        client = made.serve()
        good = decide(client, "c2")["catalogue"]
        bad = changed(holdout={"share": 7, "salt": "x"})
        bad["actions"] = [{**bad["actions"][0], "value": "no_such_feature * 2"}]
        write_catalogue(made.settings.config_dir, bad)
        held = until_state(client, "held_back")
        assert held["catalogue"] == good
        assert len(held["held_back"]["details"]) >= 2
        assert decide(client, "c2")["catalogue"] == good
        write_catalogue(made.settings.config_dir, changed(holdout={"share": 1.0, "salt": "x"}))
        mended = until_state(client, "current")
        assert mended["catalogue"] != good
        answer = decide(client, "c2")
        assert (answer["catalogue"], answer["holdout"], answer["action"]) == (mended["catalogue"], True, "no_action")
        # From the start a mistaken one keeps nobody from the last good one.
        write_catalogue(made.settings.config_dir, bad)
        client.close()
        made.kill()
        client = made.serve()
        assert decide(client, "c2")["catalogue"] == mended["catalogue"]
        unknown = client.post("/v1/decide", json={"customer_id": "nobody"})
        assert check_error(unknown)["code"] == "unknown_customer"
        client.close()


def until_state(client: httpx.Client, state: str) -> dict[str, Any]:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        said: dict[str, Any] = client.get("/v1/actions").json()
        if said["state"] == state:
            return said
        time.sleep(0.2)
    raise AssertionError(f"the catalogue is not {state}: {said}")
