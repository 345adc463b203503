"""The catalogue that decides now: a changed file is taken while the service runs, a mistaken one is held back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from feature_repo.configuration import ConfigurationError, Problem
from pipelines.catalogue import Catalogue
from pipelines.catalogue.versions import CatalogueVersions
from pipelines.settings import Settings
from pipelines.settings.catalogue import load_catalogue

# Of each file its time of change in nanoseconds, size and inode; None where there is none.
Fingerprint: TypeAlias = tuple[tuple[int, int, int] | None, ...]

LOOK_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Offered:
    """`catalogue` decides; None where none was ever good. `held_back` is what is wrong with the present files."""

    catalogue: Catalogue | None
    held_back: tuple[Problem, ...] = ()


class CatalogueWatch:
    """Looks at the files at most once in `every` seconds, and loads them when they have changed and stand still.

    `load` gives the catalogue of the files or raises ConfigurationError, `remember` keeps one before it decides.
    Threads may share it: one looks, the others go on with what there is.
    """

    def __init__(
        self,
        files: Sequence[Path],
        load: Callable[[], Catalogue],
        remember: Callable[[Catalogue], None],
        before: Callable[[], Catalogue | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        every: float = LOOK_EVERY,
    ) -> None:
        """`before` gives the catalogue to go on with where the files are mistaken at first; `clock` is in seconds."""
        self._files, self._load, self._remember = tuple(files), load, remember
        self._clock, self._every = clock, every
        self._looking = threading.Lock()
        self._seen = self._taken = self._fingerprint()
        self._next = clock() + every
        self._offered = Offered(None)
        if self._taken[0] is not None:
            self._take()
        if self._offered.catalogue is None and self._offered.held_back:
            self._go_on_with(before)

    @property
    def offered(self) -> Offered:
        """What decides now; looks at the files first where that is due."""
        if self._clock() >= self._next and self._looking.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._looking.release()
        return self._offered

    def _look(self) -> None:
        self._next = self._clock() + self._every
        found = self._fingerprint()
        still, self._seen = found == self._seen, found
        # A file that changed since the last look may be half written yet.
        if still and found != self._taken:
            self._taken = found
            self._take()

    def _take(self) -> None:
        try:
            catalogue = self._load()
            self._remember(catalogue)
        except ConfigurationError as error:
            self._offered = Offered(self._offered.catalogue, error.problems)
        except OSError as error:
            told = Problem("catalogue", "a place to keep it for replays", type(error).__name__, "see the disk")
            self._offered = Offered(self._offered.catalogue, (told,))
            self._taken = ()
        else:
            self._offered = Offered(catalogue)

    def _go_on_with(self, before: Callable[[], Catalogue | None]) -> None:
        problems = self._offered.held_back
        try:
            self._offered = Offered(before(), problems)
        except ConfigurationError as error:
            self._offered = Offered(None, (*problems, *error.problems))

    def _fingerprint(self) -> Fingerprint:
        return tuple(_stamp(file) for file in self._files)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def watch_catalogue(settings: Settings, clock: Callable[[], float] = time.monotonic) -> CatalogueWatch:
    """Watches `actions.yaml` and `journeys.yaml` of the settings, which may have been loaded with mistakes in them.

    Where they are mistaken from the start, the catalogue that the workspace used last goes on.
    """
    actions, journeys = settings.config_dir / "actions.yaml", settings.config_dir / "journeys.yaml"
    around, versions = settings.surroundings, CatalogueVersions(settings)
    return CatalogueWatch(
        (actions, journeys),
        lambda: load_catalogue(actions, journeys, around, time.time_ns() // 1000),
        versions.remember,
        versions.newest,
        clock,
    )
