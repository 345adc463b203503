"""Commands about the outbox: what triggers set off, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.configuration import ConfigurationError, Problem
from pipelines.cli.output import AsJson, as_text, plain, settings_of
from pipelines.console import UserError

if TYPE_CHECKING:
    from pipelines.outbox import Message, Outbox

outbox = typer.Typer(help="Messages that triggers set off.", no_args_is_help=True)
_Id = Annotated[str, typer.Argument(metavar="ID", help="its id, as in `twin outbox list`")]
_STATES = ("waiting", "sent", "cancelled", "failed", "kept")


def register_commands(app: typer.Typer) -> None:
    app.add_typer(outbox, name="outbox")


@outbox.command("list")
def list_command(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help=f"only those in this state: {', '.join(_STATES)}")] = None,
    trigger: Annotated[str | None, typer.Option(help="only those of this trigger")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many")] = 100,
    json: AsJson = False,
) -> None:
    """Messages by the time that they were made, the oldest first.

    Example: twin outbox list --state failed
    """
    from pipelines.outbox import Filter

    if state is not None and state not in _STATES:
        raise ConfigurationError([Problem("--state", f"one of: {', '.join(_STATES)}", repr(state))])
    with _opened(context) as opened:
        found = [] if opened is None else opened.messages(Filter(None, state, trigger), limit)  # type: ignore[arg-type]
    print(as_text(_shown(context, found)) if json else "\n".join(map(_line, found)) or "no messages")


@outbox.command("show")
def show_command(context: typer.Context, name: _Id, json: AsJson = False) -> None:
    """One message with all that it says.

    Example: twin outbox show msg_0cc175b9c0f1b6a831c399e269772661
    """
    with _opened(context) as opened:
        message = None if opened is None else opened.find(name)
    if message is None:
        raise _unknown()
    (told,) = _shown(context, [message])
    print(as_text(told) if json else f"{_line(message)}\n{as_text(told['payload'])}")


@outbox.command("retry")
def retry_command(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="ID", help="a message that failed or was cancelled")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="all that failed")] = False,
    json: AsJson = False,
) -> None:
    """Send messages again, with attempts counted anew. An endpoint that wanted no more is asked again.

    Example: twin outbox retry --failed
    """
    import time

    if (name is None) != failed:
        raise UserError("it is not clear which", [Problem("ID", "an id, or --failed", "both" if failed else "neither")])
    with _opened(context) as opened:
        count = 0 if opened is None else opened.retry(time.time_ns() // 1000, name)
    if name is not None and not count:
        raise _unknown("that failed or was cancelled, and has an endpoint")
    print(as_text({"waiting": count}) if json else f"{count} messages wait to be sent")


@outbox.command("cancel")
def cancel_command(context: typer.Context, name: _Id, json: AsJson = False) -> None:
    """Do not send a message that waits. One that is on its way may arrive all the same.

    Example: twin outbox cancel msg_0cc175b9c0f1b6a831c399e269772661
    """
    with _opened(context) as opened:
        if opened is None or not opened.cancel(name, "a person cancelled it"):
            raise _unknown("that waits")
    print(as_text({"cancelled": name}) if json else f"{name} is cancelled")


def _opened(context: typer.Context) -> AbstractContextManager[Outbox | None]:
    """The outbox; None where there is none."""
    from contextlib import closing, nullcontext

    from pipelines.outbox import may_have_outbox, open_outbox

    settings = settings_of(context)
    return closing(open_outbox(settings)) if may_have_outbox(settings) else nullcontext()


def _unknown(which: str = "of this workspace") -> UserError:
    return UserError("there is no such message", [Problem("ID", f"the id of a message {which}", "another")])


def _shown(context: typer.Context, messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Without what is said of a customer who denied that."""
    from pipelines.identity.denial import who_denied
    from pipelines.identity.store import open_identity

    settings = settings_of(context)
    hidden = who_denied(open_identity(settings), settings, (message.customer_id for message in messages))
    return [_told(message, message.customer_id not in hidden) for message in messages]


def _told(message: Message, with_payload: bool) -> dict[str, Any]:
    import json

    from pipelines.events.plan_check import iso

    times = ("created_at", "not_before", "sent_at", "began_at")
    told = {key: value for key, value in plain(message).items() if key not in ("payload", "next_attempt_at")}
    told |= {name: None if told[name] is None else iso(told[name]) for name in times}
    told["next_attempt_at"] = iso(message.next_attempt_at) if message.state == "waiting" else None
    return {**told, "payload": json.loads(message.payload) if with_payload else None}


def _line(message: Message) -> str:
    from pipelines.events.plan_check import iso

    why = f"  {message.error}" if message.error else ""
    to = f"to {message.endpoint}" if message.endpoint else "kept"
    next_one = f", next {iso(message.next_attempt_at)}" if message.state == "waiting" else ""
    return (
        f"{message.id}  {message.state:<9} {message.trigger:<20} {to:<12} {message.customer_id:<16} "
        f"{iso(message.created_at)}  {message.attempts} attempts{next_one}{why}"
    )
