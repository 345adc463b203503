"""The log of served vectors: what is in it is exact, and nothing that goes wrong with it reaches a request."""

from __future__ import annotations

import asyncio
import math
import shutil
import struct
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from feature_repo.linear_model import LinearModel, Term
from feature_repo.model_inputs import ModelInputs
from feature_repo.served import FeatureList, LostVectors, Record, ServedVector, decode_line, encode_line
from pipelines.events.exclusion import nothing_taken
from pipelines.identity.store import open_identity
from pipelines.served_log import draw, lines_of, log_files
from pipelines.settings import Settings, Workspace, load_settings
from serving import served_log
from serving.api import request_id
from serving.api.errors import ApiError
from serving.champion import Champion
from serving.predictor import Prediction, Read
from serving.served_log import ServedLog
from serving.served_records import Moment, ShadowModel

NUMBERS = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)
)


def settings_of(checkout: Path, **profile: float) -> Settings:
    loaded = load_settings()
    log = loaded.profile.served_log.model_copy(update=profile)
    settings = replace(loaded, profile=loaded.profile.model_copy(update={"served_log": log}))
    return replace(settings, workspace=Workspace("served", checkout))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


# log-odds = 0.5 + 2 * (sign(a) log(1 + |a|)) - 1 where b is empty
MODEL = LinearModel(("a", "b"), 0.5, (Term("a", "signed_log", 2.0, 0.0), Term("b", "is_empty", -1.0, 0.0)))
CHAMPION = Champion("churn", "7", ModelInputs(("a", "b"), ("a", "b")), "0123", {}, MODEL)


def shadow_of_twice(champion: Champion) -> list[ShadowModel]:
    """A challenger that says twice the first feature."""
    return [ShadowModel(champion.model, "8", lambda features: (2.0 * features[:, 0], np.full(len(features), 0.5)))]


def add(log: ServedLog, number: int, customers: Sequence[str] = ("c1",), named: str = "request") -> None:
    request_id.current.set(f"{named}-{number}")
    read = Read([number, None], 10 + number, 3)
    log.add(CHAMPION, served_log.now(), 1000 + number, [Prediction(who, 0.25, None, None, read) for who in customers])


def logged(settings: Settings) -> list[Record | None]:
    return [decode_line(line) for file in log_files(settings.workspace.served) for line in lines_of(file)]


def vectors(settings: Settings) -> list[ServedVector]:
    return [record for record in logged(settings) if isinstance(record, ServedVector)]


@given(st.lists(NUMBERS, max_size=8), st.floats(0, 1), st.integers(-(2**62), 2**62), st.text(max_size=10))
def test_values_are_read_back_to_the_last_bit(
    values: list[int | float | str | None], score: float, as_of: int, who: str
) -> None:
    vector = ServedVector("r", who, 1, as_of, 2, 3, "id", values, score, -score, [score])
    found = decode_line(encode_line(vector))
    assert isinstance(found, ServedVector)
    assert found == vector
    assert [bits(value) for value in found.values] == [bits(value) for value in values]


def bits(value: object) -> object:
    return struct.pack("<d", value) if isinstance(value, float) else (type(value), value)


@given(st.binary(max_size=80))
def test_a_line_of_anything_is_no_record_or_one(line: bytes) -> None:
    assert isinstance(decode_line(line), Record | None)


def test_what_a_prediction_was_made_from_is_in_the_log(settings: Settings) -> None:
    log = ServedLog(settings)
    add(log, 1, ["c1", "c2"])
    request_id.current.set("unknown")
    log.add(CHAMPION, served_log.now(), 5, [Prediction("nobody", None)])
    log.write()
    log.write()
    listed, *found = logged(settings)
    assert isinstance(listed, FeatureList)
    assert (listed.model, listed.version, listed.spec_hash, listed.features) == ("churn", "7", "0123", ("a", "b"))
    first, second = found
    assert isinstance(first, ServedVector)
    assert (first.request_id, first.customer_id, first.as_of, first.position, first.revision, first.probability) == (
        "request-1", "c1", 1001, 11, 3, 0.25,
    )  # fmt: skip
    assert (list(first.values), first.reads) == ([1, None], listed.id)
    assert isinstance(second, ServedVector)
    assert second.customer_id == "c2"
    assert log_files(settings.workspace.served)[0].stat().st_mode & 0o077 == 0


