"""The service follows the model store: a new champion is wired whole before it is served in the former's place."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feature_repo.spec import FeatureSpec
from feature_repo.spec_content import FILE, text_of
from pipelines.events.spec_lease import unleased
from pipelines.settings import Settings
from pipelines.spec_versions import SpecVersions
from serving import connection
from serving.api.errors import ApiError
from serving.api.pages import model_info
from serving.connection import Connection
from serving.features import FeatureReader, MemoryReader
from serving.predictor import Predictor, empty_state
from tests.changed_spec import ADDED, changed_settings
from tests.unit.serving_parts import CUSTOMERS, DATA_END, Shop, make_shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The first champion is version 1 on the present spec."""
    made = AnySpec(make_shop(tmp_path).settings, {})
    publish(made, "1")
    return made


class AnySpec(Shop):
    """A shop with values for the features of any spec."""

    def open_reader(self, spec: FeatureSpec, features: tuple[str, ...]) -> FeatureReader:
        built = spec.hash if self.spec_hash is None else self.spec_hash
        return MemoryReader({CUSTOMERS[0]: [1.0] * len(features)}, len(features), built, DATA_END)


def publish(shop: Shop, version: str, settings: Settings | None = None, **manifest: Any) -> None:
    """A champion on the spec of `settings`, or the shop's, with that spec's content beside it."""
    shop = shop if settings is None else replace(shop, settings=settings)
    shop.publish(version=version, feature_service="churn", **manifest)
    folder = shop.settings.workspace.bentoml_home / "models" / "churn" / version
    (folder / FILE).write_text(text_of(shop.settings.spec_file))


def served(connected: Connection) -> Predictor:
    return connected.wiring().predictor("churn")


def held(settings: Settings, spec_hash: str) -> bool:
    with unleased(settings.workspace.specs, spec_hash) as free:
        return not free


def eventually(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.01)


def test_who_asks_right_after_the_first_states_came_is_answered_from_them(shop: Shop) -> None:
    """No thread looks here: an acknowledged event is seen by the next request, not a second later."""
    built, missing = shop.open_reader, True

    def open_reader(spec: FeatureSpec, features: tuple[str, ...]) -> FeatureReader:
        if missing:
            raise empty_state()
        return built(spec, features)

    connected = Connection(shop.settings, open_reader)
    with pytest.raises(ApiError, match="state_missing"):
        served(connected)
    missing = False
    assert served(connected).champion.version == "1"


