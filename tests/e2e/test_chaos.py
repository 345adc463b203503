"""What a caller sees when something breaks, on the real service: `serving/README.md` has the table.

A worker is killed, models are broken or missing, a service dies while a model is swapped, files vanish, and the clock
jumps. Never a 500, never a wrong answer, and what was acknowledged stays. Disks, Redis and PostgreSQL have files of
their own: `test_disk_full.py` and `test_state_stores.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from pipelines.artefacts import file_hash
from pipelines.cli.features import build_state
from pipelines.events.opening import event_store
from pipelines.feature_audit.vectors import audit_vectors
from pipelines.settings import CHECKOUT, Workspace, load_settings
from tests.e2e.cli import throwaway_workspace
from tests.e2e.live_service import LiveService, check_error, kill_outright, live_service
from tests.e2e.test_service import Server
from tests.unit.serving_parts import ingest_key

pytestmark = pytest.mark.slow

SECONDS = 60.0


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with throwaway_workspace("chaos") as made:
        yield made


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has services started from now on run with a profile of the machine's clock, changed as given."""

    def choose(service: dict[str, Any] | None = None) -> None:
        shutil.copytree(CHECKOUT / "configs", tmp_path / "configs")
        content = yaml.safe_load((tmp_path / "configs" / "profiles" / "local.yaml").read_text()) | {"clock": "wall"}
        content["service"] |= service or {}
        (tmp_path / "configs" / "profiles" / "test.yaml").write_text(yaml.safe_dump(content))
        monkeypatch.setenv("TWIN_CONFIG_DIR", str(tmp_path / "configs"))
        monkeypatch.setenv("TWIN_PROFILE", "test")

    return choose


