"""Commands about who may call the service, and the log of administrative acts."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.configuration import ConfigurationError, Problem
from pipelines.cli.output import AsJson, as_text, plain, settings_of
from pipelines.console import UserError

if TYPE_CHECKING:
    from pipelines.access import AccessKey
    from pipelines.settings import Settings, Workspace

keys = typer.Typer(
    help="Keys that clients show to the service, and the key that personal data is encrypted with.",
    no_args_is_help=True,
)
audit = typer.Typer(help="The log of administrative acts.", no_args_is_help=True)
_SOURCE = re.compile(r"[a-z][a-z0-9_]{0,59}")


def register_commands(app: typer.Typer) -> None:
    app.add_typer(keys, name="keys")
    app.add_typer(audit, name="audit")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A key as it was asked for."""

    source: str
    scopes: tuple[str, ...]
    channel: str | None
    currency: str | None
    purposes: tuple[str, ...]
    legal_basis: str | None
    views: tuple[str, ...] = ()


@keys.command("create")
def create_command(
    context: typer.Context,
    source: Annotated[
        str, typer.Option("--source", "--name", help="name of who calls with this key; events are told apart within it")
    ],
    scopes: Annotated[
        str, typer.Option(help="what it may do: some of ingest, predict, read, review, admin, with commas between")
    ] = "ingest",
    channel: Annotated[str | None, typer.Option(help="channel of events that name none [default: web]")] = None,
    currency: Annotated[str | None, typer.Option(help="currency of amounts that name none")] = None,
    purposes: Annotated[
        str, typer.Option(help="what events sent with it are collected for, such as profiling,training")
    ] = "",
    legal_basis: Annotated[
        str | None,
        typer.Option(
            help="what the purposes rest on: consent, contract, legal_obligation, vital_interests, public_task, "
            "legitimate_interests or research"
        ),
    ] = None,
    views: Annotated[
        str,
        typer.Option(help="the only views of the twin that it sees, the first where a call names none [default: all]"),
    ] = "",
    json: AsJson = False,
) -> None:
    """Make a key and show it, once.

    Example: twin keys create --source web --currency THB --purposes profiling,training --legal-basis contract

    Example: twin keys create --name shop_backend --scopes predict

    Example: twin keys create --name newsletter --scopes read --views marketing
    """
    from pipelines.access import Keys

    settings = settings_of(context)
    wanted = _Wanted(source, _names(scopes), channel, currency, _names(purposes), legal_basis, _names(views))
    _check(settings, wanted)
    may_ingest = "ingest" in wanted.scopes
    store = Keys(settings.workspace.access)
    key, text = store.create(
        source,
        wanted.scopes,
        (channel or "web") if may_ingest else "",
        currency,
        purposes=wanted.purposes,
        legal_basis=legal_basis,
        views=wanted.views,
        record=_logged(settings.workspace, "key.create"),
    )
    told = f"{text}\n  key {key.key_id} of {source}, for {', '.join(key.scopes)}; kept as a hash, so copy it now"
    print(as_text({**plain(key), "key": text}) if json else told)
    if may_ingest:
        _tell_purposes(key, store.all())


@keys.command("encryption")
def encryption_command(json: AsJson = False) -> None:
    """Print a fresh key for personal data; it is kept nowhere.

    Example: export TWIN_ENCRYPTION_KEY="$(twin keys encryption)"
    """
    from pipelines.privacy import ENVIRONMENT_KEY, new_key

    key = new_key()
    print(as_text({ENVIRONMENT_KEY: key}) if json else key)


@keys.command("list")
def list_command(context: typer.Context, json: AsJson = False) -> None:
    """All keys, without their text.

    Example: twin keys list
    """
    from pipelines.access import Keys

    path = settings_of(context).workspace.access
    found = Keys(path).all() if path.exists() else []
    print(as_text([plain(key) for key in found]) if json else "\n".join(map(_told, found)) or "no keys yet")


@keys.command("revoke")
def revoke_command(
    context: typer.Context, key: Annotated[str, typer.Argument(help="its id, as in `twin keys list`")]
) -> None:
    """Refuse a key from now on.

    Example: twin keys revoke 1f3a9c02
    """
    from pipelines.access import Keys

    workspace = settings_of(context).workspace
    if not workspace.access.exists():
        raise UserError("there is no key in this workspace", [Problem("key", "a key", "none", "twin keys create")])
    Keys(workspace.access).revoke(key, record=_logged(workspace, "key.revoke"))
    print(f"key {key} is revoked")


@audit.command("list")
def audit_list_command(context: typer.Context, json: AsJson = False) -> None:
    """Every administrative act, the oldest first.

    Example: twin audit list
    """
    from pipelines.access import AuditLog

    found = AuditLog(settings_of(context).workspace.audit).entries()
    lines = [
        f"{entry.sequence:>5}  {entry.time}  {entry.actor:<16} {entry.action:<16} {entry.subject:<20} "
        f"{_told_details(entry.details)}".rstrip()
        for entry in found
    ]
    print(as_text([plain(entry) for entry in found]) if json else "\n".join(lines) or "no administrative act yet")


