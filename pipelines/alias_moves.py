"""Which version held which alias from when on, by whom and why: kept in the registry, and never rewritten.

Each move is a tag of the registered model, `alias_move.<microseconds UTC>`, so that it stands beside the versions that
it is about, and two that move at once lose nothing of each other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from mlflow import MlflowClient

from pipelines.access.audit import AuditLog, operating_user
from pipelines.settings import Settings
from pipelines.tracking import CHAMPION

How = Literal["register", "promote", "rollback"]
_TAG = "alias_move."
_LONGEST_REASON = 2000


@dataclass(frozen=True, slots=True)
class Move:
    """`version` got `alias` in place of `before`; `time` is ISO 8601 in UTC. `failed` are gates it did not pass."""

    time: str
    how: How
    alias: str
    version: str
    before: str | None
    actor: str
    reason: str
    failed: tuple[str, ...]

    def text(self) -> str:
        """One line for a person."""
        before = f" (before: {self.before})" if self.before else ""
        gates = f", failed gates: {', '.join(self.failed)}" if self.failed else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.time}  {self.alias} → {self.version}{before}  {self.how} by {self.actor}{gates}{reason}"


def move_alias(
    settings: Settings, client: MlflowClient, model: str, alias: str, version: str, before: str | None,
    how: How, reason: str = "", failed: Sequence[str] = (),
) -> Move:  # fmt: skip
    """Give the alias to a version: logged in the audit log first, then done, then kept in the registry.

    Raises:
        AuditDamaged: the audit log is not what was written; nothing is moved.
    """
    now = time.time_ns() // 1000
    said = datetime.fromtimestamp(now / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    move = Move(said, how, alias, version, before, operating_user(), reason[:_LONGEST_REASON], tuple(failed))
    details = {name: value for name, value in asdict(move).items() if name not in ("time", "actor")}
    AuditLog(settings.workspace.audit).append(f"model.{how}", move.actor, f"model:{model}", details)
    client.set_registered_model_alias(model, alias, version)
    client.set_registered_model_tag(model, f"{_TAG}{now:017d}", json.dumps(asdict(move), ensure_ascii=False))
    return move


def read_moves(tags: Mapping[str, Any]) -> list[Move]:
    """The moves among the tags of a registered model, the oldest first."""
    found = [json.loads(tags[name]) for name in sorted(tags) if name.startswith(_TAG)]
    return [Move(**{**move, "failed": tuple(move["failed"])}) for move in found]


def taken_back(moves: Sequence[Move], version: str) -> bool:
    """Whether a person, and not a better model, took the alias of the champion from this version."""
    last = next((move for move in reversed(moves) if move.alias == CHAMPION and move.before == version), None)
    return last is not None and last.how != "register"


def line_of_champions(moves: Sequence[Move], present: str | None) -> list[str]:
    """Versions that were champion and were not rolled back from, the present one last.

    A promotion adds to the line; a rollback takes away what came after the version it went back to. A `present` that no
    move led to had the alias given by hand in MLflow.
    """
    line: list[str] = []
    for move in moves:
        if move.alias != CHAMPION:
            continue
        if move.how == "rollback":
            while line and line[-1] != move.version:
                line.pop()
        elif move.before is not None and (not line or line[-1] != move.before):
            line.append(move.before)
        if not line or line[-1] != move.version:
            line.append(move.version)
    if present is not None and (not line or line[-1] != present):
        line.append(present)
    return line
