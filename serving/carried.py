"""The champions that a Bento carries along, put into the model store of the workspace it serves."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from pipelines.model_store import MANIFEST_FILE, StoredModel, latest_file, stored_models
from pipelines.settings import CHECKOUT, Settings

logger = logging.getLogger("bentoml.twin")


def take_carried(settings: Settings, bento: Path = CHECKOUT.parent) -> None:
    """Make each model of the Bento the latest of the workspace's store that does not have its version yet.

    Does nothing where this code does not lie in a Bento. So a newer Bento brings its champion, and an older one that
    starts again takes nothing back. Several processes may do it at once. A failure is logged: what the store has is
    served.
    """
    if not (bento / "bento.yaml").is_file():
        return
    for model in stored_models(bento):
        try:
            _take(model, settings.workspace.bentoml_home)
        except OSError as error:
            logger.error("%s:%s of the Bento cannot be taken: %s", model.model, model.version, type(error).__name__)


def _take(model: StoredModel, home: Path) -> None:
    latest = latest_file(home, model.model)
    place = latest.parent / model.version
    if place.exists():
        if (place / MANIFEST_FILE).read_bytes() != (model.folder / MANIFEST_FILE).read_bytes():
            logger.warning("the store's %s:%s is another than that of the Bento", model.model, model.version)
        return
    latest.parent.mkdir(parents=True, exist_ok=True)
    made = home / f"carried-{os.getpid()}"
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(model.folder, made)
    try:
        made.rename(place)
    except OSError:
        shutil.rmtree(made)
        if place.exists():
            # Another worker was faster.
            return
        raise
    pointer = home / f"latest-{os.getpid()}"
    pointer.write_text(model.version, encoding="utf-8")
    pointer.replace(latest)
