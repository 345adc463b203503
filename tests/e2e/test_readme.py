"""The README's commands exist and take what it shows; `test_demo` and `test_online_retail` run them."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from pipelines.settings import CHECKOUT
from tests.e2e.cli import throwaway_workspace, twin
from tests.e2e.readme import COMMANDS

TARGETS = sorted({line.split()[1] for line in COMMANDS if line.startswith("make ")})
TWIN_COMMANDS = [line for line in COMMANDS if line.startswith("twin ")]
GROUPS = ("sources", "features", "keys", "state", "actions")


def test_the_first_screen_has_the_two_commands() -> None:
    assert COMMANDS[:2] == ["make demo", "make test"]


def test_no_command_goes_unlooked_at() -> None:
    assert [line for line in COMMANDS if not line.startswith(("make ", "twin ", "curl "))] == []


@pytest.mark.parametrize("target", TARGETS)
def test_make_targets_exist(target: str) -> None:
    planned = subprocess.run(["make", "--dry-run", target], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert planned.returncode == 0, planned.stderr


@pytest.mark.parametrize("line", TWIN_COMMANDS)
def test_commands_have_the_options_shown(line: str) -> None:
    words = shlex.split(line)[1:]
    if words[0] == "--workspace":
        words = words[2:]
    path = words[:2] if words[0] in GROUPS else words[:1]
    with throwaway_workspace("readme") as workspace:
        shown = twin(workspace, *path, "--help")
    assert shown.returncode == 0, shown.stderr
    assert [word for word in words if word.startswith("--") and word not in shown.stdout] == []


def test_features_list_runs_as_shown() -> None:
    with throwaway_workspace("readme") as workspace:
        listed = twin(workspace, "features", "list", "--service", "churn")
    assert listed.returncode == 0
    assert "number of orders in the last 30 days" in listed.stdout
