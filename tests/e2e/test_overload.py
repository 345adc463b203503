"""The service under more than it can do: bursts, slow or vanishing clients, and more connections than it takes."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import httpx
import pytest

from pipelines.settings import Workspace
from tests.e2e.live_service import LiveService, check_error, live_service
from tests.e2e.profiled import service_profile
from tests.metrics import value

pytestmark = pytest.mark.slow

LIMIT, CLIENTS, CONNECTIONS = 16, 200, 300
# Above the limit of connections these are still answered.
RESERVE = 64
MANY = {"customer_ids": ["good"] * 200}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    limits = {"maximum_concurrency": LIMIT, "maximum_connections": CONNECTIONS, "client_seconds": 4.0}
    # Whoever is let in ends, also on a busy machine.
    profile = service_profile(tmp_path_factory.mktemp("overload"), timeout_seconds=120.0, **limits)
    with profile, live_service(Workspace(f"test-overload-{os.getpid()}")) as made:
        made.check_well("first")
        yield made
        made.check_well("last")


def metric(service: LiveService, name: str, **labels: str) -> float:
    return value(service.client.get("/metrics").text, name, **labels)


def wait_for(service: LiveService, name: str, number: float, **labels: str) -> None:
    until = time.monotonic() + 60
    while (found := metric(service, name, **labels)) != number:
        assert time.monotonic() < until, f"{name} is {found}"
        time.sleep(0.05)


def test_a_burst_is_answered_or_told_to_come_again(service: LiveService) -> None:
    refused = metric(service, "twin_requests_rejected_total", reason="overload")

    async def burst() -> list[httpx.Response]:
        unlimited = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=service.server.url(), timeout=120, trust_env=False, limits=unlimited
        ) as client:
            asked = [asyncio.create_task(client.post("/v1/predict_many", json=MANY)) for _ in range(CLIENTS)]
            # How the service is can be asked all the while.
            for path in ("/livez", "/readyz", "/metrics") * 3:
                assert (await client.get(path)).status_code == 200
            return await asyncio.gather(*asked)

    answers = asyncio.run(burst())
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}, statuses
    for answer in answers:
        if answer.status_code == 429:
            assert check_error(answer)["code"] == "too_many_requests"
            assert int(answer.headers["retry-after"]) >= 1
        else:
            assert len(answer.json()["results"]) == len(MANY["customer_ids"])
    assert metric(service, "twin_requests_rejected_total", reason="overload") - refused == statuses[429]
    assert metric(service, "twin_requests_in_flight") == 0


def address(service: LiveService) -> tuple[str, int]:
    url = httpx.URL(service.server.url())
    return url.host, url.port or 0


def read_to_end(connection: socket.socket) -> bytes:
    connection.settimeout(60)
    parts = []
    with suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def test_a_connection_that_nobody_used_ends_without_words(service: LiveService) -> None:
    with closing(socket.create_connection(address(service))) as connection:
        assert read_to_end(connection) == b""
    wait_for(service, "twin_connections_closed_total", 1, reason="unused")


def read_answer(connection: socket.socket) -> bytes:
    """One answer with all of its body, which may come in several parts."""
    got = b""
    while (end := got.find(b"\r\n\r\n")) < 0:
        got += connection.recv(65_536)
    length = int(got[:end].lower().split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])
    while len(got) < end + 4 + length:
        got += connection.recv(65_536)
    return got


@pytest.mark.parametrize("head", [b"\r\n", b"POST /v1/predict HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_that_does_not_come_ends_the_connection(service: LiveService, head: bytes) -> None:
    with closing(socket.create_connection(address(service))) as connection:
        connection.sendall(head)
        answer = read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer


def test_a_connection_that_was_used_does_not_linger_over_half_a_head(service: LiveService) -> None:
    with closing(socket.create_connection(address(service))) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"GET /li")
        assert b"HTTP/1.1 408 " in read_to_end(connection)


def test_a_head_that_grows_is_cut_off(service: LiveService) -> None:
    sent = 0
    with closing(socket.create_connection(address(service))) as connection, suppress(ConnectionError):
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n")
        for number in range(10_000):
            connection.sendall(b"X-%d: %s\r\n" % (number, b"a" * 8_000))
            sent += 8_000
    assert sent < 20_000_000
    wait_for(service, "twin_connections_closed_total", 1, reason="large_head")


def test_a_body_that_comes_after_its_answer_is_no_head(service: LiveService) -> None:
    head = b"POST /v1/none HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    body = b"a" * 1_000_000
    with closing(socket.create_connection(address(service), timeout=60)) as connection:
        connection.sendall(head % len(body) + body[:10])
        assert read_answer(connection).startswith(b"HTTP/1.1 404")
        connection.sendall(body[10:])
        # The next answer is that of the next request.
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(connection).startswith(b"HTTP/1.1 200")


def test_a_client_that_does_not_read_its_answer_is_cut_off(service: LiveService) -> None:
    body = b'{"customer_ids": [%s], "reasons": true}' % b",".join([b'"good"'] * 1000)
    head = b"POST /v1/predict_many HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(address(service))
        # One behind the other: more than the system keeps for a client.
        connection.sendall((head % len(body) + body) * 4)
        wait_for(service, "twin_connections_closed_total", 1, reason="unread_answer")
    wait_for(service, "twin_requests_in_flight", 0)


def test_a_client_that_vanishes_leaves_its_place(service: LiveService) -> None:
    left = metric(service, "twin_request_seconds_count", route="/v1/track", status="left")
    for _ in range(2 * LIMIT):
        with closing(socket.create_connection(address(service))) as connection:
            connection.sendall(b"POST /v1/track HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
    wait_for(service, "twin_request_seconds_count", left + 2 * LIMIT, route="/v1/track", status="left")
    assert metric(service, "twin_requests_in_flight") == 0


def test_connections_are_bounded(service: LiveService) -> None:
    predict = {"customer_id": "good"}
    with ExitStack() as held:
        refused = None
        # They live for seconds: this one asks while they do.
        for _ in range(CONNECTIONS + RESERVE + 50):
            with suppress(ConnectionError):
                held.enter_context(closing(socket.create_connection(address(service))))
        until = time.monotonic() + 60
        while refused is None and time.monotonic() < until:
            for _ in range(CONNECTIONS):
                with suppress(ConnectionError):
                    held.enter_context(closing(socket.create_connection(address(service))))
            with suppress(httpx.TransportError):
                answer = service.client.post("/v1/predict", json=predict)
                refused = answer if answer.status_code == 429 else None
        assert refused is not None
        assert check_error(refused)["code"] == "too_many_requests"
        assert refused.headers["retry-after"]
        assert refused.headers["connection"] == "close"
        alive = None
        while alive is None and time.monotonic() < until:
            # Beyond the reserve a connection is cut off, until held ones end.
            with suppress(httpx.TransportError):
                alive = service.client.get("/livez")
        assert alive is not None
        assert alive.status_code == 200
    assert metric(service, "twin_connections_closed_total", reason="too_many") > 0
    wait_for(service, "twin_connections_open", 1)
    assert service.client.post("/v1/predict", json=predict).status_code == 200
