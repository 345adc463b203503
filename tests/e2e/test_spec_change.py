"""The feature spec is changed while the service runs: the old champion is served until one of the new spec is there."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import httpx
import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pytest

from feature_repo.event_table import register_customer_events
from feature_repo.model_inputs import ModelInputs
from feature_repo.spec import FeatureSpec
from feature_repo.sql import features_query
from feature_repo.state.build import build_states
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.artefacts import EVALUATION, LEAKAGE, MODEL, TUNING, Dataset, file_hash, save_dataset, write_json
from pipelines.cli.model_steps import publish
from pipelines.events.opening import event_store
from pipelines.identity.current import current_membership
from pipelines.settings import Settings, Workspace, load_settings
from pipelines.state_build import build_state
from pipelines.train import train
from tests.changed_spec import change_features, copied_configs, restore_features
from tests.e2e.cli import throwaway_workspace
from tests.e2e.live_service import kill_outright
from tests.e2e.test_service import Server
from tests.unit.model_parts import make_dataset, make_evaluation, make_leakage, small_config
from tests.unit.serving_parts import ingest_key

pytestmark = pytest.mark.slow

CUSTOMERS = [f"c{number}" for number in range(12)]
# Small, so that the journal moves within the test.
QUICK = ("compact_every_seconds: 60", "compact_every_seconds: 0.2"), ("compact_at_rows: 10000", "compact_at_rows: 30")


@dataclass
class Place:
    """A workspace with a configuration of its own, and the service over it."""

    workspace: Workspace
    configs: Path
    key: str
    server: Server = field(init=False)
    client: httpx.Client = field(init=False)
    sent: int = 0
    is_changed: bool = False

    @property
    def settings(self) -> Settings:
        """As a command that starts now has them."""
        return load_settings(self.workspace.name, self.configs)

    @property
    def storage(self) -> SQLiteStateStorage:
        return SQLiteStateStorage(self.workspace.state)

    def start(self) -> None:
        self.server = Server(self.workspace.name, "--port", "0")
        self.client = self.connect()

    def connect(self) -> httpx.Client:
        return httpx.Client(base_url=self.server.url(), auth=(self.key, ""), timeout=60, trust_env=False)

    def kill(self) -> None:
        self.client.close()
        kill_outright(self.server)

    def change_spec(self) -> None:
        """To the other of two."""
        restore_features(self.configs) if self.is_changed else change_features(self.configs)
        self.is_changed = not self.is_changed

    def send(self, count: int = 1) -> None:
        """Live events, each acknowledged."""
        for _ in range(count):
            properties = {"order_id": str(self.sent), "total": 10 + self.sent, "currency": "THB", "units": 2}
            who = CUSTOMERS[self.sent % len(CUSTOMERS)]
            body = {"messageId": f"m{self.sent}", "userId": who, "event": "Order Completed", "properties": properties}
            answer = self.client.post("/v1/track", json=body)
            while answer.status_code in (503, 504):  # states are built, or engines are imported
                answer = self.client.post("/v1/track", json=body)
            assert answer.status_code == 200, answer.text
            self.sent += 1

    def served(self) -> dict[str, Any]:
        models = self.client.get("/v1/models").json()["models"]
        model = next(model for model in models if model["model"] == "churn")
        return dict(model)

    def answers(self) -> dict[str, Any]:
        answer = self.client.post("/v1/predict_many", json={"customer_ids": CUSTOMERS})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def check_answers(self, version: str, spec: FeatureSpec) -> list[float]:
        """What is answered is the model's, on the features that SQL gives of lake and journal at that instant."""
        content = self.answers()
        assert content["model_version"] == version
        as_of = datetime.fromisoformat(content["as_of"])
        instant = int(as_of.timestamp()) * 1_000_000 + as_of.microsecond
        file = self.workspace.bentoml_home / "models" / "churn" / version / "model.lgb"
        names = spec.service_features("churn")
        expected = lgb.Booster(model_file=file).predict(self.features(spec, names, instant), num_threads=1)
        found = [item["probability"] for item in content["results"]]
        assert found == np.asarray(expected).tolist()
        return found

    def features(self, spec: FeatureSpec, names: tuple[str, ...], as_of: int) -> np.ndarray:
        points = {"point": range(len(CUSTOMERS)), "customer_id": CUSTOMERS, "as_of": [as_of] * len(CUSTOMERS)}
        with event_store(self.settings) as store, duckdb.connect() as connection:
            now = store.snapshot()
            members = current_membership(self.settings)
            register_customer_events(connection, self.workspace.lake, now.version, now.tail, members)
            connection.register("points", pa.table(points))
            rows = connection.execute(features_query(spec, list(names))).fetchall()
        return np.array([row[1:] for row in rows], dtype=np.float64)

    def check_states(self, *specs: FeatureSpec) -> None:
        """There are states of these specs, and they are what a rebuild makes."""
        assert self.storage.built_specs() == sorted(spec.hash for spec in specs)
        with event_store(self.settings) as store:
            now = store.snapshot()
        assert len(set(now.table()["event_id"].to_pylist())) == now.table().num_rows == self.sent
        file = self.workspace.root / "rebuilt.db"
        for spec in specs:
            fresh = SQLiteStateStorage(file)
            members = current_membership(self.settings)
            build_states(spec, self.workspace.lake, fresh, now.version, tail=now.tail, membership=members)
            assert self.storage.get_many(spec.hash, CUSTOMERS) == fresh.get_many(spec.hash, CUSTOMERS) != {}
            file.unlink()

    def register(self) -> str:
        """Train a model on the current spec, and register it; its version. The rows are made up, the steps are not."""
        settings = self.settings
        config, names = small_config(settings), settings.features.service_features("churn")
        made = make_dataset(customers=60, features=len(names))
        rows = made.rows.rename(columns=dict(zip(made.manifest.features, names, strict=True)))
        # Small numbers, as the customers here have them, of which the first says most of the label.
        rng = np.random.default_rng(2)
        values = rng.integers(0, 4, (len(rows), len(names)))
        rows[list(names)] = values.astype(np.float64)
        rows["label"] = (values[:, 0] + rng.normal(0, 0.5, len(rows)) > 1.5).astype(np.int64)
        manifest = replace(
            made.manifest, features=names, inputs=ModelInputs(names, names), spec_hash=settings.features.hash
        )
        folder = self.workspace.artefacts("churn")
        save_dataset(folder, Dataset(rows, manifest))
        figures = {"rounds": 20, "trials": 1, "pruned": 0, "seconds": 1.0, "default_loss": 0.5, "best_loss": 0.5}
        write_json(folder / TUNING, {"params": {"num_leaves": 7}, "study": "s", "history": [], **figures})
        train(settings, config)
        belongs = {"dataset_hash": manifest.dataset_hash, "model_hash": file_hash(folder / MODEL)}
        write_json(folder / EVALUATION, make_evaluation(**belongs))
        write_json(folder / LEAKAGE, make_leakage())
        registration: Any = publish(settings, config)
        assert registration.is_champion, registration.text()
        return str(registration.version)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A champion of the present spec, served, with live events."""
    configs = copied_configs(tmp_path_factory.mktemp("change") / "configs")
    # Triggers read the features of the service's start, so that their states would stay until a restart.
    (configs / "triggers.yaml").unlink()
    profile = configs / "profiles" / "local.yaml"
    for old, new in QUICK:
        assert old in profile.read_text()
        profile.write_text(profile.read_text().replace(old, new))
    with throwaway_workspace(f"test-change-{os.getpid()}") as workspace, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWIN_CONFIG_DIR", str(configs))
        made = Place(workspace, configs, ingest_key(workspace))
        made.register()
        made.start()
        try:
            # The first events make the first states; then the champion can be served.
            made.send(24)
            eventually(lambda: made.client.get("/readyz").status_code == 200)
            yield made
        finally:
            made.kill()


class Caller:
    """A client that asks all the time. `versions` is what answered, each once for every change."""

    def __init__(self, place: Place) -> None:
        self.versions: list[str] = []
        self.failures: list[str] = []
        self.calls = 0
        self._place = place
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Caller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        with self._place.connect() as client:
            while not self._stop.is_set():
                self.calls += 1
                try:
                    self._ask(client)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))

    def _ask(self, client: httpx.Client) -> None:
        who = CUSTOMERS[self.calls % len(CUSTOMERS)]
        answer = client.post("/v1/predict", json={"customer_id": who, "reasons": self.calls % 3 == 0})
        if answer.status_code != 200:
            self.failures.append(answer.text)
        elif self.versions[-1:] != [answer.json()["model_version"]]:
            self.versions.append(answer.json()["model_version"])


def eventually(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.05)


def test_a_changed_spec_is_served_once_its_model_is_promoted(place: Place) -> None:
    old, before = place.settings.features, place.served()["model_version"]
    with Caller(place) as caller:
        place.change_spec()
        new = place.settings.features
        assert new.hash != old.hash
        first = place.check_answers(before, old)
        place.send()
        assert place.check_answers(before, old) != first, "live events move the old champion's predictions"

        built = build_state(place.settings)
        assert [built.spec_hash, *(other.spec_hash for other in built.others)] == [new.hash, old.hash]
        place.send(6)
        place.check_answers(before, old)
        place.check_states(old, new)

        after = place.register()
        eventually(lambda: place.served()["model_version"] == after)
        place.check_answers(after, new)
        assert place.served()["spec_hash"] == new.hash
        # Nobody reads the old states any more, so they go; and the journal moves into the lake.
        eventually(lambda: place.storage.spec_hashes() == [new.hash])
        place.send(40)
        eventually(lambda: _in_journal(place) < 30)
        place.check_answers(after, new)
        place.check_states(new)
    assert caller.failures == []
    assert caller.versions == [before, after]
    assert caller.calls > 100
    assert f"removed: the states of spec {old.hash}" in "".join(place.server.lines)


def test_killed_in_the_middle_of_the_change_it_goes_on(place: Place) -> None:
    """kill -9 while the new champion waits for its states, and again as soon as they are there."""
    old, before = place.settings.features, place.served()["model_version"]
    place.change_spec()
    new = place.settings.features
    after = place.register()
    eventually(lambda: place.served()["held_back"] is not None)
    place.send(3)
    place.check_answers(before, old)
    place.kill()
    place.start()
    assert place.served()["held_back"]["code"] == "model_mismatch"
    place.check_answers(before, old)
    place.send(3)
    build_state(place.settings)
    place.kill()
    place.start()
    place.check_answers(after, new)
    place.send(3)
    place.check_answers(after, new)
    eventually(lambda: place.storage.spec_hashes() == [new.hash])
    place.check_states(new)


def _in_journal(place: Place) -> int:
    with event_store(place.settings) as store:
        return len(store.journal.read_rows(0, 1_000))
