"""Looking up what was served: by customer, model and time, the newest first, as the files are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from feature_repo.served import ServedVector, encode_line, feature_list
from pipelines.console import UserError
from pipelines.events.journal import NewEvent
from pipelines.events.opening import event_store
from pipelines.identity.current import current_membership
from pipelines.predictions.query import Wanted, ids_of, instant, list_predictions, show_prediction
from pipelines.served_log import log_files
from pipelines.settings import Settings, Workspace, load_settings

CHURN, CONVERSION = feature_list("churn", "1", "0123", ["a"]), feature_list("conversion", "2", "0123", ["b"])
HOUR = 3_600_000_000
NOON = instant("2026-06-02T12:00", "x")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Two days and two processes; every hour a prediction of c0, c1 or c2 in turn, of both models in turn."""
    made = replace(load_settings(), workspace=Workspace("query", tmp_path))
    made.workspace.served.mkdir(parents=True)
    files: dict[str, list[bytes]] = {}
    for number in range(48):
        at = NOON - (47 - number) * HOUR
        name = f"{'2026-06-01' if number < 36 else '2026-06-02'}-{number % 2:08}.jsonl"
        reads = (CHURN, CONVERSION)[number % 2]
        vector = ServedVector(
            f"r{number}", f"c{number % 3}", at, at, number, 0, reads.id, [number], 0.5, 0.0, [0.0, 0.0]
        )
        files.setdefault(name, [encode_line(CHURN), encode_line(CONVERSION)]).append(encode_line(vector))
    for name, lines in files.items():
        (made.workspace.served / name).write_bytes(b"".join(lines) + b'{"kind":"served","torn')
    return made


def requests(settings: Settings, limit: int = 1_000, **wanted: object) -> list[str]:
    found = list_predictions(settings, Wanted(**wanted), limit).predictions  # type: ignore[arg-type]
    return [str(one["request_id"]) for one in found]


def test_the_newest_come_first(settings: Settings) -> None:
    assert requests(settings) == [f"r{number}" for number in reversed(range(48))]
    assert requests(settings, 15) == [f"r{number}" for number in reversed(range(33, 48))]


def test_customer_model_and_time_narrow_it(settings: Settings) -> None:
    assert requests(settings, customers={"c1"}, model="churn") == [f"r{n}" for n in reversed(range(48)) if n % 6 == 4]
    assert requests(settings, since=NOON - 3 * HOUR, until=NOON) == ["r46", "r45", "r44"]
    assert requests(settings, model="nothing") == []
    assert "No prediction of that kind" in list_predictions(settings, Wanted(model="nothing"), 5).text()


def test_one_request_is_shown_with_names(settings: Settings) -> None:
    (one,) = show_prediction(settings, "r5").predictions
    assert (one["model"], one["version"], one["values"], one["contributions"]) == ("conversion", "2", {"b": 5}, [0, 0])
    assert one["served_at"] == "2026-05-31T18:00:00.000000Z"
    assert "with reasons: 1 contributions" in show_prediction(settings, "r5").text()
    with pytest.raises(UserError, match="not in the log"):
        show_prediction(settings, "nothing")


def test_an_instant_is_iso_and_utc() -> None:
    assert instant("2026-06-02T19:00+07:00", "x") == instant("2026-06-02T12:00:00Z", "x") == NOON
    with pytest.raises(UserError, match="which instant"):
        instant("yesterday", "--since")


def test_a_customer_is_found_by_any_id_they_had(settings: Settings) -> None:
    def seen(name: str, user: str | None) -> NewEvent:
        return NewEvent("online_retail", name, "Page Viewed", NOON, NOON, "web", user, "browser-1")

    with event_store(settings) as store:
        store.journal.append([seen("1", None), seen("2", "c1")])
    current_membership(settings)
    assert {"c1", "~anonymous_id:browser-1"} <= ids_of(settings, "c1")
    file = log_files(settings.workspace.served)[0]
    before = ServedVector("as nobody", "~anonymous_id:browser-1", NOON, NOON, 1, 0, CHURN.id, [1], 0.5, 0.0)
    file.write_bytes(encode_line(CHURN) + encode_line(before))
    assert "as nobody" in requests(settings, customers=ids_of(settings, "c1"))
    assert ids_of(settings, "gone") == {"gone"}
