"""Whether a server answers: after a failure callers are refused at once, until a thread of its own got an answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from feature_repo.state.storage import StateUnavailable

_ASK_EVERY_SECONDS = 0.25


class Availability:
    """One server's. Thread-safe.

    A call to a server that hangs takes its whole time-out. Only the first caller waits that long: a service that
    answers on one thread would else do nothing but wait.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[], object],
        errors: tuple[type[Exception], ...],
        is_away: Callable[[Exception], bool],
    ) -> None:
        """`ask` raises while the server does not answer; `errors` are its client's, of which `is_away` tells those."""
        self._name, self._ask, self._errors, self._is_away = name, ask, errors, is_away
        self._away: str | None = None
        self._changing = threading.Lock()

    @contextmanager
    def needed(self) -> Iterator[None]:
        """Around each call. Raises StateUnavailable, which names the kind of the error: its text may hold values."""
        if self._away is not None:
            raise StateUnavailable(self._words(self._away))
        try:
            yield
        except self._errors as error:
            kind = type(error).__name__
            if self._is_away(error):
                self._fail(kind)
            raise StateUnavailable(self._words(kind)) from error

    def _words(self, kind: str) -> str:
        return f"{self._name} cannot be used now ({kind}); try again later"

    def _fail(self, kind: str) -> None:
        with self._changing:
            if self._away is None:
                self._away = kind
                threading.Thread(target=self._wait, name=f"{self._name} watch", daemon=True).start()

    def _wait(self) -> None:
        pause = threading.Event()
        while not pause.wait(_ASK_EVERY_SECONDS):
            try:
                self._ask()
            except self._errors:
                continue
            self._away = None
            return
