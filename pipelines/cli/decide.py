"""Commands about single decisions: ask for one, and make logged ones again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.configuration import Problem
from pipelines.cli.decide_batch import Output, RunId, plan
from pipelines.cli.output import AsJson, as_text, settings_of, tell
from pipelines.console import UserError

if TYPE_CHECKING:
    from httpx import Response

Url = Annotated[str | None, typer.Option(help="where the service is [default: the profile's address]")]


def register_commands(app: typer.Typer) -> None:
    app.command("decide")(decide_command)
    app.command("replay")(replay_command)


def decide_command(
    context: typer.Context,
    customer: Annotated[str | None, typer.Argument(help="any user id of the customer")] = None,
    all_customers: Annotated[bool, typer.Option("--all", help="plan for all customers within --budget")] = False,
    budget: Annotated[str | None, typer.Option(metavar="AMOUNT", help="of --all, in the catalogue's currency")] = None,
    output: Output = None,
    run_id: RunId = None,
    reasons: Annotated[bool, typer.Option("--reasons", help="say what moves the effect")] = False,
    decision_id: Annotated[str | None, typer.Option(help="decide once for this id [default: anew each time]")] = None,
    url: Url = None,
    json: AsJson = False,
) -> None:
    """Ask the running service for a customer's next best action. It counts for caps, the budget, and the log.

    Where the service requires a key, set it as TWIN_API_KEY. With --all no service is asked and nobody is contacted: a
    plan for every customer within a budget is written as a Parquet file.

    Example: twin --workspace demo decide C000001 --reasons

    Example: twin decide --all --budget 5000
    """
    if all_customers and customer is None and budget is not None:
        plan(settings_of(context), budget, output, run_id, json)
        return
    if all_customers or customer is None or budget is not None:
        wanted = Problem("CUSTOMER", "one customer, or --all with --budget", "something else")
        raise UserError("it is not clear for whom to decide", [wanted])
    settings = settings_of(context)
    service = settings.profile.service
    answer = ask(url or f"http://{service.host}:{service.port}", customer, reasons, decision_id)
    print(as_text(answer) if json else "\n".join(told(answer, settings.tracking_plan.currencies)))


def replay_command(
    context: typer.Context,
    decision_ids: Annotated[list[str] | None, typer.Argument(help="ids of decisions [default: all]")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="only the newest so many")] = None,
    json: AsJson = False,
) -> None:
    """Make logged decisions again, from records and from events, and print every difference; 1 if there is one.

    Example: twin replay --sample 1000
    """
    from pipelines.decisions.replay import replay_decisions

    done = replay_decisions(settings_of(context), decision_ids or (), sample)
    tell(done, json)
    if not done.passed:
        raise typer.Exit(1)


def ask(url: str, customer: str, reasons: bool, decision_id: str | None) -> dict[str, Any]:
    """The service's answer.

    Raises:
        UserError: the service does not answer, or refuses.
    """
    import httpx

    body = {"customer_id": customer, "reasons": reasons, **({"decision_id": decision_id} if decision_id else {})}
    key = os.environ.get("TWIN_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        response = httpx.post(f"{url}/v1/decide", json=body, headers=headers, timeout=30.0, trust_env=False)
    except httpx.TransportError as error:
        raise UserError(f"no service answers at {url} ({error}); start it with: twin serve") from None
    _check(response, key)
    answer: dict[str, Any] = response.json()
    return answer


def _check(response: Response, key: str | None) -> None:
    if not response.is_error:
        return
    error = response.json()["error"]
    problems = [Problem(d["field"], d["expected"], d["got"], d["hint"]) for d in error["details"]]
    if response.status_code == 401:
        problems = [Problem("TWIN_API_KEY", "a key with the scope predict", "another" if key else "nothing")]
    raise UserError(f"the service answered {response.status_code}: {error['message']}", problems)


def told(answer: dict[str, Any], currencies: Mapping[str, int]) -> list[str]:
    """The answer as a person would read it; `currencies` say how many digits minor units have."""
    minor = 10 ** currencies.get(answer["currency"], 0)
    brings, costs = (f"{answer[key] / minor:,.2f} {answer['currency']}" for key in ("expected_value", "cost"))
    money = f"{brings} expected over no action, after a cost of {costs}"
    marks = [name for name in ("holdout", "explored", "repeated") if answer[name]]
    head = f"{answer['customer_id']}: {answer['action']}" + (f" ({', '.join(marks)})" if marks else "")
    lines = [head, f"  {money}, chance {answer['propensity']:.1%}, basis {answer['basis']}"]
    if answer["channel"]:
        lines.append(f"  by {answer['channel']}, at {answer['send_at']}" + _hour(answer))
    if answer["text"] or answer["template"]:
        lines.append(f"  {answer['variant']} ({answer['language']}): {answer['text'] or answer['template']}")
    lines += [f"  because {reason['sentence']}" for reason in answer["reasons"]]
    lines += [f"  not {item['action']}: {item['because']}" for item in answer["alternatives"]]
    moved = answer["effect_reasons"]
    lines += [f"  {moved['action']}: {reason['sentence']}" for reason in moved["reasons"]] if moved else []
    return [*lines, f"  decision {answer['decision_id']}, as of {answer['as_of']}, catalogue {answer['catalogue']}"]


def _hour(answer: dict[str, Any]) -> str:
    if answer["hour"] is None:
        return ""
    sure = "the declared hour" if answer["hour_is_fallback"] else f"confidence {answer['hour_confidence']:.0%}"
    return f", their hour is {answer['hour']} ({sure})"
