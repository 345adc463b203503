"""A Bento: code, configuration, pinned requirements and champions in one folder, which serves without the checkout.

    bento.yaml, apis/, env/    BentoML's own
    src/                       feature_repo, pipelines, serving, configs
    models/<model>/<version>   the champions, in the layout of BentoML's model store

Nothing of a customer is in it: states, journal, keys and identity stay where TWIN_HOME says.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import yaml
from packaging.requirements import Requirement

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.model_store import StoredModel, stored_models
from pipelines.settings import CHECKOUT, Settings
from pipelines.settings.workspace import HOME_VARIABLE

DEFINITION = CHECKOUT / "serving" / "bentofile.yaml"
LOCK = CHECKOUT / "requirements.lock"
_CODE = ("feature_repo", "pipelines", "serving")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*")


@dataclass(frozen=True, slots=True)
class BuiltBento:
    """`models` are tags, such as `churn:3`; `size_bytes` is of all files together."""

    tag: str
    folder: str
    models: list[str]
    size_bytes: int

    def text(self) -> str:
        carried = ", ".join(self.models) or "no model"
        return (
            f"{self.tag}: {self.size_bytes / 1e6:.1f} MB with {carried}\n{self.folder}\n"
            f"serve it anywhere: {HOME_VARIABLE}=/folder/of/data TWIN_WORKSPACE=... bentoml serve {self.folder}"
        )


def build_bento(settings: Settings) -> BuiltBento:
    """Build the Bento `customer_twin` with the champions of the workspace's model store, into its BentoML store.

    Raises:
        UserError: BentoML refuses, or there is no lock file to pin the requirements by.
    """
    home = settings.workspace.bentoml_home
    models = [model for model in stored_models(home) if model.spec_hash is not None]
    with tempfile.TemporaryDirectory(prefix="twin-bento-") as made:
        context = Path(made)
        _lay_out(context, settings.config_dir, models)
        tag = _build(context, home)
    name, version = tag.split(":")
    folder = home / "bentos" / name / version
    for model in models:
        _carry(model, folder / "models")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return BuiltBento(tag, str(folder), [f"{model.model}:{model.version}" for model in models], size)


def _lay_out(context: Path, config_dir: Path, models: list[StoredModel]) -> None:
    """What the Bento is built from, and nothing else of the checkout."""
    for folder in _CODE:
        shutil.copytree(CHECKOUT / folder, context / folder, ignore=_LEFT_OUT)
    shutil.copytree(config_dir, context / "configs", ignore=_LEFT_OUT)
    (context / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements()), encoding="utf-8")
    definition = yaml.safe_load(DEFINITION.read_text(encoding="utf-8"))
    definition["models"] = [f"{model.model}:{model.version}" for model in models]
    (context / "bentofile.yaml").write_text(yaml.safe_dump(definition, sort_keys=False), encoding="utf-8")


def _build(context: Path, home: Path) -> str:
    """The tag of what `bentoml build` made of `context`, whose code it imports: so in a process of its own."""
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ, "BENTOML_HOME": str(home), "PYTHONPATH": str(context), HOME_VARIABLE: str(context / "data"),
        "TWIN_CONFIG_DIR": str(context / "configs"), "TWIN_PROFILE": "local", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "bentoml", "build", str(context), "--output", "tag"]
    done = subprocess.run(command, cwd=context, env=environment, capture_output=True, text=True, check=False)
    told = re.search(r"__tag__:(\S+)", done.stdout)
    if done.returncode != 0 or told is None:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise UserError("the Bento was not built", [Problem("bentoml build", "a Bento", *(last or ["nothing"]))])
    return told.group(1)


def _carry(model: StoredModel, store: Path) -> None:
    """BentoML only notes which models a Bento needs; a machine without this workspace's store needs their files."""
    folder = store / model.model
    shutil.copytree(model.folder, folder / model.version)
    (folder / "latest").write_text(model.version, encoding="utf-8")


def requirements() -> list[str]:
    """What serving needs, pinned as the lock file pins it: the project's own requirements and those of `server`.

    Raises:
        UserError: there is no lock file.
    """
    try:
        lines = LOCK.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        problem = Problem(LOCK.name, "the lock file of the checkout", type(error).__name__, "make lock")
        raise UserError("the requirements of a Bento cannot be pinned", [problem]) from None
    pinned = {_plain(line.split("==")[0]): line for line in lines if "==" in line}
    wanted, seen = [Requirement("customer-twin[server]")], set[tuple[str, str]]()
    while wanted:
        requirement = wanted.pop()
        for extra in ("", *sorted(requirement.extras)):
            key = (_plain(requirement.name), extra)
            if key not in seen:
                seen.add(key)
                wanted += _needed(requirement.name, extra)
    return sorted(pinned[name] for name in {name for name, _ in seen} if name in pinned)


def _needed(name: str, extra: str) -> list[Requirement]:
    """The direct requirements of an installed package: those without an extra, or those of one."""
    try:
        told = distribution(name).requires or []
    except PackageNotFoundError:
        # For another platform or Python.
        return []
    found = [Requirement(line) for line in told]
    without = [each for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]
    if not extra:
        return without
    return [each for each in found if each.marker is not None and each.marker.evaluate({"extra": extra})]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
