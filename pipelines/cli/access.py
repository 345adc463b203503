"""Commands about who may call the service."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.configuration import ConfigurationError, Problem
from pipelines.cli.output import AsJson, as_text, plain, settings_of
from pipelines.console import UserError

if TYPE_CHECKING:
    from pipelines.access import AccessKey
    from pipelines.settings import Settings

keys = typer.Typer(
    help="Keys that clients show to the service, and the key that personal data is encrypted with.",
    no_args_is_help=True,
)
_SOURCE = re.compile(r"[a-z][a-z0-9_]{0,59}")


def register_commands(app: typer.Typer) -> None:
    app.add_typer(keys, name="keys")


@keys.command("create")
def create_command(
    context: typer.Context,
    source: Annotated[str, typer.Option(help="name of what sends with this key; events are told apart within it")],
    scope: Annotated[str, typer.Option(help="what the key may do")] = "ingest",
    channel: Annotated[str, typer.Option(help="channel of events that name none")] = "web",
    currency: Annotated[str | None, typer.Option(help="currency of amounts that name none")] = None,
    json: AsJson = False,
) -> None:
    """Make a key and show it, once.

    Example: twin keys create --source web --channel web --currency THB
    """
    from pipelines.access import Keys

    settings = settings_of(context)
    _check(settings, source, channel, currency)
    key, text = Keys(settings.workspace.access).create(source, scope, channel, currency)
    if json:
        print(as_text({**plain(key), "key": text}))
        return
    print(f"{text}\n  key {key.key_id} of source {source}, scope {scope}; kept as a hash, so copy it now")


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

    path = settings_of(context).workspace.access
    if not path.exists():
        raise UserError("there is no key in this workspace", [Problem("key", "a key", "none", "twin keys create")])
    Keys(path).revoke(key)
    print(f"key {key} is revoked")


def _check(settings: Settings, source: str, channel: str, currency: str | None) -> None:
    """Raises ConfigurationError with every mistake."""
    plan = settings.tracking_plan
    problems = []
    if not _SOURCE.fullmatch(source):
        expected = "a letter, then at most 59 letters, digits and _, all lower case"
        problems.append(Problem("--source", expected, repr(source)))
    if source in settings.sources:
        hint = "files and calls would take each other's events for duplicates"
        problems.append(Problem("--source", "a name that no file of configs/sources has", repr(source), hint))
    if channel not in plan.channels:
        problems.append(Problem("--channel", f"one of: {', '.join(plan.channels)}", repr(channel)))
    if currency is not None and currency not in plan.currencies:
        problems.append(Problem("--currency", f"one of: {', '.join(plan.currencies)}", repr(currency)))
    if problems:
        raise ConfigurationError(problems)


def _told(key: AccessKey) -> str:
    made = datetime.fromtimestamp(key.created_at // 1_000_000, UTC).isoformat()
    state = "revoked" if key.revoked_at else "in use"
    return f"{key.key_id}  {key.source:<20} {key.scope:<8} {key.channel:<12} {key.currency or '-':<4} {made}  {state}"
