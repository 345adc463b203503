"""`twin ope`: what a policy is worth, judged on decisions that another policy made."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.output import AsJson, as_text, plain, settings_of

if TYPE_CHECKING:
    from pipelines.policy_value.decision_log import DecisionLog

NEXT_BEST_ACTION = "next_best_action"


def register_commands(app: typer.Typer) -> None:
    app.command("ope")(ope_command)


def ope_command(
    context: typer.Context,
    policy: Annotated[str, typer.Option(help="constant:ACTION, uniform, logged or columns:PREFIX")] = "uniform",
    against: Annotated[str | None, typer.Option(help="a second policy, to be compared with the first")] = None,
    file: Annotated[
        Path | None, typer.Option(help="decisions, .csv, .csv.gz or .parquet [default: those of the workspace]")
    ] = None,
    columns: Annotated[str, typer.Option("--context", help="columns the reward may depend on, a,b,...")] = "",
    model: Annotated[str, typer.Option(help="the model of actions whose dataset has the decisions")] = NEXT_BEST_ACTION,
    called: Annotated[
        str, typer.Option("--columns", help="what the file calls them: action=item,reward=click,...")
    ] = "",
    seed: Annotated[int, typer.Option(help="of the folds of the reward model")] = 7,
    json: AsJson = False,
) -> None:
    """Estimate what a policy would have brought, from decisions of another one (off-policy evaluation).

    A file has columns action, reward and propensity (the chance with which it was chosen), and may have customer_id;
    --columns says what it calls them.
    The policy `columns:PREFIX` has its chances in columns PREFIX<action>; `logged` is what was done. Without
    propensities they are estimated, and figures are associational.

    Example: twin ope --file decisions.csv --policy constant:coupon --against logged --context age,channel
    """
    from pipelines.console import UserError
    from pipelines.policy_value.report import evaluate

    if file is None and (columns or called):
        raise UserError("--context and --columns are for a file; the workspace's have the features of their model.")
    log = (
        _from_workspace(context, model)
        if file is None
        else _from_file(file, columns, (policy, against or ""), _names(called))
    )
    found = evaluate(log, policy, against, seed)
    print(as_text(_without_nan(plain(found))) if json else found.text())


def _from_workspace(context: typer.Context, model: str) -> DecisionLog:
    from pipelines.policy_value.decision_log import read_logged

    settings = settings_of(context)
    return read_logged(settings, settings.action_model(model))


def _names(called: str) -> dict[str, str]:
    """Raises UserError for anything but names of ours with one of the file's each."""
    from feature_repo.configuration import Problem
    from pipelines.console import UserError
    from pipelines.policy_value.decision_log import COLUMNS

    pairs = [part.strip().partition("=") for part in called.split(",") if part.strip()]
    wrong = [name for name, _, theirs in pairs if name not in COLUMNS or not theirs]
    if wrong or len({name for name, _, _ in pairs}) < len(pairs):
        expected = f"each of {', '.join(COLUMNS)} once at most, as action=item"
        raise UserError("the columns cannot be told apart", [Problem("--columns", expected, repr(called))])
    return {name: theirs for name, _, theirs in pairs}


def _from_file(file: Path, columns: str, policies: tuple[str, ...], called: dict[str, str]) -> DecisionLog:
    from pipelines.policy_value.decision_log import read_file

    prefixes = tuple(text.removeprefix("columns:") for text in policies if text.startswith("columns:"))
    return read_file(file, tuple(name.strip() for name in columns.split(",") if name.strip()), prefixes, called)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: what cannot be told is null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
