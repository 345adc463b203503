"""The service under another profile than the checkout's, in processes of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.settings import CHECKOUT


@contextmanager
def service_profile(folder: Path, ingestion: dict[str, Any] | None = None, **service: Any) -> Iterator[None]:
    """The profile `local`, changed in these places, for what reads settings and for processes that are started."""
    configs = Path(shutil.copytree(CHECKOUT / "configs", folder / "configs"))
    file = configs / "profiles" / "local.yaml"
    profile = yaml.safe_load(file.read_text())
    profile["service"] |= service
    profile["ingestion"] |= ingestion or {}
    file.write_text(yaml.safe_dump(profile))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWIN_CONFIG_DIR", str(configs))
        yield
