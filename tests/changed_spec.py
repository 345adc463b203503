"""The project's configuration, and the same with a changed feature spec: one window is another, one feature is new."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from feature_repo.configuration import load_yaml
from feature_repo.spec_file import SpecFile, compile_spec
from pipelines.settings import CHECKOUT, Settings, Workspace, load_settings

_CHANGES = (
    ("count, windows: [7d, 30d, 90d, 365d, lifetime]", "count, windows: [7d, 14d, 90d, 365d, lifetime]"),
    ("max, of: value, windows: [90d, lifetime]", "max, of: value, windows: [30d, 90d, lifetime]"),
)
ADDED = ("order_completed_count_14d", "order_completed_value_max_30d")
REMOVED = ("order_completed_count_30d",)


def copied_configs(folder: Path) -> Path:
    """The checkout's configuration, to be changed."""
    return Path(shutil.copytree(CHECKOUT / "configs", folder))


def change_features(configs: Path) -> None:
    """Change `features.yaml`, as a person does who edits it, and what the churn model says of a feature that goes."""
    model, file = configs / "models" / "churn.yaml", configs / "features.yaml"
    lines = model.read_text(encoding="utf-8").splitlines(keepends=True)
    model.write_text("".join(line for line in lines if line.split(":")[0].strip() not in REMOVED), encoding="utf-8")
    text = file.read_text(encoding="utf-8")
    for old, new in _CHANGES:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


def restore_features(configs: Path) -> None:
    for file in ("features.yaml", "models/churn.yaml"):
        shutil.copyfile(CHECKOUT / "configs" / file, configs / file)


def plain_settings(checkout: Path, configs: Path) -> Settings:
    """Settings of a workspace of its own, with a configuration of its own, which is copied to `configs`."""
    workspace = Workspace("test", checkout=checkout)
    return replace(_loaded(), config_dir=copied_configs(configs), workspace=workspace)


def changed_content() -> SpecFile:
    """The content of the changed spec."""
    with TemporaryDirectory() as folder:
        configs = copied_configs(Path(folder) / "configs")
        change_features(configs)
        return load_yaml(configs / "features.yaml", SpecFile)


def changed_settings(settings: Settings, configs: Path) -> Settings:
    """`settings` with the changed spec, configured in `configs`."""
    change_features(copied_configs(configs))
    content = load_yaml(configs / "features.yaml", SpecFile)
    return replace(settings, config_dir=configs, spec_file=content, features=compile_spec(content))


@lru_cache(maxsize=1)
def _loaded() -> Settings:
    return load_settings()
