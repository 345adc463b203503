"""Which version held which alias from when on, by whom and why: kept in the registry, and never rewritten.

An alias that somebody moves in MLflow itself is noticed when the model store follows it, or with the next move.
Each move is a tag of the registered model, `alias_move.<microseconds UTC>`, so that it stands beside the versions that
it is about, and two that move at once lose nothing of each other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient

from pipelines.access.audit import AuditLog, operating_user
from pipelines.one_at_a_time import one_at_a_time
from pipelines.settings import Settings
from pipelines.tracking import CHALLENGER, CHAMPION

How = Literal["register", "promote", "rollback", "challenge", "by_hand"]
_NOBODY = "unknown"
_TAG = "alias_move."
_LONGEST_REASON = 2000


@dataclass(frozen=True, slots=True)
class Move:
    """`version` got `alias` in place of `before`, or with None nobody has it any more.

    `time` is ISO 8601 in UTC, of a move by hand that when it was noticed. `failed` are gates it did not pass.
    """

    time: str
    how: How
    alias: str
    version: str | None
    before: str | None
    actor: str
    reason: str
    failed: tuple[str, ...]

    def text(self) -> str:
        """One line for a person."""
        before = f" (before: {self.before})" if self.before else ""
        gates = f", failed gates: {', '.join(self.failed)}" if self.failed else ""
        reason = f": {self.reason}" if self.reason else ""
        how = "by hand in MLflow" if self.how == "by_hand" else f"{self.how} by {self.actor}"
        return f"{self.time}  {self.alias} → {self.version or 'none'}{before}  {how}{gates}{reason}"


def move_alias(
    settings: Settings, client: MlflowClient, model: str, alias: str, version: str | None, before: str | None,
    how: How, reason: str = "", failed: Sequence[str] = (),
) -> Move:  # fmt: skip
    """Give the alias to a version, or to none: logged in the audit log first, then done, then kept in the registry.

    Raises:
        AuditDamaged: the audit log is not what was written; nothing is moved.
    """
    with one_at_a_time(_lock(settings)):
        _note_moves_by_hand(settings, client, model)
        move = _logged(settings, model, alias, version, before, how, operating_user(), reason, failed)
        if version is None:
            client.delete_registered_model_alias(model, alias)
        else:
            client.set_registered_model_alias(model, alias, version)
        return _kept(client, model, move)


def note_moves_by_hand(settings: Settings, client: MlflowClient, model: str) -> None:
    """Log and keep what somebody moved in MLflow itself since the last move that is known.

    Raises:
        AuditDamaged: the audit log is not what was written; nothing is kept.
    """
    with one_at_a_time(_lock(settings)):
        _note_moves_by_hand(settings, client, model)


def _note_moves_by_hand(settings: Settings, client: MlflowClient, model: str) -> None:
    registered = client.get_registered_model(model)
    known = holders(read_moves(registered.tags))
    for alias in (CHAMPION, CHALLENGER):
        present = registered.aliases.get(alias)
        version, before = None if present is None else str(present), known.get(alias)
        if version != before:
            _kept(client, model, _logged(settings, model, alias, version, before, "by_hand", _NOBODY))


def _lock(settings: Settings) -> Path:
    return settings.workspace.root / "aliases.lock"


def _logged(
    settings: Settings, model: str, alias: str, version: str | None, before: str | None, how: How, actor: str,
    reason: str = "", failed: Sequence[str] = (),
) -> Move:  # fmt: skip
    said = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    move = Move(said, how, alias, version, before, actor, reason[:_LONGEST_REASON], tuple(failed))
    details = {name: value for name, value in asdict(move).items() if name not in ("time", "actor")}
    AuditLog(settings.workspace.audit).append(f"model.{how}", move.actor, f"model:{model}", details)
    return move


def _kept(client: MlflowClient, model: str, move: Move) -> Move:
    said = json.dumps(asdict(move), ensure_ascii=False)
    client.set_registered_model_tag(model, f"{_TAG}{time.time_ns() // 1000:017d}", said)
    return move


def read_moves(tags: Mapping[str, Any]) -> list[Move]:
    """The moves among the tags of a registered model, the oldest first."""
    found = [json.loads(tags[name]) for name in sorted(tags) if name.startswith(_TAG)]
    return [Move(**{**move, "failed": tuple(move["failed"])}) for move in found]


def holders(moves: Sequence[Move]) -> dict[str, str | None]:
    """The version that held each alias after `moves`, or None."""
    return {move.alias: move.version for move in moves}


def taken_back(moves: Sequence[Move], version: str) -> bool:
    """Whether a person, and not a better model, took the alias of the champion from this version.

    Who moves it in MLflow says nothing of why.
    """
    last = next((move for move in reversed(moves) if move.alias == CHAMPION and move.before == version), None)
    return last is not None and last.how not in ("register", "by_hand")


def line_of_champions(moves: Sequence[Move], present: str | None) -> list[str]:
    """Versions that were champion and were not rolled back from, the present one last.

    A promotion adds to the line; a rollback takes away what came after the version it went back to. A `present` that no
    move led to had the alias given by hand in MLflow.
    """
    line: list[str] = []
    for move in moves:
        if move.alias != CHAMPION or move.version is None:
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
