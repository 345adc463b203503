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
    workspace_log: Annotated[
        bool, typer.Option("--workspace-log", help="decisions of the workspace, as where no --file is given")
    ] = False,
    seed: Annotated[int, typer.Option(help="of the folds of the reward model")] = 7,
    json: AsJson = False,
) -> None:
    """Estimate what a policy would have brought, from decisions of another one (off-policy evaluation).

    A file has columns action, reward and propensity (the chance with which it was chosen), and may have customer_id.
    The policy `columns:PREFIX` has its chances in columns PREFIX<action>; `logged` is what was done. Without
    propensities they are estimated, and figures are associational.

    Example: twin ope --file decisions.csv --policy constant:coupon --against logged --context age,channel
    """
    from pipelines.console import UserError
    from pipelines.policy_value.report import evaluate

    if file is not None and workspace_log:
        raise UserError("Say --file or --workspace-log, not both.")
    if file is None and columns:
        raise UserError("--context is for a file; decisions of the workspace have the features of their model.")
    log = _from_workspace(context, model) if file is None else _from_file(file, columns, (policy, against or ""))
    found = evaluate(log, policy, against, seed)
    print(as_text(_without_nan(plain(found))) if json else found.text())


def _from_workspace(context: typer.Context, model: str) -> DecisionLog:
    from pipelines.policy_value.decision_log import read_logged

    settings = settings_of(context)
    return read_logged(settings, settings.action_model(model))


def _from_file(file: Path, columns: str, policies: tuple[str, ...]) -> DecisionLog:
    from pipelines.policy_value.decision_log import read_file

    prefixes = tuple(text.removeprefix("columns:") for text in policies if text.startswith("columns:"))
    return read_file(file, tuple(name.strip() for name in columns.split(",") if name.strip()), prefixes)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: what cannot be told is null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
