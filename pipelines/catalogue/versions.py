"""The catalogues that decisions were made with, each by its hash, so that an old decision can be made again.

One JSON file a version in `.twin/<workspace>/catalogues/`, and the hash of the newest in `newest`. They hold rules,
names and texts, and nothing of any customer.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from feature_repo.configuration import ConfigurationError, Problem, parse
from pipelines.catalogue.model import Catalogue
from pipelines.settings import Settings
from pipelines.settings.catalogue import check_content, compile_content
from pipelines.settings.catalogue_compile import CatalogueContent


class CatalogueVersions:
    """Nothing is ever removed. Threads and processes may share the folder."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.workspace.catalogues
        self._around = settings.surroundings

    def remember(self, catalogue: Catalogue) -> None:
        """Keep what the catalogue was compiled from, and that it is the newest. To be called before it decides."""
        if not (self._folder / f"{catalogue.hash}.json").exists():
            kept = {"first_seen": time.time_ns() // 1000, "content": json.loads(catalogue.content)}
            self._write(f"{catalogue.hash}.json", json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        self._write("newest", catalogue.hash)

    def find(self, catalogue_hash: str) -> Catalogue | None:
        """The catalogue as it was, or None where it was never used here. Nothing in it counts as expired.

        Raises:
            ConfigurationError: its file cannot be read, or has something else than its name says.
        """
        content = self._content(catalogue_hash)
        if content is None:
            return None
        found = compile_content(content)
        if found.hash != catalogue_hash:
            raise ConfigurationError([_damaged(f"{catalogue_hash}.json", f"content of the hash {found.hash}")])
        return found

    def newest(self) -> Catalogue | None:
        """The one that was remembered last, or None where there is none, or the configuration lacks what it needs.

        Raises as `find`.
        """
        name = self._read("newest")
        content = None if name is None else self._content(name)
        return None if name is None or content is None or check_content(content, self._around) else self.find(name)

    def _content(self, catalogue_hash: str) -> CatalogueContent | None:
        file = f"{catalogue_hash}.json"
        text = self._read(file) if catalogue_hash.isalnum() else None
        if text is None:
            return None
        try:
            kept: Any = json.loads(text)["content"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError([_damaged(file, type(error).__name__)]) from None
        return parse(kept, CatalogueContent, file)

    def _read(self, name: str) -> str | None:
        """None where there is no such file."""
        try:
            return (self._folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError([_damaged(name, type(error).__name__)]) from None

    def _write(self, name: str, text: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # Two may write the same version at once, each a file of its own.
        partial = self._folder / f"{name}.{os.getpid()}.{time.monotonic_ns()}.partial"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, self._folder / name)


def _damaged(file: str, got: str) -> Problem:
    hint = "decisions made with it cannot be made again; put the file back from a backup"
    return Problem("file", "a version of the catalogue", got, hint, file)
