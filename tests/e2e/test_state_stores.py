"""Redis or PostgreSQL with the states goes away under a service, hangs, forgets, and comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
import redis

from pipelines.cli.features import build_state
from pipelines.events.opening import event_store
from tests.e2e.live_service import check_error
from tests.e2e.state_place import HISTORY, Client, StatePlace, state_place
from tests.servers import OwnPostgres, OwnRedis, OwnServer

pytestmark = pytest.mark.slow


@dataclass
class Place:
    """A server of the test's own with the states, and a service."""

    own: OwnServer
    states: StatePlace
    service: Client


@pytest.fixture(scope="module", params=["redis", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    own = OwnRedis(tmp_path_factory.mktemp("redis")) if request.param == "redis" else OwnPostgres()
    own.start()
    try:
        with state_place(request.param, own.url, tmp_path_factory.mktemp("place")) as states:
            yield Place(own, states, states.serve())
    finally:
        own.end()


def told_to_come_again(answer: httpx.Response) -> bool:
    if answer.status_code != 503:
        return False
    error = check_error(answer)
    assert error["code"] == "state_unavailable"
    assert error["details"]
    assert int(answer.headers["retry-after"]) >= 1
    return True


def well(service: Client) -> bool:
    """Whether it is ready and predicts; if not, it has to say so."""
    ready, predicted = service.get("/readyz"), service.predict(HISTORY[0])
    assert predicted.status_code == 200 or told_to_come_again(predicted), predicted.text
    return ready.status_code == 200 and predicted.status_code == 200


def test_killed_under_the_service_nothing_is_lost_and_no_restart_is_needed(place: Place) -> None:
    service = place.service
    assert service.predict(HISTORY[0]).status_code == 200
    assert service.track("k0", HISTORY[1]).status_code == 200
    workers = service.server.workers()
    place.own.kill()
    for _ in range(2):
        assert told_to_come_again(service.predict(HISTORY[0]))
        assert told_to_come_again(service.track("k1", HISTORY[1]))
        assert told_to_come_again(service.get("/readyz"))
    assert told_to_come_again(service.track("k2", "newcomer"))
    assert service.get("/livez").status_code == 200
    place.own.start()
    service.wait_until(lambda: well(service))
    # The journal holds what could not be folded, and it was folded without anybody sending it again.
    place.states.assert_states_are_right()
    assert service.predict("newcomer").status_code == 200
    assert service.track("k1", HISTORY[1]).json()["duplicates"] == 1
    with event_store(place.states.settings) as store:
        names = [name for name in store.read()["event_id"].to_pylist() if not name.startswith("history")]
    assert sorted(names) == ["k0", "k1", "k2"]
    assert service.server.workers() == workers


def test_one_that_hangs_is_not_waited_for(place: Place) -> None:
    service = place.service
    place.own.hang()
    try:
        began = time.monotonic()
        assert told_to_come_again(service.predict(HISTORY[0]))
        assert time.monotonic() - began < place.states.settings.profile.service.timeout_seconds
        assert told_to_come_again(service.track("h1", HISTORY[2]))
        assert told_to_come_again(service.get("/readyz"))
        assert service.get("/livez").status_code == 200
    finally:
        place.own.go_on()
    service.wait_until(lambda: well(service))
    assert service.track("h1", HISTORY[2]).status_code == 200
    place.states.assert_states_are_right()


def test_a_service_that_starts_while_it_is_away_goes_on_when_it_is_back(place: Place) -> None:
    place.states.end_services()
    place.own.kill()
    service = place.service = place.states.serve()
    assert told_to_come_again(service.get("/readyz"))
    assert told_to_come_again(service.predict(HISTORY[0]))
    assert told_to_come_again(service.track("s1", HISTORY[3]))
    place.own.start()
    service.wait_until(lambda: well(service))
    assert service.track("s1", HISTORY[3]).status_code == 200
    place.states.assert_states_are_right()


@pytest.mark.parametrize("place", ["redis"], indirect=True, scope="module")
def test_emptied_it_is_not_taken_for_customers_without_events(place: Place) -> None:
    assert isinstance(place.own, OwnRedis)
    service = place.service
    redis.Redis.from_url(place.own.url).flushall()
    assert told_to_come_again(service.predict(HISTORY[0]))
    assert told_to_come_again(service.get("/readyz"))
    # The journal takes events; states made of those alone would lack the history in the lake.
    assert service.track("e1", HISTORY[0]).status_code == 200
    assert service.track("e2", "second newcomer").status_code == 200
    for customer in (*HISTORY, "second newcomer", "nobody"):
        assert told_to_come_again(service.predict(customer))
    assert build_state(place.states.settings).moved >= 2
    service.wait_until(lambda: well(service))
    assert service.predict("second newcomer").status_code == 200
    assert service.predict("nobody").status_code == 404
    assert service.track("e3", HISTORY[0]).status_code == 200
    place.states.assert_states_are_right()
