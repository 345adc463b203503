"""Predictions of a real service, made again from its log to the last bit; the full size is `make predictions-test`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from pipelines.served_log import log_files, served_in
from pipelines.state_build import build_state
from tests.e2e.cli import throwaway_workspace, twin
from tests.e2e.live_service import furnish
from tests.live_predictions.served import serve_and_replay
from tests.made_up_lake import Made, write_lake
from tests.unit.serving_parts import Shop

CUSTOMERS = 30


@pytest.fixture(scope="module")
def shop() -> Iterator[tuple[Shop, str]]:
    """A champion, and customers with some history in the lake."""
    with throwaway_workspace("replayed") as workspace:
        made, key = furnish(workspace)
        orders = [
            Made(f"c{number}", "Order Completed", 3.0 + (17 * number + 23 * at) % 97, "web", 10_000 + 61 * number + at)
            for number in range(CUSTOMERS)
            for at in range(1 + number % 5)
        ]
        write_lake(workspace, orders)
        build_state(made.settings)
        yield made, key


def test_what_a_service_answered_is_made_again_and_found(shop: tuple[Shop, str]) -> None:
    settings, key = shop[0].settings, shop[1]
    shown = serve_and_replay(settings, key, ["churn"], 300)
    assert shown.passed, shown.text()
    assert shown.explained > 30
    assert shown.events > 0

    done = twin(settings.workspace, "predictions", "replay", "--sample", "50")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "50 answered again by their version" in done.stdout
    last = max((vector for vector, _ in served_in(log_files(settings.workspace.served))), key=lambda v: v.served_at)
    newest = json.loads(twin(settings.workspace, "predictions", "list", "--limit", "1", "--json").stdout)
    assert newest["predictions"][0]["served_at"] >= json.loads(
        twin(settings.workspace, "predictions", "show", last.request_id, "--json").stdout
    )["predictions"][0]["served_at"]  # fmt: skip
    # The clock is that of the data: what was asked before the first live event has outcomes, the rest waits for them.
    happened = twin(settings.workspace, "predictions", "outcomes", "churn")
    assert happened.returncode == 0, happened.stderr
    assert "wait for the end of their horizon" in happened.stdout

    file = log_files(settings.workspace.served)[0]
    line = next(line for line in file.read_text().splitlines() if '"kind":"served"' in line)
    file.write_text(file.read_text().replace(line, re.sub(r'"score":[^,}]+', '"score":0.125', line, count=1)))
    broken = twin(settings.workspace, "predictions", "replay")
    assert broken.returncode == 1
    assert "score: served 0.125" in broken.stdout
