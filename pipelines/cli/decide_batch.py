"""The command that plans for all customers within a budget: `twin decide --all`."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.output import AsJson, settings_of, tell

if TYPE_CHECKING:
    from pipelines.settings import Settings

Money = Annotated[
    str, typer.Option("--budget", metavar="AMOUNT", help="what may be spent, in the currency of actions.yaml")
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="a Parquet file [default: one of the workspace]")]
_MOST = 10**15
RunId = Annotated[str | None, typer.Option("--run-id", help="seeds the draws [default: of instant and catalogue]")]


def decide_all_command(
    context: typer.Context, budget: Money, output: Output = None, run_id: RunId = None, json: AsJson = False
) -> None:
    """Plan the next best action of every customer within a budget, as a Parquet file. Nobody is contacted by it.

    Example: twin decide --all --budget 5000
    """
    plan(settings_of(context), budget, output, run_id, json)


def plan(settings: Settings, budget: str, output: Path | None, run_id: str | None, as_json: bool) -> None:
    """Make the plan and tell it; `budget` is in major units.

    Raises:
        UserError: it is no amount, or as `pipelines.decide_batch.decide_all`.
    """
    from pipelines.decide_batch import decide_all

    tell(decide_all(settings, minor_units(settings, budget), output, run_id), as_json)


def minor_units(settings: Settings, amount: str) -> int:
    """A written amount of money in minor units of the catalogue's currency, what is below one cut off.

    Raises:
        UserError: it is no number from 0 on.
    """
    from feature_repo.configuration import Problem
    from pipelines.console import UserError

    catalogue = settings.checked_catalogue()
    digits = settings.tracking_plan.currencies[catalogue.currency] if catalogue else 2
    try:
        asked = Decimal(amount)
    except ArithmeticError:
        asked = Decimal("NaN")
    if not asked.is_finite() or not 0 <= asked < _MOST:
        raise UserError("there is no such budget", [Problem("--budget", "an amount from 0 on, as 5000", repr(amount))])
    return int(asked * 10**digits)