def test_score_contributions_and_context_are_in_the_log(settings: Settings) -> None:
    log = ServedLog(settings)
    features = np.array([[3.0, np.nan], [5.0, 1.0]])
    scores, parts = CHAMPION.scores(features).tolist(), CHAMPION.contributions(features).tolist()
    plain, explained = Read([3, None], 1, 0), Read([5, 1], 2, 0)
    log.add(CHAMPION, served_log.now(), 5, [Prediction("c1", 0.1, None, None, plain)], {"channel": "web", "cart": 7})
    log.add(CHAMPION, served_log.now(), 5, [Prediction("c2", 0.2, None, (), explained, scores[1], parts[1])])
    log.write()
    first, second = vectors(settings)
    assert (first.score, first.contributions, first.context) == (scores[0], None, {"channel": "web", "cart": 7})
    assert (second.score, second.contributions, second.context) == (scores[1], parts[1], {})
    assert (log.written, log.lost) == (2, 0)


def test_a_challenger_is_asked_in_batches_and_off_the_request(settings: Settings) -> None:
    asked: list[int] = []

    def shadow_of(champion: Champion) -> list[ShadowModel]:
        asked.append(threading.get_ident())
        return shadow_of_twice(champion)

    log = ServedLog(settings, shadow_of)
    for number in range(10):
        add(log, number, ["c1", "c2"])
    assert asked == []
    log.start()
    log.close()
    assert len(set(asked)) == len(asked) == 1 != threading.get_ident()
    assert [[(s.model, s.version, s.score, s.probability) for s in v.shadow] for v in vectors(settings)] == [
        [("churn", "8", 2.0 * number, 0.5)] for number in range(10) for _ in range(2)
    ]


def test_a_challenger_that_fails_costs_its_scores_and_nothing_else(settings: Settings) -> None:
    def failing(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        raise ValueError("no")

    def short(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        features[:] = 99.0
        return features[1:, 0], features[1:, 0]

    def shadow_of(champion: Champion) -> list[ShadowModel]:
        broken = [ShadowModel("churn", "9", failing), ShadowModel("churn", "10", short)]
        return [*broken, *shadow_of_twice(champion)]

    log = ServedLog(settings, shadow_of)
    add(log, 1, ["c1", "c2"])
    log.write()
    assert [[s.version for s in v.shadow] for v in vectors(settings)] == [["8"], ["8"]]
    assert [list(v.values) for v in vectors(settings)] == [[1, None], [1, None]]
    assert (log.written, log.lost, log.shadow_failed) == (2, 0, 4)


def test_a_durable_log_is_on_disk_before_the_answer(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, durable=True)
    log = ServedLog(settings)
    log.start()

    async def answer(number: int) -> bool:
        request_id.current.set(f"request-{number}")
        read = Read([number, None], 1, 0)
        await log.keep(CHAMPION, served_log.now(), 5, [Prediction("c1", 0.1, None, None, read)])
        return f"request-{number}" in {vector.request_id for vector in vectors(settings)}

    async def answers() -> list[bool]:
        return await asyncio.gather(*(asyncio.create_task(answer(number)) for number in range(50)))

    assert asyncio.run(answers()) == [True] * 50
    log.close()


def test_what_a_durable_log_cannot_keep_is_refused(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, durable=True, maximum_waiting=2)
    log = ServedLog(settings)

    def kept(count: int, began: Moment | None = None) -> Future[None]:
        reads = [Prediction("c1", 0.1, None, None, Read([1, 2], 1, 0)) for _ in range(count)]
        future = log.add(CHAMPION, began or served_log.now(), 5, reads)
        assert future is not None
        return future

    too_many = kept(3)
    with pytest.raises(ApiError, match="could not be logged") as refused:
        too_many.result(0)
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "2"})
    fits, before = kept(2), served_log.now()
    with nothing_taken(settings.workspace.erasure_lock):
        log.write()
        open_identity(settings).forget((), ("c1",), ())
    late = kept(1, before)
    log.write()
    shutil.rmtree(settings.workspace.served)
    settings.workspace.served.write_text("a file where the folder should be")
    full = kept(1)
    with pytest.raises(FileExistsError):
        log.write()
    assert all(isinstance(future.exception(0), ApiError) for future in (fits, late, full))
    assert (log.written, log.lost) == (0, 7)


def test_each_process_has_a_file_of_its_own_and_lists_features_once(settings: Settings) -> None:
    logs = [ServedLog(settings), ServedLog(settings)]
    for number in range(4):
        add(logs[number % 2], number)
        logs[number % 2].write()
    files = log_files(settings.workspace.served)
    assert len(files) == 2
    for file in files:
        assert [type(decode_line(line)) for line in lines_of(file)] == [FeatureList, ServedVector, ServedVector]


