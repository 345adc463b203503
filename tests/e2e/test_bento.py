"""A Bento that was built here serves elsewhere: without the checkout, over a workspace that the environment names."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from pipelines.bento import LOCK, build_bento, requirements
from pipelines.privacy import ENVIRONMENT_KEY
from pipelines.settings import CHECKOUT, Workspace, load_settings
from tests.e2e.cli import throwaway_workspace
from tests.e2e.live_service import furnish

pytestmark = pytest.mark.slow

CUSTOMER = "customer-of-the-test-7431"


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    with throwaway_workspace("bento") as made:
        yield made


@pytest.fixture(scope="module")
def write_key(workspace: Workspace) -> str:
    return furnish(workspace)[1]


@pytest.fixture(scope="module")
def bento(workspace: Workspace, write_key: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Bento, copied away from where it was built."""
    built = build_bento(load_settings(workspace.name))
    assert built.models == ["churn:5"]
    assert 2_000_000 < built.size_bytes < 20_000_000
    place = tmp_path_factory.mktemp("elsewhere") / "bento"
    shutil.copytree(built.folder, place)
    return place


class Elsewhere:
    """`bentoml serve BENTO` on what is as good as another machine: another folder, no checkout, no PYTHONPATH."""

    def __init__(self, bento: Path, home: Path, port: int, workspace: str) -> None:
        self.python = python_without_the_checkout(home / "python")
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(home), "TWIN_HOME": str(home), "TWIN_WORKSPACE": workspace,
            ENVIRONMENT_KEY: os.environ[ENVIRONMENT_KEY], "BENTOML_DO_NOT_TRACK": "True",
        }  # fmt: skip
        self.home = home
        self.log = home / "service.log"
        command = [str(self.python), "-m", "bentoml", "serve", str(bento), "--port", str(port)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=home, env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)

    def knows_the_checkout(self) -> bool:
        """Whether its Python finds the program where no Bento is."""
        asked = subprocess.run(
            [str(self.python), "-c", "import serving"],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert asked.returncode == 0 or "ModuleNotFoundError" in asked.stderr
        return asked.returncode == 0

    def folders_of_workers(self) -> set[Path]:
        """Where BentoML's workers are, which is where they import the service from."""
        started = psutil.Process(self.process.pid).children(recursive=True)
        return {Path(one.cwd()) for one in started if any("_bentoml_impl.worker" in part for part in one.cmdline())}

    def wait_until_up(self) -> None:
        until = time.monotonic() + 90
        while True:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            try:
                self.client.get("/livez")
                return
            except httpx.TransportError:
                time.sleep(0.1)

    def post(self, path: str, body: dict[str, Any], key: str = "") -> httpx.Response:
        answer = self.client.post(path, json=body, auth=(key, ""))
        until = time.monotonic() + 60
        # The first event imports engines; on a busy machine that takes longer than an answer may.
        while answer.status_code == 504 and time.monotonic() < until:
            answer = self.client.post(path, json=body, auth=(key, ""))
        return answer

    def stop(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            workers = psutil.Process(self.process.pid).children(recursive=True)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                for process in [*workers, psutil.Process(self.process.pid)]:
                    process.kill()


def python_without_the_checkout(folder: Path) -> Path:
    """A Python with the packages that are installed here, but for the editable install of this program."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # Of a folder that is added like this no .pth file is read, and the finder of an editable install is one.
    (folder / "lib" / version / "site-packages" / "packages.pth").write_text(f"{Path(httpx.__file__).parents[1]}\n")
    return folder / "bin" / "python"


def files_of(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def test_it_holds_nothing_of_this_machine_and_of_no_customer(bento: Path, workspace: Workspace, write_key: str) -> None:
    places = [str(CHECKOUT), sys.prefix, str(Path.home()), "/twin-bento-", workspace.name]
    forbidden = [*places, write_key, os.environ[ENVIRONMENT_KEY]]
    found = [
        (str(file.relative_to(bento)), text)
        for file in files_of(bento)
        for text in forbidden
        if text.encode() in file.read_bytes()
    ]
    assert found == []
    endings = {file.suffix for file in files_of(bento)}
    assert endings <= {".py", ".yaml", ".md", ".json", ".jinja", ".lgb", ".txt", ".in", ".sh", ""}, endings


def test_its_requirements_are_pinned_as_the_lock_file_pins_them(bento: Path) -> None:
    pinned = set(LOCK.read_text().split())
    told = (bento / "src" / "requirements.txt").read_text().split()
    assert told == requirements()
    assert set(told) <= pinned
    names = {line.split("==")[0] for line in told}
    assert {"bentoml", "lightgbm", "deltalake", "duckdb", "redis", "psycopg"} <= names
    assert not names & {"pytest", "hypothesis", "ruff", "pyspark"}


def test_it_serves_elsewhere(bento: Path, workspace: Workspace, write_key: str, tmp_path: Path, free_port: int) -> None:
    home = tmp_path / "data"
    there = home / ".twin" / workspace.name
    there.mkdir(parents=True)
    # All that a machine needs of a workspace: who may call. The model comes with the Bento.
    shutil.copy(workspace.access, there)
    running = Elsewhere(bento, home, free_port, workspace.name)
    try:
        running.wait_until_up()
        order = {"order_id": "o-1", "total": 12.5, "currency": "THB"}
        event = {"messageId": "m-1", "userId": CUSTOMER, "event": "Order Completed", "properties": order}
        answer = running.post("/v1/track", event, write_key)
        assert answer.status_code == 200, answer.text
        predicted = running.post("/v1/predict", {"customer_id": CUSTOMER, "reasons": True})
        assert predicted.status_code == 200, predicted.text
        assert predicted.json()["model_version"] == "5"
        assert predicted.json()["reasons"]
        decided = running.post("/v1/decide", {"customer_id": CUSTOMER, "decision_id": "d-1"})
        assert decided.status_code == 200, decided.text
        assert running.client.get("/readyz").status_code == 200
        assert not running.knows_the_checkout()
        assert running.folders_of_workers() == {bento.resolve() / "src"}
    finally:
        running.stop()
    assert "Traceback" not in running.log.read_text()
    assert (there / "journal.db").exists()
    assert not (bento / "src" / ".twin").exists()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
