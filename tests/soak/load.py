"""Load in two ways: as fast as a few clients can (what is the most), and by a timetable (how long does one wait).

By a timetable a call counts from the time it was due, whether or not a connection was free to send it. So a service
that stops for a second shows a second's wait to all that were due in it, and not to the few that were on their way.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.soak.calls import Call
from tests.soak.http import Connection

Make = Callable[[int], Call]
Connect = Callable[[], Connection]


@dataclass(slots=True)
class Heard:
    """Seconds waited by kind, what went wrong (with how often), and the ids of acknowledged events."""

    waited: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    acknowledged: list[str] = field(default_factory=list)

    def note(self, made: Call, status: int, content: bytes, seconds: float) -> None:
        self.waited.setdefault(made.kind, []).append(seconds)
        if status != 200:
            self.errors[f"{made.kind}: {status} {_code(content)}"] += 1
        elif b'"error":{' in content:
            self.errors[f"{made.kind}: an item with the error {_code(content)}"] += 1
        else:
            self.acknowledged += made.events

    @property
    def calls(self) -> int:
        return sum(map(len, self.waited.values()))


def _code(content: bytes) -> str:
    """The code of the first error in an answer, else what came in its place."""
    found = re.search(rb'"code": ?"(\w+)"', content)
    return (found.group(1) if found else content[:100]).decode(errors="replace")


async def closed_loop(make: Make, connect: Connect, clients: int, seconds: float) -> tuple[Heard, float]:
    """`clients` that each send the next call once the last is answered; with calls a second."""
    heard, numbers = Heard(), iter(range(10**12))
    began = time.perf_counter()

    async def client() -> None:
        connection = connect()
        while time.perf_counter() < began + seconds:
            await _send(connection, make(next(numbers)), heard, time.perf_counter())
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return heard, heard.calls / (time.perf_counter() - began)


async def timetable(make: Make, connect: Connect, connections: int, rate: float, seconds: float) -> Heard:
    """`rate` calls a second, evenly, whatever becomes of those before."""
    heard, numbers = Heard(), iter(range(int(rate * seconds)))
    began = time.perf_counter()

    async def client() -> None:
        connection = connect()
        for number in numbers:
            due = began + number / rate
            await asyncio.sleep(due - time.perf_counter())
            await _send(connection, make(number), heard, due)
        connection.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    return heard


async def _send(connection: Connection, made: Call, heard: Heard, due: float) -> None:
    try:
        status, content = await connection.post(made.path, made.body)
    except (OSError, EOFError, ValueError, IndexError) as error:
        status, content = 0, type(error).__name__.encode()
    heard.note(made, status, content, time.perf_counter() - due)