def test_what_does_not_fit_the_queue_is_lost_and_counted(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, maximum_waiting=3)
    log = ServedLog(settings)
    add(log, 1, [f"c{n}" for n in range(5)])
    log.write()
    add(log, 2)
    log.write()
    assert [vector.customer_id for vector in vectors(settings)] == ["c0", "c1", "c2", "c1"]
    assert [record.count for record in logged(settings) if isinstance(record, LostVectors)] == [2]
    assert (log.lost, draw(settings.workspace.served, 10, 1).lost) == (2, 2)


def test_a_disk_that_refuses_costs_vectors_and_nothing_else(settings: Settings) -> None:
    log = ServedLog(settings)
    settings.workspace.root.mkdir(parents=True)
    settings.workspace.served.write_text("a file where the folder should be")
    add(log, 1)
    with pytest.raises(FileExistsError):
        log.write()
    settings.workspace.served.unlink()
    add(log, 2)
    log.write()
    assert [vector.request_id for vector in vectors(settings)] == ["request-2"]
    assert draw(settings.workspace.served, 10, 1).lost == 1


def test_a_share_of_the_requests_is_chosen_by_their_ids(tmp_path: Path) -> None:
    chosen = []
    for share, place in ((0.3, "one"), (0.3, "two"), (0.6, "more")):
        settings = settings_of(tmp_path / place, share=share)
        log = ServedLog(settings)
        for number in range(1_000):
            add(log, number, ["c1", "c2"])
        log.write()
        chosen.append({vector.request_id for vector in vectors(settings)})
        assert len(vectors(settings)) == 2 * len(chosen[-1])
    assert chosen[0] == chosen[1] < chosen[2]
    assert math.isclose(len(chosen[0]), 300, abs_tol=60)


def test_a_share_of_zero_leaves_nothing(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, share=0.0)
    log = ServedLog(settings)
    log.start()
    add(log, 1)
    log.close()
    assert not settings.workspace.served.exists()


def test_the_thread_writes_and_leaves_nothing_at_the_end(settings: Settings) -> None:
    log = ServedLog(settings)
    log.start()
    for number in range(500):
        add(log, number)
    log.close()
    assert [vector.request_id for vector in vectors(settings)] == [f"request-{n}" for n in range(500)]


def test_old_files_are_removed(settings: Settings) -> None:
    folder, today = settings.workspace.served, datetime.now(UTC).date()
    folder.mkdir(parents=True)
    for age in (0, 30, 31, 400):
        (folder / f"{(today - timedelta(days=age)).isoformat()}-00000000.jsonl").touch()
    log = ServedLog(settings)
    log.write()
    assert [file.name[:10] for file in log_files(folder)] == [str(today - timedelta(days=30)), str(today)]


def test_nothing_read_before_an_erasure_ended_is_written_after_it(settings: Settings) -> None:
    identity = open_identity(settings)
    log = ServedLog(settings)
    add(log, 1)
    log.write()
    began = served_log.now()
    add(log, 2)
    with nothing_taken(settings.workspace.erasure_lock):
        log.write()
        assert [vector.request_id for vector in vectors(settings)] == ["request-1"]
        identity.forget((), ("c1",), ())
    log.write()
    # A request that took longer than the erasure: its features were read before.
    request_id.current.set("request-3")
    log.add(CHAMPION, began, 5, [Prediction("c1", 0.5, None, None, Read([1, 2], 1, 1))])
    add(log, 4)
    log.write()
    assert [vector.request_id for vector in vectors(settings)] == ["request-1", "request-4"]
    assert log.lost == 2


def test_a_sample_is_of_all_files_and_even(settings: Settings) -> None:
    logs = [ServedLog(settings) for _ in range(3)]
    for number in range(300):
        add(logs[number % 3], number)
    for log in logs:
        log.write()
    with log_files(settings.workspace.served)[0].open("ab") as file:
        file.write(b'{"kind":"served","request_id":"torn')
    drawn = draw(settings.workspace.served, 50, seed=4)
    assert (len(drawn.vectors), drawn.logged, drawn.unreadable, len(drawn.lists)) == (50, 300, 1, 1)
    assert len({vector.request_id for vector in drawn.vectors}) == 50
    assert (
        draw(settings.workspace.served, 50, seed=4).vectors
        == drawn.vectors
        != draw(settings.workspace.served, 50, seed=5).vectors
    )
    times = [0] * 300
    for seed in range(200):
        for vector in draw(settings.workspace.served, 30, seed).vectors:
            times[int(vector.request_id.removeprefix("request-"))] += 1
    # Each is expected 20 times; six standard deviations of the binomial around it.
    assert min(times) > 0
    assert max(times) < 20 + 6 * math.sqrt(20 * 0.9)
