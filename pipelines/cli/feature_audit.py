"""`twin features audit`: what was served, and the states that are stored, against the events."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from pipelines.cli.output import AsJson, settings_of, tell


def audit_command(
    context: typer.Context,
    sample: Annotated[int, typer.Option(min=1, help="how many to draw at random")] = 1_000,
    seed: Annotated[int | None, typer.Option(help="draw the same again [default: another one each time]")] = None,
    states: Annotated[bool, typer.Option("--states", help="compare stored states with those built anew")] = False,
    json: AsJson = False,
) -> None:
    """Compute served features again from lake and journal, by SQL, and print every difference; 1 if there is one.

    Each vector is computed with what was visible when it was served. What cannot be computed again is counted apart.

    Example: twin features audit --sample 5000
    """
    from pipelines.feature_audit import audit_states, audit_vectors

    drawn_by = secrets.randbelow(2**31) if seed is None else seed
    audit = (audit_states if states else audit_vectors)(settings_of(context), sample, drawn_by)
    tell(audit, json)
    if not audit.passed:
        raise typer.Exit(1)
