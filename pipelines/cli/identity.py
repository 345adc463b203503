"""Commands about who is who: customers that are probably one person."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.output import AsJson, as_text, plain, settings_of, tell

if TYPE_CHECKING:
    from pipelines.identity.decisions import Decisions
    from pipelines.identity.profiles import Opened, Profile
    from pipelines.identity.review import ReviewPair
    from pipelines.settings import Settings

identity = typer.Typer(help="Which customers are one person.", no_args_is_help=True)


def register_commands(app: typer.Typer) -> None:
    app.add_typer(identity, name="identity")


@identity.command("match")
def match_command(
    context: typer.Context,
    truth: Annotated[
        Path | None,
        typer.Option(help="Parquet file of true pairs (member_id, customer_id): measure matching, change nothing"),
    ] = None,
    json: AsJson = False,
) -> None:
    """Find customers that share no identifier and are one person: link the sure ones, put up the others for review.

    Example: twin identity match
    """
    from pipelines.identity.match import match_customers, match_profiles
    from pipelines.identity.profiles import read_profiles
    from pipelines.identity.quality import measure, read_truth

    settings = settings_of(context)
    if truth is None:
        tell(match_customers(settings, _decisions(settings), _opened(settings)), json)
        return
    pairs = read_truth(truth)
    profiles = read_profiles(settings, _opened(settings))
    tell(measure(match_profiles(profiles, settings.identity.matching), profiles, pairs), json)


@identity.command("review")
def review_command(
    context: typer.Context,
    pair: Annotated[str | None, typer.Argument(help="the pair to decide, as the list calls it")] = None,
    verdict: Annotated[
        bool | None, typer.Option("--accept/--reject", help="one person, or two", show_default=False)
    ] = None,
    note: Annotated[str | None, typer.Option(help="why, kept with the decision")] = None,
    by: Annotated[str | None, typer.Option(help="who decides [default: the user of this machine]")] = None,
    show: Annotated[bool, typer.Option("--show", help="do not mask names, numbers and dates")] = False,
    limit: Annotated[int, typer.Option(min=1, help="pairs to list at most")] = 20,
    json: AsJson = False,
) -> None:
    """List the pairs that wait for a decision, the most probable first; or decide one, for ever.

    Example: twin identity review 3f9a1c02b7d4 --accept --note "same address, asked by phone"
    """
    from pipelines.identity.review import ReviewQueue

    settings = settings_of(context)
    _check(pair, verdict, note)
    queue = ReviewQueue(settings.workspace.identity)
    if pair is not None and verdict is not None:
        _decide(settings, queue, pair, verdict, by, note, json)
        return
    waiting = [item for item in queue.waiting() if pair in (None, item.pair)]
    shown = _with_values(settings, waiting[:limit], show)
    if json:
        print(as_text({"waiting": len(waiting), "pairs": shown}))
        return
    print("\n\n".join(map(_told, shown)) or "no pair waits")
    if len(waiting) > limit:
        print(f"\n{len(waiting) - limit} more wait; list them with --limit {len(waiting)}")


def _decide(
    settings: Settings, queue: Any, pair: str, accept: bool, by: str | None, note: str | None, json: bool
) -> None:
    import getpass
    import time

    decided = queue.decide(pair, "link" if accept else "apart", by or getpass.getuser(), note, time.time_ns() // 1000)
    decisions = _decisions(settings)
    if decisions is not None:
        queue.tell(decisions)
    if json:
        print(as_text(plain(decided)))
        return
    print(f"{decided.left} and {decided.right} are {'one customer' if accept else 'two customers'}, says {decided.by}")


def _check(pair: str | None, verdict: bool | None, note: str | None) -> None:
    """Raises ConfigurationError with every mistake."""
    from feature_repo.configuration import ConfigurationError, Problem

    problems = []
    if verdict is not None and pair is None:
        problems.append(Problem("PAIR", "the pair to decide", "none", "twin identity review lists them"))
    if note is not None and verdict is None:
        problems.append(Problem("--note", "--accept or --reject beside it", "neither"))
    if problems:
        raise ConfigurationError(problems)


def _decisions(settings: Settings) -> Decisions | None:
    """Where links are kept; None: they are noted, and told once there is such a place."""
    return None


def _opened(settings: Settings) -> Opened:
    """How personal values are read."""
    from pipelines.identity.profiles import stored_as_is

    return stored_as_is


def _with_values(settings: Settings, pairs: list[ReviewPair], show: bool) -> list[dict[str, Any]]:
    """The pairs with what is known of both customers, masked unless `show`."""
    from pipelines.identity.profiles import read_profiles

    profiles = {profile.customer_id: profile for profile in read_profiles(settings, _opened(settings))} if pairs else {}

    def values(customer: str) -> dict[str, Any]:
        return {"customer_id": customer, **(_values(profiles[customer], show) if customer in profiles else {})}

    return [
        {
            "pair": item.pair,
            "probability": item.probability,
            "why": item.why,
            "left": values(item.left),
            "right": values(item.right),
            "evidence": dict(item.evidence),
        }
        for item in pairs
    ]


def _values(profile: Profile, show: bool) -> dict[str, Any]:
    def written(value: str, kept: int = 1) -> str:
        return value if show else value[:kept] + "•" * (len(value) - kept)

    def mailbox(value: str) -> str:
        return value if show else f"{written(value.split('@')[0])}@{written(value.split('@')[1])}"

    def phone(value: str) -> str:
        return value if show else "•" * (len(value) - 2) + value[-2:]

    born = profile.birth_date.isoformat() if profile.birth_date else None
    return {
        "names": [f"{written(name.given)} {written(name.family)}".strip() for name in profile.names],
        "phones": [phone(value) for value in profile.phones],
        "emails": [mailbox(value) for value in profile.emails],
        "birth_date": written(born, 4) if born else None,
        "province": profile.province,
        "postcode": profile.postcode,
    }


def _told(item: Mapping[str, Any]) -> str:
    lines = [f"{item['pair']}  {item['probability']:.1%}  {item['why']}"]
    for side in ("left", "right"):
        values = dict(item[side])
        texts = [values.pop("customer_id")]
        for value in values.values():
            texts.append(", ".join(value) if isinstance(value, list) else value or "")
        lines.append("  " + "  ".join(filter(None, texts)))
    lines += [f"    {told['weight']:+6.1f}  {told['says']}" for told in item["evidence"]["comparisons"].values()]
    return "\n".join(lines)
