"""`twin demo` on a small made-up retailer, and then every command that the README shows next, run for real."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipelines.cli.demo import running_service
from pipelines.settings import Workspace, load_settings
from tests.e2e.cli import quick_configs, throwaway_workspace, twin
from tests.e2e.readme import COMMANDS, CONVERSATION

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Demo:
    workspace: Workspace
    configs: Path
    output: str

    @property
    def customers(self) -> list[str]:
        asked = next(line for line in self.output.splitlines() if line.startswith("$ twin predict "))
        return shlex.split(asked)[3:-1]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    configs = quick_configs(tmp_path_factory.mktemp("demo"), trials=3, customers=900)
    with throwaway_workspace("demo") as workspace:
        ran = twin(workspace, "demo", config_dir=configs)
        assert ran.returncode == 0, ran.stderr
        yield Demo(workspace, configs, ran.stdout)


def test_it_ends_with_predictions_a_person_can_read(demo: Demo) -> None:
    assert "as champion: all gates passed" in demo.output
    answer = demo.output[demo.output.index("The service answers at") :]
    shown = [line for line in answer.splitlines() if "%" in line and ("█" in line or "·" in line)]
    assert len(shown) == len(demo.customers) == 4
    assert answer.count(" points  ") >= 8, "each with reasons in words"


def test_it_decides_for_one_whom_the_plan_contacts_and_for_one_whom_it_does_not(demo: Demo) -> None:
    answer = demo.output[demo.output.index("$ twin decide --all") :]
    assert "A plan only: nobody is contacted" in answer
    told = answer.split("\n$ twin decide ")[1:]
    assert len(told) == 2
    assert all("catalogue " in one and "chance " in one for one in told)


def test_it_shows_the_twin_of_one_whom_it_predicts(demo: Demo) -> None:
    told = demo.output[demo.output.index(f"$ twin show {demo.customers[0]}\n") :].splitlines()
    assert told[1].startswith(f"{demo.customers[0]}, as of ")
    assert {"stage", "relationship", "experience", "personas", "triggers"} <= {line.split(":")[0] for line in told}


def test_the_manifest_says_who_the_model_is_about(demo: Demo) -> None:
    served = json.loads((demo.workspace.artefacts("churn") / "registration.json").read_text())
    population = {"feature": "order_completed_days_since_last_lifetime", "at_most": 90.0}
    assert served["manifest"]["population"] == population


def test_the_readmes_questions_are_answered(demo: Demo) -> None:
    settings = replace(load_settings(demo.workspace.name), workspace=demo.workspace)
    customer = demo.customers[0]
    with running_service(settings) as url:
        asked = twin(demo.workspace, "predict", customer, "--reasons", "--url", url)
        assert asked.returncode == 0, asked.stderr
        assert customer in asked.stdout

        if shutil.which("curl"):
            _check_curl(url, customer)
        unknown = twin(demo.workspace, "predict", "nobody", "--url", url)
        assert "there is no such customer" in unknown.stdout
    assert "start it with: twin serve" in twin(demo.workspace, "predict", customer, "--url", url).stderr


def _check_curl(url: str, customer: str) -> None:
    line = next(line for line in COMMANDS if line.startswith("curl "))
    words = shlex.split(line.replace("localhost:3000", url).replace("C002959", customer))
    answer = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    assert 0 < answer["probability"] < 1
    assert answer["customer_id"] == customer
    assert answer["reasons"]


def test_the_readmes_conversation_is_had_as_shown(demo: Demo) -> None:
    settings = replace(load_settings(demo.workspace.name), workspace=demo.workspace)
    line = next(line for line in COMMANDS if "keys create" in line and "review" in line)
    created = twin(demo.workspace, *shlex.split(line)[3:])
    assert created.returncode == 0, created.stderr
    with running_service(settings) as url:
        said = conversation(url, created.stdout.split()[0])
    shown = CONVERSATION[1].splitlines()
    # What is declared and recorded is the same; numbers are those of a smaller demo.
    declared = [line for line in shown if line.startswith(("stage ", "experience ", "trigger ", "made again"))]
    assert len(declared) == 5
    assert [line for line in said if line.startswith(("stage ", "experience ", "trigger ", "made again"))] == declared
    assert [line.split()[0] for line in said if not line.startswith(" ")] == [
        line.split()[0] for line in shown if not line.startswith(" ")
    ]


def conversation(url: str, key: str) -> list[str]:
    """The lines that the README's client prints against the service at `url`."""
    code = CONVERSATION[0].replace("http://localhost:3000", url)
    environment = {**os.environ, "TWIN_API_KEY": key}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_the_report_is_where_it_says(demo: Demo) -> None:
    told = twin(demo.workspace, "report", "churn")
    page, card = map(Path, told.stdout.splitlines())
    assert page.read_text().startswith("<!doctype html>")
    assert card.read_text().startswith("# ")


def test_feast_has_the_workspaces_features(demo: Demo) -> None:
    applied = twin(demo.workspace, "features", "apply")
    assert "10 services" in applied.stdout


def test_what_was_served_is_what_the_events_give(demo: Demo) -> None:
    served = twin(demo.workspace, "features", "audit")
    assert served.returncode == 0, served.stdout + served.stderr
    assert " 0 different" in served.stdout
    states = twin(demo.workspace, "features", "audit", "--states", "--sample", "200", "--json")
    assert states.returncode == 0, states.stdout + states.stderr
    assert json.loads(states.stdout)["compared"] == 200


def test_the_demo_refuses_to_mix_with_real_customers(demo: Demo, tmp_path: Path) -> None:
    file = tmp_path / "retail.csv"
    file.write_text(
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
        "1,A,Thing,2,2011-01-03 10:00:00,1.50,17850.0,United Kingdom\n"
    )
    mixed = twin(demo.workspace, "ingest", "--source", "online_retail", str(file))
    assert mixed.returncode == 1
    assert "--workspace" in mixed.stderr, "pounds among baht are stopped, with a remedy"
    with throwaway_workspace("real") as real:
        assert twin(real, "ingest", "--source", "online_retail", str(file)).returncode == 0
        refused = twin(real, "demo", config_dir=demo.configs)
    assert refused.returncode == 1
    assert "a workspace of its own" in refused.stderr
