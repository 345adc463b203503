"""The real service over a workspace in a folder of its own: a copy of one that is there, or a small made-up one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from feature_repo.state.storage import StateStorage
from pipelines.cli.features import build_state
from pipelines.events.journal import NewEvent
from pipelines.events.opening import event_store, open_states
from pipelines.model_store import latest_file
from pipelines.privacy import ENVIRONMENT_KEY
from pipelines.settings import CHECKOUT, Settings, load_settings
from pipelines.settings.workspace import HOME_VARIABLE
from tests.e2e.live_service import kill_outright
from tests.e2e.test_service import Server
from tests.unit.serving_parts import ingest_key, make_shop

NAME = SOURCE = "soak"
# The journal moves every few seconds.
PROFILE = {"clock": "wall", "compact_every_seconds": 3.0, "compact_at_rows": 200}
_CUSTOMERS, _EVENTS_EACH = 400, 6
_MOST_CUSTOMERS = 3_000
_LONG_AGO = 1_780_000_000_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """`folder` has what is measured of the service's processes."""

    settings: Settings
    customers: tuple[str, ...]
    key: str
    server: Server
    folder: Path

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.server.url().removeprefix("http://").split(":")
        return host, int(port)

    def swap(self) -> str:
        """The present champion once more, as a newer version; which."""
        latest = latest_file(self.settings.workspace.bentoml_home, "churn")
        before = latest.read_text().strip()
        version = str(int(before) + 1)
        made = latest.parent / version
        partial = self.folder / f"model-{version}"
        shutil.copytree(latest.parent / before, partial)
        manifest = json.loads((partial / "manifest.json").read_text()) | {"version": version}
        (partial / "manifest.json").write_text(json.dumps(manifest))
        description = yaml.safe_load((partial / "model.yaml").read_text()) | {"version": version}
        (partial / "model.yaml").write_text(yaml.safe_dump(description))
        shutil.move(partial, made)
        pointer = latest.with_name("latest.new")
        pointer.write_text(version)
        pointer.replace(latest)
        return version


@contextmanager
def soak_place(folder: Path, copied: Path | None = None, **service: Any) -> Iterator[Place]:
    """`copied` is the folder of a workspace with models and states, else one is made up. `service`: of the profile."""
    configs = folder / "configs"
    shutil.copytree(CHECKOUT / "configs", configs)
    profile = yaml.safe_load((configs / "profiles" / "local.yaml").read_text())
    profile["clock"] = PROFILE["clock"]
    profile["ingestion"] |= {key: value for key, value in PROFILE.items() if key.startswith("compact")}
    profile["service"] |= service
    (configs / "profiles" / "soak.yaml").write_text(yaml.safe_dump(profile))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(folder))
        patch.setenv("TWIN_CONFIG_DIR", str(configs))
        patch.setenv("TWIN_PROFILE", "soak")
        patch.setenv("SOAK_FOLDER", str(folder))
        patch.setenv("PYTHONPATH", f"{Path(__file__).parent / 'instruments'}:{CHECKOUT}")
        settings = load_settings(NAME)
        if copied is not None:
            shutil.copytree(copied, settings.workspace.root)
            if (key := settings.workspace.demo_key).exists():
                patch.setenv(ENVIRONMENT_KEY, key.read_text().strip())
        # Before states are built: events count for what the keys of their source state.
        key_text = ingest_key(settings.workspace, SOURCE, ("ingest", "predict"))
        if copied is None:
            _make_up(settings)
        customers = _customers(settings, open_states(settings))
        server = Server(NAME, "--port", "0")
        try:
            yield Place(settings, customers, key_text, server, folder)
        finally:
            kill_outright(server)


def _make_up(settings: Settings) -> None:
    """A champion, and the states of some customers."""
    shop = make_shop(Path(os.environ[HOME_VARIABLE]))
    shop.settings = replace(shop.settings, workspace=settings.workspace)
    shop.publish(version="1")
    with event_store(settings) as store:
        store.journal.append([_order(number) for number in range(_CUSTOMERS * _EVENTS_EACH)])
    build_state(settings)


def _order(number: int) -> NewEvent:
    at = _LONG_AGO + number * 60_000_000
    return NewEvent(
        SOURCE, f"history-{number}", "Order Completed", at, at, "web",
        user_id=f"H{number % _CUSTOMERS}", value=100 + number % 900, currency="THB",
        properties={"order_id": str(number), "total": 100 + number % 900},
    )  # fmt: skip


def _customers(settings: Settings, storage: StateStorage) -> tuple[str, ...]:
    """Those with a state, in a fixed order."""
    with event_store(settings) as store:
        found: Sequence[str] = store.read()["user_id"].drop_null().unique().to_pylist()
    known = storage.get_many(settings.features.hash, sorted(found))
    return tuple(who for who, state in sorted(known.items()) if state.data)[:_MOST_CUSTOMERS]