def test_a_new_champion_on_another_spec_takes_over(
    shop: Shop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connected = Connection(shop.settings, shop.open_reader)
    first = served(connected)
    connected.look()
    assert served(connected) is first
    changed = changed_settings(shop.settings, tmp_path / "changed")
    publish(shop, "2", changed)
    with caplog.at_level(logging.INFO):
        connected.look()
    second = served(connected)
    assert (second.champion.version, second.champion.spec_hash) == ("2", changed.features.hash)
    assert ADDED[0] in second.champion.features
    assert second.meanings[ADDED[0]] == "number of orders in the last 14 days"
    assert f"churn is served by version 2 now (spec {changed.features.hash})" in caplog.text
    connected.look()
    assert served(connected) is second


def test_who_began_with_the_former_ends_with_it(shop: Shop, tmp_path: Path) -> None:
    """Its states are held until the last request that reads them has been answered."""
    connected = Connection(shop.settings, shop.open_reader)
    old, new = shop.settings.features.hash, changed_settings(shop.settings, tmp_path / "changed")
    request = served(connected)
    publish(shop, "2", new)
    connected.look()
    assert held(shop.settings, old)
    assert held(shop.settings, new.features.hash)
    assert request.one(CUSTOMERS[0], reasons=True)[1].probability is not None
    del request
    assert not held(shop.settings, old)


def test_the_former_is_served_while_the_new_one_has_no_states(
    shop: Shop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changed = changed_settings(shop.settings, tmp_path / "changed")
    shop.spec_hash = shop.settings.features.hash
    connected = Connection(shop.settings, shop.open_reader)
    first = served(connected)
    publish(shop, "2", changed)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            connected.look()
    assert served(connected) is first
    wiring = connected.wiring()
    assert wiring.problem is None
    assert not wiring.is_complete
    info = model_info(wiring, "churn")
    assert (info.served, info.model_version) == (True, "1")
    assert info.held_back is not None
    assert "twin state rebuild" in info.held_back.details[0].hint
    assert caplog.text.count("the latest champion of churn is not served, version 1 is") == 1, "told once"
    # A process that starts now serves the same.
    assert served(Connection(shop.settings, shop.open_reader)).champion.version == "1"
    assert not held(shop.settings, changed.features.hash)
    shop.spec_hash = changed.features.hash
    connected.look()
    assert served(connected).champion.version == "2"
    assert model_info(connected.wiring(), "churn").held_back is None


@pytest.mark.parametrize("broken", ["manifest.json", "model.lgb", FILE, "latest", "folder"])
def test_a_broken_export_takes_nothing_away(shop: Shop, tmp_path: Path, broken: str) -> None:
    connected = Connection(shop.settings, shop.open_reader)
    publish(shop, "2", changed_settings(shop.settings, tmp_path / "changed"))
    models = shop.settings.workspace.bentoml_home / "models" / "churn"
    if broken == "folder":
        (models / "2").rename(models.parent / "elsewhere")
    elif broken == "latest":
        (models / "latest").write_text("")
    else:
        (models / "2" / broken).write_text('{"spec_hash": 1}')
    connected.look()
    assert served(connected).champion.version == "1"


def test_content_that_compiles_to_another_spec_is_refused(shop: Shop, tmp_path: Path) -> None:
    changed = changed_settings(shop.settings, tmp_path / "changed")
    publish(shop, "2", changed)
    file = shop.settings.workspace.bentoml_home / "models" / "churn" / "2" / FILE
    file.write_text(text_of(shop.settings.spec_file))
    error = Connection(shop.settings, shop.open_reader).wiring().held_back["churn"]
    assert (error.code, error.details[0].field) == ("model_mismatch", FILE)
    assert shop.settings.features.hash in error.details[0].got


def test_a_champion_without_content_is_found_in_what_the_workspace_has_seen(shop: Shop, tmp_path: Path) -> None:
    """One that was exported before the content went with it, after which the configuration was changed."""
    (shop.settings.workspace.bentoml_home / "models" / "churn" / "1" / FILE).unlink()
    changed = changed_settings(shop.settings, tmp_path / "changed")
    assert Connection(changed, shop.open_reader).wiring().refusals["churn"].code == "model_mismatch"
    assert served(Connection(shop.settings, shop.open_reader)).champion.version == "1"
    assert served(Connection(changed, shop.open_reader)).champion.version == "1"
    assert [version.hash for version in SpecVersions(shop.settings.workspace.specs).all()] == [
        shop.settings.features.hash
    ]


def test_the_thread_switches_while_requests_go_on(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.01)
    connected = Connection(shop.settings, shop.open_reader)
    connected.start()
    versions: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            predictor = served(connected)
            assert predictor.one(CUSTOMERS[0], reasons=False)[1].probability is not None
            if versions[-1:] != [predictor.champion.version]:
                versions.append(predictor.champion.version)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        eventually(lambda: versions == ["1"])
        # A look that fails for a reason nobody thought of does not end the thread.
        with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
            patch.setattr(connection, "wire", lambda *_: 1 / 0)
            publish(shop, "2", changed_settings(shop.settings, tmp_path / "changed"))
            eventually(lambda: "the next look tries again" in caplog.text)
        eventually(lambda: versions == ["1", "2"])
    finally:
        stop.set()
        asking.join(30)
        connected.close()
    assert versions == ["1", "2"]
    assert not connected._thread.is_alive()
