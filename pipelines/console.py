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
