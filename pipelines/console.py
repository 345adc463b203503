"""What a person sees: progress of long work, and errors that say how to go on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from feature_repo.configuration import Problem


class UserError(Exception):
    """Something the user can mend. Printed without a stack trace; `problems` says what and how."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        self.message = message
        self.problems = tuple(problems)
        super().__init__("\n  ".join([message, *map(str, self.problems)]))


# What the operating system says of a disk or a file, in whichever library's error it comes.
_STORAGE = {
    "No space left on device": "the disk is full; make room and run the same command again",
    "database or disk is full": "the disk is full; make room and run the same command again",
    # All that SQLite says where a write failed.
    "disk I/O error": "the disk would not read or write; see whether it has room, and a file may grow (ulimit -f)",
    "Disk quota exceeded": "your share of the disk is used up; make room and run the same command again",
    "Read-only file system": "the disk can only be read; work in a checkout that can be written",
    "Permission denied": "you may not read or write a file here; check who owns it and its permissions",
    "File too large": "a file may not grow that large here; raise the limit (ulimit -f)",
    "Too many open files": "too many files are open; raise the limit (ulimit -n)",
}


def storage_failure(error: BaseException) -> UserError | None:
    """What the person can do where the disk, not the program, is at fault; None for any other error."""
    text = f"{error} {error.strerror}" if isinstance(error, OSError) else str(error)
    remedy = next((told for said, told in _STORAGE.items() if said in text), None)
    if remedy is None:
        return None
    place = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
    return UserError(remedy + place)


@contextmanager
def progress(description: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """Show a bar on stderr with an estimate of what is left; yields `advance(amount)`.

    `total` is in the caller's unit (rows, trials, seconds); None where it is not known. Where stderr
    is not a terminal, one line at the start and one at the end are printed instead of a bar.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(file=sys.stderr)
    if not console.is_terminal:
        with _plain(description, total) as advance:
            yield advance
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(description, total=total)
        yield lambda amount: bar.advance(task, amount)


@contextmanager
def _plain(description: str, total: float | None) -> Iterator[Callable[[float], None]]:
    """Lines at each tenth of the work, with an estimate of what is left."""
    import time

    began = time.monotonic()
    done = 0.0
    told = 0

    def advance(amount: float) -> None:
        nonlocal done, told
        done += amount
        tenth = int(10 * done / total) if total else 0
        if tenth <= told or tenth >= 10:
            return
        told = tenth
        elapsed = time.monotonic() - began
        left = elapsed * (total or 0.0) / done - elapsed
        print(f"{description}: {tenth * 10} %, about {left:.0f} s left", file=sys.stderr, flush=True)

    print(f"{description} ...", file=sys.stderr, flush=True)
    yield advance
    print(f"{description}: done in {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
