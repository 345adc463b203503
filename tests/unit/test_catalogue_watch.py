"""A running service takes a changed catalogue, and keeps the last good one while the files are mistaken."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feature_repo.configuration import ConfigurationError, Problem
from pipelines.catalogue import Catalogue
from pipelines.catalogue.versions import CatalogueVersions
from pipelines.settings import CHECKOUT, Settings, Workspace, load_settings
from serving.decisions.catalogue_watch import CatalogueWatch, watch_catalogue
from tests.unit.catalogue_parts import changed, write

ALWAYS: Callable[[dict[str, Any]], object] = lambda content: content["actions"][0].pop("valid", None)  # noqa: E731


class Clock:
    """Seconds, moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    configs = Path(shutil.copytree(CHECKOUT / "configs", tmp_path / "configs"))
    write(configs, changed(ALWAYS))
    return replace(load_settings("watch", configs), workspace=Workspace("watch", tmp_path))


class Watched:
    """A watch of the settings' files with a clock that is moved by hand."""

    def __init__(self, settings: Settings) -> None:
        self.clock = Clock()
        self.watch = watch_catalogue(settings, self.clock)

    def later(self) -> CatalogueWatch:
        """After two looks: the first sees the change, the second that it stands still."""
        for _ in range(2):
            self.clock.now += 1.01
            _ = self.watch.offered
        return self.watch

    @property
    def hash(self) -> str | None:
        catalogue = self.watch.offered.catalogue
        return None if catalogue is None else catalogue.hash


def put(settings: Settings, *changes: Callable[[dict[str, Any]], object]) -> None:
    write(settings.config_dir, changed(ALWAYS, *changes))


def cheaper(content: dict[str, Any]) -> None:
    content["actions"][0]["cost"] = 5


def mistaken(content: dict[str, Any]) -> None:
    del content["actions"][0]["cost"]
    content["rules"]["x"] = "no_such_feature > 0"


def test_a_changed_catalogue_is_taken(settings: Settings) -> None:
    watched = Watched(settings)
    first = watched.hash
    put(settings, cheaper)
    assert watched.hash == first  # a second has not passed
    offered = watched.later().offered
    assert offered.catalogue is not None
    assert offered.catalogue.action("coupon").cost == 500
    assert CatalogueVersions(settings).find(offered.catalogue.hash) == offered.catalogue


def test_a_mistaken_catalogue_is_held_back_until_it_is_good(settings: Settings) -> None:
    watched = Watched(settings)
    first = watched.hash
    put(settings, mistaken)
    offered = watched.later().offered
    assert watched.hash == first
    assert [problem.field for problem in offered.held_back] == ["actions.0.cost", "rules.x"]
    assert watched.later().offered.held_back == offered.held_back
    put(settings, cheaper)
    offered = watched.later().offered
    assert offered.held_back == ()
    assert watched.hash != first


def test_a_mistake_in_the_journeys_is_held_back_too(settings: Settings) -> None:
    watched = Watched(settings)
    first = watched.hash
    (settings.config_dir / "journeys.yaml").write_text("version: 1\nstages: []\n")
    assert {problem.file for problem in watched.later().offered.held_back} >= {"journeys.yaml"}
    assert watched.hash == first


def test_a_catalogue_that_is_gone_goes_on(settings: Settings) -> None:
    watched = Watched(settings)
    first = watched.hash
    (settings.config_dir / "actions.yaml").unlink()
    (problem,) = watched.later().offered.held_back
    assert problem.got == "nothing there"
    assert watched.hash == first


def test_a_file_that_is_still_written_is_waited_for(settings: Settings) -> None:
    watched = Watched(settings)
    first = watched.hash
    for cost in (1, 2, 3):
        put(settings, lambda content, cost=cost: content["actions"][0].__setitem__("cost", cost))  # type: ignore[misc]
        watched.clock.now += 1.01
        assert watched.hash == first
    watched.clock.now += 1.01
    offered = watched.watch.offered.catalogue
    assert offered is not None
    assert offered.action("coupon").cost == 300


def test_mistakes_from_the_start_and_nothing_before(settings: Settings) -> None:
    put(settings, mistaken)
    watched = Watched(settings)
    assert watched.hash is None
    assert len(watched.watch.offered.held_back) == 2
    put(settings)
    assert watched.later().offered.held_back == ()
    assert watched.hash is not None


def test_mistakes_from_the_start_and_a_catalogue_before(settings: Settings) -> None:
    before = Watched(settings).hash
    put(settings, mistaken)
    restarted = Watched(settings)
    assert restarted.hash == before
    assert len(restarted.watch.offered.held_back) == 2


def test_what_was_used_before_cannot_be_read(settings: Settings) -> None:
    before = Watched(settings).hash
    (settings.workspace.catalogues / f"{before}.json").write_text("{")
    put(settings, mistaken)
    restarted = Watched(settings)
    assert restarted.hash is None
    assert len(restarted.watch.offered.held_back) == 3


def test_no_catalogue_at_first_is_no_mistake(settings: Settings) -> None:
    file = settings.config_dir / "actions.yaml"
    aside = file.rename(file.with_suffix(".aside"))
    watched = Watched(settings)
    assert (watched.hash, watched.watch.offered.held_back) == (None, ())
    aside.rename(file)
    watched.later()
    assert watched.hash is not None


def test_a_catalogue_that_cannot_be_kept_does_not_decide(settings: Settings) -> None:
    settings.workspace.root.mkdir(parents=True)
    settings.workspace.catalogues.write_text("a file where a folder should be")
    watched = Watched(settings)
    assert watched.hash is None
    assert watched.watch.offered.held_back[0].expected == "a place to keep it for replays"
    settings.workspace.catalogues.unlink()
    watched.later()
    assert watched.hash is not None


def test_files_are_looked_at_once_a_second_and_loaded_only_when_changed(tmp_path: Path) -> None:
    file, clock, loads = tmp_path / "actions.yaml", Clock(), []

    def load() -> Catalogue:
        loads.append(clock.now)
        raise ConfigurationError([Problem("a", "b", "c")])

    file.touch()
    watch = CatalogueWatch([file], load, lambda catalogue: None, clock=clock)
    for step in range(1, 101):
        clock.now = step / 10
        _ = watch.offered
    assert loads == [0.0]
    os.utime(file, ns=(1, 1))
    for step in range(101, 150):
        clock.now = step / 10
        _ = watch.offered
    assert len(loads) == 2


def test_while_one_thread_loads_the_others_go_on(settings: Settings) -> None:
    loading, done = threading.Event(), threading.Event()
    good = settings.catalogue
    assert good is not None
    file, clock = settings.config_dir / "actions.yaml", Clock()
    first = [True]

    def load() -> Catalogue:
        if first:
            first.clear()
        else:
            loading.set()
            assert done.wait(60)
        return good

    watch = CatalogueWatch([file], load, lambda catalogue: None, clock=clock)
    os.utime(file, ns=(1, 1))
    clock.now = 2.0
    _ = watch.offered
    clock.now = 4.0
    thread = threading.Thread(target=lambda: watch.offered)
    thread.start()
    assert loading.wait(60)
    clock.now = 6.0
    assert watch.offered.catalogue is good  # does not wait for the other
    done.set()
    thread.join(60)
    assert not thread.is_alive()
