"""The benchmarks run, at next to no size: figures come out, and nothing is said about how fast."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from tests.benchmarks.__main__ import main
from tests.benchmarks.ingest import compare_live, write_key
from tests.benchmarks.machine import describe
from tests.benchmarks.measure import Figure, interleave, line, slowest_of_a_hundred
from tests.benchmarks.parts import PARTS
from tests.benchmarks.place import TINY, Place, build
from tests.deep import only_deep


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with build(TINY) as made:
        yield made
    assert not made.settings.workspace.root.exists()


def check(figures: list[Figure]) -> None:
    assert figures[0].ratios == ()
    for figure in figures:
        assert all(value > 0 for value in (*figure.seconds, *figure.ratios))
        assert figure.name in line(figure)


@pytest.mark.parametrize(
    "part",
    [
        "load",
        "ingest-bulk",
        "identity",
        "online",
        "update",
        "build",
        "training",
        # A process that imports Feast.
        pytest.param("growth", marks=[pytest.mark.slow, only_deep]),
        pytest.param("history", marks=only_deep),
        # All steps of a training run, in a process.
        pytest.param("train", marks=[pytest.mark.slow, only_deep]),
        # A server, and processes that plan.
        pytest.param("decide", marks=[pytest.mark.slow, only_deep]),
        # Seven servers; ours and the stock way have to agree.
        pytest.param("serve", marks=pytest.mark.slow),
    ],
)
def test_a_part_gives_figures_beside_their_peer(place: Place, part: str) -> None:
    check(PARTS[part](place, TINY))


def test_live_events_are_taken(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving import ingestion
    from serving.service import CustomerTwin
    from tests.benchmarks.services import Empty

    monkeypatch.setattr(ingestion, "connect", lambda: ingestion.Ingestion(place.settings))
    monkeypatch.setenv("TWIN_WORKSPACE", place.settings.workspace.name)
    metrics = place.settings.workspace.root / "metrics"
    metrics.mkdir(exist_ok=True)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(metrics))
    login = (write_key(place), "")

    def posting(client: TestClient, path: str) -> Callable[[bytes], tuple[int, bytes]]:
        def post(body: bytes) -> tuple[int, bytes]:
            answer = client.post(path, content=body, auth=login, headers={"content-type": "application/json"})
            return answer.status_code, answer.content

        return post

    with TestClient(app=Empty.to_asgi()) as empty, TestClient(app=CustomerTwin.to_asgi()) as ours:
        servers = {"empty": [posting(empty, "/v1/predict")], "track": [posting(ours, "/v1/track")]}
        servers["batch"] = [posting(ours, "/v1/batch")] * 2
        figures = compare_live(place, TINY, servers)
    check(figures)
    assert len({figure.name for figure in figures}) == 6


def test_the_slowest_of_a_hundred() -> None:
    assert slowest_of_a_hundred([float(number) for number in range(100)]) == 98.0
    assert slowest_of_a_hundred([3.0, 1.0]) == 3.0


def test_ratios_are_of_the_same_round() -> None:
    pauses = iter([0.0, 0.0, 0.001, 0.002, 0.006, 0.003])
    figures = interleave("x", {"a": lambda: time.sleep(next(pauses)), "b": lambda: time.sleep(next(pauses))}, 2, 1, "y")
    # The second round runs backwards: a slept 1 and 3 ms, b 2 and 6.
    assert figures[1].ratios == tuple(b / a for a, b in zip(figures[0].seconds, figures[1].seconds, strict=True))
    assert figures[0].seconds[1] > 0.003
    assert figures[1].seconds[1] > 0.006


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--tiny", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["machine"]["cores"] == describe().cores
    assert {figure["part"] for figure in content["figures"]} == {"build"}


@pytest.mark.parametrize("arguments", [["nothing"], ["--rounds", "0"]])
def test_mistakes_are_said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "error" in capsys.readouterr().err
