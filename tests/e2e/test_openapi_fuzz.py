"""Calls that are made up from the API's page, good and bad ones, against the real service: it keeps what it promises.

`make fuzz` makes more of them, others each time (`TWIN_FUZZ_EXAMPLES` a route).
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.access import Keys
from pipelines.privacy import ENVIRONMENT_KEY, new_key
from pipelines.settings import Workspace
from serving.api.openapi import api_page
from tests.e2e.live_service import LiveService, live_service
from tests.e2e.profiled import service_profile

pytestmark = pytest.mark.slow
EXAMPLES = int(os.environ.get("TWIN_FUZZ_EXAMPLES", "0"))
# A fault of the server is looked for below: 503 `model_missing` is none.
CHECKS = (
    "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "unsupported_method", "allow_header_conformance",
    "ignored_auth",
)  # fmt: skip
# The profile of these tests asks for no key there.
FREE = {"POST /v1/predict", "POST /v1/predict_many", "POST /v1/decide"}
PAGE = api_page()
SCOPES = ("ingest", "predict", "read", "review", "admin")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """A service that knows the customers of the page's examples, with time enough for a busy machine."""
    patch = pytest.MonkeyPatch()
    patch.setenv(ENVIRONMENT_KEY, new_key())
    folder = tmp_path_factory.mktemp("fuzz")
    try:
        with (
            service_profile(folder, timeout_seconds=60),
            live_service(Workspace(f"test-fuzz-{os.getpid()}")) as service,
        ):
            service.check_well("first")
            for customer in ("17850", "13047"):
                assert service.track(f"of-{customer}", customer).status_code == 200
            person = {"messageId": "m-0", "userId": "somchai", "traits": {"email": "somchai@example.com"}}
            assert service.client.post("/v1/identify", json=person).status_code == 200
            yield service
    finally:
        patch.undo()


def test_every_answer_is_one_that_the_page_promises(live: LiveService, tmp_path: Path) -> None:
    keys = Keys(live.workspace.access)
    key = keys.create("fuzz", SCOPES, "web", "THB", purposes=["profiling"], legal_basis="contract")[1]
    shown = ("--header", f"Authorization: Bearer {key}")
    statuses = seen(fuzz(live, tmp_path, *shown, phases="examples,coverage,fuzzing", examples=EXAMPLES or 5))
    assert statuses.keys() == {f"{method.upper()} {path}" for path, item in PAGE["paths"].items() for method in item}
    # Else a schema may promise what nobody has looked at.
    without = sorted(route for route, found in statuses.items() if 200 not in found)
    assert without == []
    check_well_afterwards(live)


def test_who_shows_no_key_is_told_so_and_nothing_else(live: LiveService, tmp_path: Path) -> None:
    statuses = seen(fuzz(live, tmp_path, phases="examples,fuzzing", examples=EXAMPLES or 2))
    asked = {route for route in statuses if route.startswith("POST") and route not in FREE}
    assert len(asked) >= 16
    assert all(401 in statuses[route] and statuses[route] <= {400, 401, 405, 415} for route in asked), statuses
    check_well_afterwards(live)


def fuzz(live: LiveService, place: Path, *options: str, phases: str, examples: int) -> Path:
    """Run Schemathesis over all routes; its report, in JSON lines. Fails with what it found."""
    page, report = place / "page.json", place / "report.ndjson"
    page.write_text(json.dumps(closed(live.client.get("/docs.json").json())))
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(page), "--url", live.server.url()]
    command += ["--phases", phases, "--checks", ",".join(CHECKS), "--max-examples", str(examples)]
    command += ["--continue-on-failure", "--generation-database", "none", "--no-color", "--warnings", "off"]
    command += ["--report", "ndjson", "--report-ndjson-path", str(report), *options]
    command += [] if EXAMPLES else ["--seed", "1"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    return report


def closed(page: dict[str, Any]) -> dict[str, Any]:
    """The page with answers that may hold nothing that it does not name; clients are to take more."""
    for name, schema in page["components"]["schemas"].items():
        if "properties" in schema and not name.endswith(("Request", "Call", "Event")):
            schema.setdefault("additionalProperties", False)
    return page


def seen(report: Path) -> dict[str, set[int]]:
    """Which statuses each route answered."""
    found: dict[str, set[int]] = defaultdict(set)
    faults = []
    for line in report.read_text().splitlines():
        scenario = json.loads(line).get("ScenarioFinished")
        if scenario is not None:
            told = scenario["recorder"].get("interactions", {}).values()
            answers = [item["response"] for item in told]
            found[scenario["recorder"]["label"]] |= {answer["status_code"] for answer in answers}
            faults += [answer for answer in map(_content, answers) if answer["status"] >= 500]
    assert [fault for fault in faults if fault["code"] != "model_missing"] == []
    return found


def _content(answer: dict[str, Any]) -> dict[str, Any]:
    """Status, and code and message of an error."""
    if answer["status_code"] < 500:
        return {"status": answer["status_code"]}
    error = json.loads(base64.b64decode(answer["content"]["$base64"]))["error"]
    return {"status": answer["status_code"], "code": error["code"], "message": error["message"]}


def check_well_afterwards(live: LiveService) -> None:
    live.check_well("afterwards")
    assert [line for line in live.server.lines if "Traceback" in line or "internal_error" in line] == []