def wait(what: str, done: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def predict(live: LiveService, customer: str = "good") -> dict[str, Any]:
    """A good answer."""
    answer = live.client.post("/v1/predict", json={"customer_id": customer})
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def served_models(live: LiveService) -> dict[str, Any]:
    models: list[dict[str, Any]] = live.client.get("/v1/models").json()["models"]
    return {model["model"]: model for model in models}


def restart(live: LiveService) -> None:
    """kill -9, and a new one."""
    live.kill()
    live.server = Server(live.workspace.name, "--port", "0")
    live.client = live.connect()


# Workers ------------------------------------------------------------------------------------


def test_one_of_two_workers_is_killed(workspace: Workspace, profile: Callable[..., None]) -> None:
    profile({"workers": 2})
    with live_service(workspace) as live:
        live.check_well("first")
        wait("two workers", lambda: len(live.server.workers()) == 2)
        before = set(live.server.workers())
        acknowledged, cut_off, stop = ["first"], 0, threading.Event()

        def send() -> None:
            nonlocal cut_off
            serial = 0
            while not stop.is_set():
                serial += 1
                name, told = f"m-{serial}", 0
                while told != 200:
                    try:
                        # A connection each: so both workers take some.
                        with live.connect() as client:
                            told = live.track(name, client=client).status_code
                            asked = client.post("/v1/predict", json={"customer_id": "good"}).status_code
                    except httpx.TransportError:
                        cut_off += 1
                        continue
                    assert told in (200, 503, 504)
                    assert asked in (200, 503, 504)
                acknowledged.append(name)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            wait("events", lambda: len(acknowledged) > 10)
            victim = min(before)
            os.kill(victim, signal.SIGKILL)
            # The other answers meanwhile, and BentoML's starter starts another one.
            count = len(acknowledged)
            wait("events while one is away", lambda: len(acknowledged) > count + 10)
            wait("a new worker", lambda: len(set(live.server.workers()) - {victim}) == 2)
            count = len(acknowledged)
            wait("events afterwards", lambda: len(acknowledged) > count + 10)
        finally:
            stop.set()
            sender.join(SECONDS)
        assert not sender.is_alive()
        assert live.server.process.poll() is None
        assert Counter(event.event.event_id for event in live.events()) == Counter(acknowledged)
        assert "Traceback" not in "".join(live.server.lines)


# Models -------------------------------------------------------------------------------------


def truncated(folder: Path) -> None:
    file = folder / "model.lgb"
    os.truncate(file, file.stat().st_size // 2)


def cut_to_nothing(folder: Path) -> None:
    os.truncate(folder / "model.lgb", 0)


def one_digit_other(folder: Path) -> None:
    """A model that loads, and would answer otherwise."""
    file = folder / "model.lgb"
    content = file.read_bytes()
    at = content.index(b"leaf_value=") + len(b"leaf_value=") + 3
    digit = b"7" if content[at : at + 1] != b"7" else b"3"
    file.write_bytes(content[:at] + digit + content[at + 1 :])


def other_bytes(folder: Path) -> None:
    (folder / "model.lgb").write_bytes(bytes(range(256)) * 400)


def a_folder_instead(folder: Path) -> None:
    """Nobody can read it, not even root."""
    (folder / "model.lgb").unlink()
    (folder / "model.lgb").mkdir()


def no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def torn_manifest(folder: Path) -> None:
    os.truncate(folder / "manifest.json", 100)


def manifest_of_other_features(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["features"] = manifest["features"][::-1]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def manifest_of_other_definitions(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"spec_hash": "0" * 16}))


BROKEN = [
    truncated, cut_to_nothing, one_digit_other, other_bytes, a_folder_instead, no_manifest, torn_manifest,
    manifest_of_other_features, manifest_of_other_definitions,
]  # fmt: skip


def put(workspace: Workspace, version: str, breaking: Callable[[Path], None] | None = None) -> None:
    """Version `version` as the store's latest, broken before anybody can see it: a copy of the present latest."""
    models = workspace.bentoml_home / "models" / "churn"
    made = models / version
    shutil.copytree(models / "5", made)
    manifest = json.loads((made / "manifest.json").read_text()) | {"version": version}
    (made / "manifest.json").write_text(json.dumps(manifest))
    description = (made / "model.yaml").read_text().replace("version: '5'", f"version: '{version}'")
    (made / "model.yaml").write_text(description)
    if breaking is not None:
        breaking(made)
    pointer = models / "latest.new"
    pointer.write_text(version)
    pointer.replace(models / "latest")


def with_hash(workspace: Workspace) -> None:
    """The champion's manifest says which bytes were registered, as that of `twin register` does."""
    folder = workspace.bentoml_home / "models" / "churn" / "5"
    manifest = json.loads((folder / "manifest.json").read_text()) | {"file_hash": file_hash(folder / "model.lgb")}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_broken_model_is_held_back_and_the_one_before_serves_on(workspace: Workspace) -> None:
    with live_service(workspace) as live:
        live.check_well("first")
        with_hash(workspace)
        before = predict(live)
        assert before["model_version"] == "5"
        for number, breaking in enumerate(BROKEN):
            put(workspace, str(10 + number), breaking)
            wait(f"{breaking.__name__} is not held back", lambda: served_models(live)["churn"]["held_back"] is not None)
            held_back = served_models(live)["churn"]["held_back"]
            assert held_back["code"] in ("model_unreadable", "model_mismatch"), (breaking.__name__, held_back)
            after = predict(live)
            assert (after["model_version"], after["probability"]) == ("5", before["probability"]), breaking.__name__
            assert live.client.get("/readyz").status_code == 200
            # A good one mends it, of whichever version.
            shutil.rmtree(workspace.bentoml_home / "models" / "churn" / str(10 + number))
            (workspace.bentoml_home / "models" / "churn" / "latest").write_text("5")
            wait("mended", lambda: served_models(live)["churn"]["held_back"] is None)
        # The file of what is served is broken under it: what was loaded answers on.
        other_bytes(workspace.bentoml_home / "models" / "churn" / "5")
        assert predict(live)["probability"] == before["probability"]
        assert live.track("last").status_code == 200
        assert "Traceback" not in "".join(live.server.lines)


def test_a_broken_model_at_the_start(workspace: Workspace) -> None:
    with live_service(workspace) as live:
        live.check_well("first")
        with_hash(workspace)
        before = predict(live)
        put(workspace, "6", truncated)
        restart(live)
        # The one before serves on.
        wait("ready", lambda: live.client.get("/readyz").status_code == 200)
        after = predict(live)
        assert (after["model_version"], after["probability"]) == ("5", before["probability"])
        one_digit_other(workspace.bentoml_home / "models" / "churn" / "5")
        restart(live)
        # Now there is none.
        refused = live.client.post("/v1/predict", json={"customer_id": "good"})
        assert (refused.status_code, check_error(refused)["code"]) == (503, "model_unreadable")
        ready = live.client.get("/readyz")
        assert (ready.status_code, check_error(ready)["code"]) == (503, "model_unreadable")
        assert live.track("while there is none").status_code == 200
        put_back = workspace.bentoml_home / "models" / "churn"
        shutil.rmtree(put_back / "6")
        live.shop.publish(version="7")
        wait("ready again", lambda: live.client.get("/readyz").status_code == 200)
        assert predict(live)["model_version"] == "7"
        assert [event.event.event_id for event in live.events()] == ["first", "while there is none"]


def test_without_any_model(workspace: Workspace) -> None:
    key = ingest_key(workspace)
    server = Server(workspace.name, "--port", "0")
    try:
        with httpx.Client(base_url=server.url(), auth=(key, ""), timeout=60, trust_env=False) as client:
            event = {
                "messageId": "m-1", "userId": "good", "event": "Order Completed",
                "properties": {"order_id": "o-1", "total": 12.5, "currency": "THB"},
            }  # fmt: skip
            wait("an event", lambda: client.post("/v1/track", json=event).status_code == 200)
            for body in ({"customer_id": "good"}, {"customer_id": "good", "reasons": True}):
                refused = client.post("/v1/predict", json=body)
                assert (refused.status_code, check_error(refused)["code"]) == (503, "model_missing")
            refused = client.post("/v1/predict_many", json={"customer_ids": ["good"]})
            assert (refused.status_code, check_error(refused)["code"]) == (503, "model_missing")
            ready = client.get("/readyz")
            assert (ready.status_code, check_error(ready)["code"]) == (503, "model_missing")
            models = client.get("/v1/models").json()["models"]
            assert {model["error"]["code"] for model in models} == {"model_missing"}
            decided = client.post("/v1/decide", json={"customer_id": "good"})
            assert decided.status_code == 200, decided.text
            assert decided.json()["basis"] == "none"
            assert client.get("/livez").status_code == 200
    finally:
        kill_outright(server)


def test_the_service_is_killed_while_a_model_is_swapped(workspace: Workspace) -> None:
    with live_service(workspace) as live:
        live.check_well("first")
        expected = predict(live)["probability"]
        booster = None
        for round_number in range(2):
            swapping = threading.Event()

            def swap(first: int, swapping: threading.Event = swapping) -> None:
                nonlocal booster
                for version in range(first, first + 5):
                    booster = live.shop.publish(version=str(version), booster=booster)
                    swapping.set()

            swapper = threading.Thread(target=swap, args=(10 * (round_number + 1),))
            swapper.start()
            assert swapping.wait(SECONDS)
            # The next look is at most a second away: some of them die in it.
            time.sleep(0.4 * (round_number + 1))
            live.kill()
            swapper.join(SECONDS)
            live.server = Server(workspace.name, "--port", "0")
            live.client = live.connect()
            live.check_well(f"after {round_number}")
            answer = predict(live)
            assert answer["model_version"] == str(10 * (round_number + 1) + 4)
        assert predict(live)["probability"] != 0
        assert expected != 0
        assert [event.event.event_id for event in live.events()] == ["first", "after 0", "after 1"]


# Files --------------------------------------------------------------------------------------


def test_files_are_removed_under_the_service(workspace: Workspace) -> None:
    with live_service(workspace) as live:
        live.check_well("first")
        expected = predict(live)["probability"]
        # States: no answer until they are built anew, which the service notices by itself.
        for file in workspace.root.glob("state.db*"):
            file.unlink()
        refused = live.client.post("/v1/predict", json={"customer_id": "good"})
        assert (refused.status_code, check_error(refused)["code"]) == (503, "state_unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert live.client.get("/readyz").status_code == 503
        build_state(live.shop.settings)
        wait("states are back", lambda: live.client.get("/readyz").status_code == 200)
        assert predict(live)["probability"] == expected
        # What was acknowledged is in the lake by now. Into a journal that nobody would find again goes nothing.
        for file in workspace.root.glob("journal.db*"):
            file.unlink()
        for serial in range(3):
            refused = live.track(f"lost {serial}")
            assert (refused.status_code, check_error(refused)["code"]) == (503, "journal_unavailable")
            assert int(refused.headers["retry-after"]) > 0
        assert predict(live)["probability"] == expected
        restart(live)
        live.check_well("second")
        with event_store(live.shop.settings) as store:
            assert sorted(store.read()["event_id"].to_pylist()) == ["first", "second"]
        assert "Traceback" not in "".join(live.server.lines)


# The clock ----------------------------------------------------------------------------------


class Clock:
    """The clock of services started while it is there; `move` moves it under them."""

    def __init__(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._file = file
        self.move(0)
        monkeypatch.setenv("MOVED_CLOCK", str(file))
        monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parent / 'moved_clock'}:{CHECKOUT}")

    def move(self, seconds: int) -> None:
        """To so much before (below 0) or after the true time."""
        made = self._file.with_suffix(".new")
        made.write_text(str(seconds))
        made.replace(self._file)


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(tmp_path / "clock", monkeypatch)


def seconds_from_now(answer: dict[str, Any]) -> float:
    """How far its as-of instant is from the true time."""
    return (datetime.fromisoformat(answer["as_of"]) - datetime.now(UTC)).total_seconds()


HOUR, DAY = 3_600, 86_400


def test_the_clock_jumps(workspace: Workspace, profile: Callable[..., None], clock: Clock) -> None:
    profile()
    with live_service(workspace) as live:
        live.check_well("first")
        true = predict(live)
        assert abs(seconds_from_now(true)) < SECONDS
        clock.move(-HOUR)
        # Back by an hour: all that was acknowledged counts still, also what comes now.
        back = predict(live)
        assert abs(seconds_from_now(back)) < SECONDS
        assert back["probability"] == true["probability"]
        assert live.track("an hour back").status_code == 200
        later = predict(live)
        assert abs(seconds_from_now(later)) < SECONDS
        many = live.client.post("/v1/predict_many", json={"customer_ids": ["good", "nobody"]})
        assert many.status_code == 200, many.text
        assert many.json()["results"][0]["probability"] == later["probability"]
        assert abs(seconds_from_now(many.json())) < SECONDS
        decided = live.client.post("/v1/decide", json={"customer_id": "good", "decision_id": "d-back"})
        assert decided.status_code == 200, decided.text
        assert abs(seconds_from_now(decided.json())) < SECONDS
        # A customer that is new since then has the clock's own time.
        assert live.track("new", "newcomer").status_code == 200
        new = predict(live, "newcomer")
        assert -HOUR - SECONDS < seconds_from_now(new) < -HOUR + SECONDS
        assert live.served(new["request_id"])
        check_computed_again(workspace, 5)
        # What is said now holds, though something else was said an hour "later".
        clock.move(0)
        assert says(live, True) is True
        clock.move(-HOUR)
        assert says(live, False) is False
        clock.move(0)
        # Forward by a day, and right again: from there on the newest instant is read, as the answer says.
        clock.move(DAY)
        assert DAY - SECONDS < seconds_from_now(predict(live)) < DAY + SECONDS
        assert live.track("a day ahead").status_code == 200
        clock.move(0)
        assert DAY - 2 * SECONDS < seconds_from_now(predict(live)) < DAY + SECONDS
        # More than a day apart: the clock is wrong, and nothing is answered as of its time.
        clock.move(-DAY)
        refused = live.client.post("/v1/predict", json={"customer_id": "good"})
        assert (refused.status_code, check_error(refused)["code"]) == (503, "state_ahead")
        refused = live.client.post("/v1/decide", json={"customer_id": "good"})
        assert (refused.status_code, check_error(refused)["code"]) == (503, "state_ahead")
        assert live.track("a day back").status_code == 200
        clock.move(0)
        last = predict(live)
        assert live.served(last["request_id"])
        names = [event.event.event_id for event in live.events() if event.event.source == "web"]
        assert names == ["first", "an hour back", "new", "a day ahead", "a day back"]
        assert "Traceback" not in "".join(live.server.lines)
        # Consent has changed the customer since, so that those of before cannot be computed again any more.
        check_computed_again(workspace, 4)
        assert live.states() == live.rebuilt(workspace.root / "rebuilt.db")


def check_computed_again(workspace: Workspace, least: int) -> None:
    """What was served is, to the last bit, what the events say at its instant."""
    audited = audit_vectors(load_settings(workspace.name), 1_000, seed=1)
    assert audited.passed, audited.text()
    assert audited.compared >= least


def says(live: LiveService, granted: bool) -> bool:
    """Whether the customer's purpose is allowed, once they have said that they grant or deny it."""
    body = {"customer_id": "good", "purposes": {"marketing": granted}}
    answer = live.client.post("/v1/consent", json=body)
    assert answer.status_code == 200, answer.text
    told: bool = next(item["allowed"] for item in answer.json()["permissions"] if item["purpose"] == "marketing")
    return told
