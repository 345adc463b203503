"""How a request was answered, written by the layers that know it and read by the outermost one."""

from __future__ import annotations

from starlette.types import Scope

NOTE = "twin.note"


class Note:
    """Of one request. `status` is 0 until an answer begins, `code` that of an error in the one shape."""

    __slots__ = ("code", "left", "route", "status")

    def __init__(self) -> None:
        self.status = 0
        self.code = ""
        self.left = False
        self.route = ""


def client_left(scope: Scope) -> None:
    """The client went away before it was answered."""
    note: Note | None = scope.get(NOTE)
    if note is not None:
        note.left = True
