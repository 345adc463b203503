"""A command and all processes under it, watched: what it printed when, and the memory and processor they took."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_EVERY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Used:
    """By all processes together, `at` seconds after the begin: resident megabytes, and seconds of processor so far.

    Pages that processes share count in each.
    """

    at: float
    megabytes: float
    processor: float


@dataclass(frozen=True, slots=True)
class Watched:
    """What a command printed, each line with the seconds since its begin, and what it used meanwhile."""

    seconds: float
    lines: tuple[tuple[float, str], ...]
    used: tuple[Used, ...]

    def peak(self, begin: float, end: float) -> float:
        """The most megabytes between two instants; where nobody looked between them, those at the end."""
        return max((seen.megabytes for seen in self.used if begin <= seen.at <= end), default=self._at(end).megabytes)

    def processor(self, begin: float, end: float) -> float:
        """Seconds of processor between two instants."""
        return max(0.0, self._at(end).processor - self._at(begin).processor)

    def _at(self, instant: float) -> Used:
        return min(self.used, key=lambda seen: abs(seen.at - instant))


def watch(command: Sequence[str], environment: Mapping[str, str]) -> Watched:
    """Run `command` to its end.

    Raises:
        RuntimeError: it failed; with the end of what it wrote to its error output.
    """
    began = time.monotonic()
    used: list[Used] = []
    lines: list[tuple[float, str]] = []
    errors: list[bytes] = []
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        reading = [
            threading.Thread(target=lambda out: errors.extend(out), args=[process.stderr]),
            threading.Thread(
                target=lambda out: lines.extend((time.monotonic() - began, line.decode().rstrip()) for line in out),
                args=[process.stdout],
            ),
        ]
        for thread in reading:
            thread.start()
        while process.poll() is None:
            used.append(Used(time.monotonic() - began, *_use_of(process.pid)))
            time.sleep(_EVERY_SECONDS)
        seconds = time.monotonic() - began
        for thread in reading:
            thread.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {b''.join(errors).decode()[-4000:]}")
    return Watched(seconds, tuple(lines), tuple(used))


def _use_of(process: int) -> tuple[float, float]:
    """Megabytes, and seconds of processor, of `process` and all that it started; of who ended meanwhile 0."""
    folder = Path(f"/proc/{process}")
    try:
        # After the name of the program, which may hold spaces; the third field comes first then.
        fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        tasks = [task / "children" for task in (folder / "task").iterdir()]
        children = {int(child) for task in tasks for child in task.read_text(encoding="utf-8").split()}
    except (FileNotFoundError, ProcessLookupError):
        return 0.0, 0.0
    under = [_use_of(child) for child in children]
    # utime, stime, and those of children that ended: fields 14 to 17; resident pages: 24.
    processor = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    megabytes = int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return megabytes + sum(use[0] for use in under), processor + sum(use[1] for use in under)