@audit.command("verify")
def audit_verify_command(context: typer.Context, json: AsJson = False) -> None:
    """Check that no entry was changed, removed, moved or added. Fails and names the first that was.

    Who may write both files of the log can make another history that holds together: keep the line this prints
    where they cannot write, and compare.

    Example: twin audit verify
    """
    from pipelines.access import AuditLog

    head = AuditLog(settings_of(context).workspace.audit).verify()
    told = f"{head.count} entries, all as they were written; the last has hash {head.hash}"
    print(as_text({"entries": head.count, "hash": head.hash}) if json else told)


def _logged(workspace: Workspace, action: str) -> Callable[[AccessKey], object]:
    """What logs an act on a key."""
    from pipelines.access import AuditLog, operating_user

    log = AuditLog(workspace.audit)

    def record(key: AccessKey) -> object:
        details = {"source": key.source, "scopes": key.scopes, "purposes": key.purposes, "legal_basis": key.legal_basis}
        if key.views:
            details["views"] = key.views
        return log.append(action, operating_user(), f"key:{key.key_id}", details)

    return record


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _check(settings: Settings, wanted: _Wanted) -> None:
    """Raises ConfigurationError with every mistake."""
    from pipelines.access import SCOPES, statement_problems

    problems = []
    if not _SOURCE.fullmatch(wanted.source):
        expected = "a letter, then at most 59 letters, digits and _, all lower case"
        problems.append(Problem("--source", expected, repr(wanted.source)))
    if not wanted.scopes or set(wanted.scopes) - set(SCOPES):
        problems.append(Problem("--scopes", f"some of: {', '.join(SCOPES)}", repr(",".join(wanted.scopes))))
    problems += _event_problems(settings, wanted) if "ingest" in wanted.scopes else _needless(wanted)
    problems += statement_problems(wanted.purposes, wanted.legal_basis, settings.consent.purposes)
    problems += _view_problems(settings, wanted)
    if problems:
        raise ConfigurationError(problems)


def _event_problems(settings: Settings, wanted: _Wanted) -> list[Problem]:
    """What is wrong with how a key marks its events."""
    plan = settings.tracking_plan
    problems = []
    if wanted.source in settings.sources:
        hint = "files and calls would take each other's events for duplicates"
        problems.append(Problem("--source", "a name that no file of configs/sources has", repr(wanted.source), hint))
    if wanted.channel is not None and wanted.channel not in plan.channels:
        problems.append(Problem("--channel", f"one of: {', '.join(plan.channels)}", repr(wanted.channel)))
    if wanted.currency is not None and wanted.currency not in plan.currencies:
        problems.append(Problem("--currency", f"one of: {', '.join(plan.currencies)}", repr(wanted.currency)))
    return problems


def _view_problems(settings: Settings, wanted: _Wanted) -> list[Problem]:
    """What is wrong with the views that a key is limited to."""
    if wanted.views and "read" not in wanted.scopes:
        hint = "add the scope read, or leave it out"
        return [Problem("--views", "nothing for a key that reads no twin", "a value", hint)]
    expected = f"some of: {', '.join(settings.twin.views)}"
    return [Problem("--views", expected, repr(name)) for name in wanted.views if name not in settings.twin.views]


def _needless(wanted: _Wanted) -> list[Problem]:
    given = {
        "--channel": wanted.channel,
        "--currency": wanted.currency,
        "--purposes": wanted.purposes,
        "--legal-basis": wanted.legal_basis,
    }
    expected, hint = "nothing for a key that sends no events", "leave it out, or add the scope ingest"
    return [Problem(option, expected, "a value", hint) for option, value in given.items() if value]


def _tell_purposes(key: AccessKey, keys: list[AccessKey]) -> None:
    """Say on stderr what the events of the source do not count for."""
    from pipelines.access.purposes import purposes_of

    agreed = purposes_of(keys)[key.source]
    if not key.purposes:
        print(
            "  It states no --purposes: events sent with it count for no feature and train no model until the "
            "customer consents.",
            file=sys.stderr,
        )
    elif agreed != set(key.purposes):
        print(
            f"  Older keys of source {key.source} stated other purposes: without consent its events count only for "
            f"what all of them stated: {', '.join(sorted(agreed)) or 'nothing'}. A new source has no such past.",
            file=sys.stderr,
        )


def _told_details(details: Mapping[str, Any]) -> str:
    told = {name: ",".join(map(str, value)) if isinstance(value, list) else value for name, value in details.items()}
    return "  ".join(f"{name}={value}" for name, value in told.items() if value not in (None, ""))


def _told(key: AccessKey) -> str:
    from pipelines.access.keys import statement

    made = datetime.fromtimestamp(key.created_at // 1_000_000, UTC).isoformat()
    state = "revoked" if key.revoked_at else "in use"
    events = f"{key.channel} {key.currency or '-'}, {statement(key)}" if "ingest" in key.scopes else "-"
    state += f", sees {', '.join(key.views)}" if key.views else ""
    return f"{key.key_id}  {key.source:<20} {','.join(key.scopes):<16} {events:<40} {made}  {state}"
