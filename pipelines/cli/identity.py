"""Commands about who is who: customers that are probably one person."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.output import AsJson, as_text, plain, settings_of, tell

if TYPE_CHECKING:
    from pipelines.identity.desk import Desk
    from pipelines.identity.manual import Verdict
    from pipelines.identity.match import MatchSummary
    from pipelines.identity.profiles import Profile
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
    settings = settings_of(context)
    if truth is None:
        tell(match(settings), json)
        return
    from pipelines.identity.match import match_profiles
    from pipelines.identity.profiles import read_profiles
    from pipelines.identity.quality import measure, read_truth

    pairs = read_truth(truth)
    profiles = read_profiles(settings)
    tell(measure(match_profiles(profiles, settings.identity.matching), profiles, pairs), json)


def match(settings: Settings) -> MatchSummary:
    """Link who is surely one person, and put up the doubtful pairs; states follow. Raises as `match_customers`."""
    from pipelines.identity.match import match_customers

    with _desk(settings) as desk:
        desk.record("identity.match", _actor(), "identity")
        summary = match_customers(settings, desk.identity, desk.identity.customer_of)
        desk.follow(summary.changed)
    return summary


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


@identity.command("show")
def show_command(
    context: typer.Context,
    customer: Annotated[str, typer.Argument(help="kind:value, or a user id or customer id alone")],
    show: Annotated[bool, typer.Option("--show", help="do not mask e-mail addresses, numbers and the like")] = False,
    json: AsJson = False,
) -> None:
    """Who a customer is: identifiers, and the links between them with their evidence.

    Example: twin identity show 17850

    Example: twin identity show phone:0812345678 --json
    """
    from pipelines.identity.shown import named
    from pipelines.identity.shown import show as shown_of

    settings = settings_of(context)
    with _desk(settings) as desk:
        found = shown_of(desk.identity, named(desk.identity, customer), show)
        if show:
            subject = desk.pseudonym(found.customer_id)
            desk.record("identity.show", _actor(), subject)
    if json:
        print(as_text(plain(found)))
        return
    print(f"customer {found.customer_id}, version {found.version} of the map")
    for item in found.identifiers:
        print(f"  {item['kind']:<14} {item['value']:<40} {'since ' + item['since'] if item['since'] else ''}".rstrip())
    for link in found.links:
        ends = " = ".join(f"{link[side]['kind']}:{link[side]['value']}" for side in ("left", "right"))
        why = "  ".join(f"{name}={value}" for name, value in link["evidence"].items() if value is not None)
        print(f"  {ends}\n    {link['at']}  {link['method']}  {why}")


_Left = Annotated[str, typer.Argument(help="kind:value, or a user id alone")]
_Right = Annotated[str, typer.Argument(help="the other one, alike")]
_Note = Annotated[str | None, typer.Option(help="why, kept with the decision")]


@identity.command("merge")
def merge_command(context: typer.Context, left: _Left, right: _Right, note: _Note = None, json: AsJson = False) -> None:
    """Decide that two identifiers are of one customer; it can be undone without loss.

    Example: twin identity merge 17850 phone:0812345678 --note "asked by phone"
    """
    _manually(context, "link", left, right, note, json)


@identity.command("unmerge")
def unmerge_command(
    context: typer.Context, left: _Left, right: _Right, note: _Note = None, json: AsJson = False
) -> None:
    """Decide that two identifiers are of two customers: both twins are as if they had never been one.

    Example: twin identity unmerge 17850 13047 --note "mother and daughter"
    """
    _manually(context, "apart", left, right, note, json)


def _manually(context: typer.Context, verdict: Verdict, left: str, right: str, note: str | None, json: bool) -> None:
    from pipelines.identity.manual import Wish, parse

    settings = settings_of(context)
    one, other = (parse(text, list(settings.identity.kinds)) for text in (left, right))
    with _desk(settings) as desk:
        decided = desk.decide(Wish(verdict, one, other, _actor(), note), _actor())
    if json:
        print(as_text({**plain(decided), "together": decided.together}))
        return
    count = "one customer" if decided.together else "not one customer"
    print(f"{left} ({decided.left or 'nobody'}) and {right} ({decided.right or 'nobody'}) are {count}")
    if verdict == "link" and not decided.together:
        print("the decision is kept, but another rule holds: one of them is shared, or was decided to be apart")
    print(f"events of {len(decided.changed)} customers are others now; version {decided.version}")


@identity.command("history")
def history_command(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="versions to show at most")] = 20,
    json: AsJson = False,
) -> None:
    """What changed about who is who, the newest version first.

    Example: twin identity history --limit 5
    """
    from pipelines.events.plan_check import iso
    from pipelines.identity.history import history

    with _desk(settings_of(context)) as desk:
        found = history(desk.identity, limit)
    if json:
        print(as_text([plain(version) for version in found]))
        return
    for version in found:
        customers = ", ".join(version.customers[:5]) + (", ..." if len(version.customers) > 5 else "")
        told = [f"{len(version.customers)} customers changed: {customers}" if customers else "no customer changed"]
        told += [f"{version.links} links"] if version.links else []
        told += [f"{version.consents} consents"] if version.consents else []
        told += [f"{item['verdict']} by {item['by']}" for item in version.decisions]
        print(f"{version.version:>7}  {iso(version.at) if version.at is not None else '-':<28} {'; '.join(told)}")
    if not found:
        print("nothing was linked, decided or said yet")


@identity.command("rebuild")
def rebuild_command(context: typer.Context, json: AsJson = False) -> None:
    """Make the map anew from lake, journal and all decisions, and exchange it at once; a service may run.

    Example: twin identity rebuild
    """
    with _desk(settings_of(context)) as desk:
        done = desk.rebuild(_actor())
    tell(done, json)


def _decide(
    settings: Settings, queue: Any, pair: str, accept: bool, by: str | None, note: str | None, json: bool
) -> None:
    import getpass

    queue.check_waiting(pair)
    with _desk(settings) as desk:
        decided = desk.review(pair, "link" if accept else "apart", _actor(), by or getpass.getuser(), note)
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


def _desk(settings: Settings) -> AbstractContextManager[Desk]:
    from pipelines.identity.desk import open_desk

    return open_desk(settings)


def _actor() -> str:
    from pipelines.access import operating_user

    return operating_user()


def _with_values(settings: Settings, pairs: list[ReviewPair], show: bool) -> list[dict[str, Any]]:
    """The pairs with what is known of both customers, masked unless `show`."""
    from pipelines.identity.profiles import read_profiles

    profiles = {profile.customer_id: profile for profile in read_profiles(settings)} if pairs else {}

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
