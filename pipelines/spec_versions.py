"""The versions of the feature spec that a workspace has seen, each by its hash: `.twin/<workspace>/specs/`.

They hold names of features and events, and nothing of any customer.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_repo.configuration import ConfigurationError, Problem, parse
from feature_repo.spec import FeatureSpec
from feature_repo.spec_content import compile_content
from feature_repo.spec_file import SpecFile
from pipelines.settings import Settings


@dataclass(frozen=True, slots=True)
class SpecVersion:
    """What one version was compiled from. `first_seen` is int64 microseconds UTC."""

    hash: str
    first_seen: int
    content: SpecFile

    def compiled(self) -> FeatureSpec:
        """Raises ConfigurationError where the content compiles to another hash."""
        return compile_content(self.content, self.hash, f"{self.hash}.json")


class SpecVersions:
    """One JSON file a version; nothing is ever removed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def remember(self, spec_hash: str, content: SpecFile) -> None:
        """Keep the content of a version. It is written where it is new, or says other words or services than before."""
        try:
            known = self.get(spec_hash)
        except ConfigurationError:
            known = None
        if known is not None and known.content == content:
            return
        first_seen = time.time_ns() // 1000 if known is None else known.first_seen
        plain = content.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps({"first_seen": first_seen, "content": plain}, indent=1, sort_keys=True, ensure_ascii=False)
        self._folder.mkdir(parents=True, exist_ok=True)
        # Two may write the same version at once, each a file of its own.
        partial = self._folder / f"{spec_hash}.{os.getpid()}.partial"
        partial.write_text(text + "\n", encoding="utf-8")
        os.replace(partial, self._folder / f"{spec_hash}.json")

    def get(self, spec_hash: str) -> SpecVersion | None:
        """The version, or None where it was never seen here.

        Raises:
            ConfigurationError: its file cannot be read.
        """
        file = self._folder / f"{spec_hash}.json"
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return _version(spec_hash, text, file.name)

    def all(self) -> list[SpecVersion]:
        """Every version, those first seen first. Raises as `get`."""
        names = sorted(file.stem for file in self._folder.glob("*.json"))
        found = [version for name in names if (version := self.get(name)) is not None]
        return sorted(found, key=lambda version: version.first_seen)


def _version(spec_hash: str, text: str, file: str) -> SpecVersion:
    try:
        raw: Any = json.loads(text)
        first_seen, content = int(raw["first_seen"]), raw["content"]
    except (ValueError, KeyError, TypeError) as error:
        hint = "remove it; it is written again when these states are built, or its model is registered"
        problem = Problem("file", "a version of the spec", type(error).__name__, hint, file)
        raise ConfigurationError([problem]) from None
    return SpecVersion(spec_hash, first_seen, parse(content, SpecFile, file))


def content_behind(settings: Settings, spec_hash: str) -> SpecFile | None:
    """What the spec with this hash was compiled from: the configuration, else what the workspace has seen; or None.

    Raises:
        ConfigurationError: what the workspace has cannot be read.
    """
    if spec_hash == settings.features.hash:
        return settings.spec_file
    version = SpecVersions(settings.workspace.specs).get(spec_hash)
    return None if version is None else version.content
