"""Decide for all customers of a workspace at one instant within a budget: a plan, which contacts nobody.

Who is decided on, by which rules, with which draw, is what single decisions do at the plan's shadow price. Two things
are a plan's own: money goes where it brings most over all customers, and draws spend at most their share of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from feature_repo.configuration import Problem
from pipelines.catalogue import NO_ACTION, Catalogue
from pipelines.console import UserError, progress
from pipelines.decide_batch.choose import Choices, choose_many, draws_of
from pipelines.decide_batch.crowd import Crowd, Sources, read_crowd
from pipelines.decide_batch.customers import contacts_by_customer, customers_of
from pipelines.decide_batch.features import FeatureColumns, instant_of, open_columns
from pipelines.decide_batch.models import Deciding, deciding_of
from pipelines.decide_batch.table import decision_id, plan_tables, written_whole
from pipelines.decide_batch.value import ByTheLog, value_by_the_log
from pipelines.decisions.allocation import NOTHING
from pipelines.decisions.decide import exploration_share
from pipelines.decisions.ledger import Period
from pipelines.decisions.ledger_open import may_have_ledger, open_ledger
from pipelines.decisions.situation import Basis, Contact
from pipelines.events.exclusion import ErasureRuns, taking_events
from pipelines.settings import Settings


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """A plan: where it is, what it spends, and what it should bring. Money is in minor units.

    `budget` is what was asked for, `available` what of it the catalogue's own budget of the period leaves.
    `expected_value` is the sum of what the model expects of all that is chosen, `by_the_log` what the log says.
    """

    run_id: str
    path: str
    as_of: int
    customers: int
    held_out: int
    basis: Basis
    model: str | None
    model_version: str | None
    catalogue: str
    currency: str
    minor: int
    budget: int
    available: int
    spent: int
    shadow_price: float
    exploration_share: float
    asked_exploration_share: float
    explored: int
    expected_value: float
    by_the_log: ByTheLog
    actions: dict[str, int]

    def text(self) -> str:
        """The summary for a person."""
        day = datetime.fromtimestamp(self.as_of / 1_000_000, tz=UTC).isoformat(timespec="seconds")
        made = ", ".join(f"{name} {count:,}" for name, count in self.actions.items())
        lines = [
            f"Plan {self.run_id}: {self.customers:,} customers as of {day}, {self.held_out:,} held out",
            f"  decided by {self._model()}",
            f"  {made}",
            f"  spends {self._money(self.spent)} of {self._money(self.available)}; a unit of money more would bring "
            f"{self.shadow_price:.3g}",
            f"  {self.explored:,} were drawn to learn from, {self._share()}",
            f"  the model expects {self._money(self.expected_value)} over no action, net of costs",
            f"  {self._by_the_log()}",
        ]
        if self.available < self.budget:
            left = f"{self._money(self.available)} of the catalogue's own budget is left in this period"
            lines.append(f"  asked for was {self._money(self.budget)}, but {left}")
        lines.append("  A plan only: nobody is contacted, and no cap or budget counts it.")
        return "\n".join([*lines, f"  {self.path}"])

    def _model(self) -> str:
        named = f"{self.model} version {self.model_version}"
        return {
            "effect": f"what {named} says an action changes",
            "propensity": f"the chance of the goal by {named}: what an action changes is not known yet",
            "none": "draws alone: there is no model yet",
        }[self.basis]

    def _by_the_log(self) -> str:
        found = self.by_the_log
        if found.total is None or found.low is None or found.high is None:
            return f"the log cannot tell what it brings: {found.unknown}"
        range_ = f"[{self._money(found.low)}, {self._money(found.high)}]"
        alike = "if who is contacted is like those of the test"
        told = f"by the log, doubly robust, {self._money(found.total)} {range_}, {alike}"
        return told + "".join(f"; {warning}" for warning in found.warnings)

    def _share(self) -> str:
        lowered = f", lowered from {self.asked_exploration_share:.3g} to what the budget allows"
        is_lowered = self.exploration_share < self.asked_exploration_share
        return f"a share of {self.exploration_share:.3g}{lowered if is_lowered else ''}"

    def _money(self, amount: float) -> str:
        return f"{amount / self.minor:,.2f} {self.currency}"


def decide_all(settings: Settings, budget: int, output: Path | None = None, run_id: str | None = None) -> BatchSummary:
    """Plan for all customers within `budget`, minor units of the catalogue's currency, and write it as Parquet.

    `output` is a file of the workspace where it is not given. `run_id` seeds the draws; where it is not given it
    follows from the instant and the catalogue, so that the same plan made again is the same.

    Raises:
        UserError: there is no catalogue, no customer or no state, or the budget is below 0.
            Or a customer was erased meanwhile.
        StateUnavailable, AsOfTooEarly, LedgerUnavailable: they cannot be read now.
    """
    catalogue = _catalogue(settings)
    if budget < 0:
        raise UserError("there is no such budget", [Problem("--budget", "at least 0", str(budget))])
    deciding = deciding_of(settings, catalogue)
    own, of_model = _readers(settings, catalogue, deciding)
    as_of = instant_of(settings, own)
    named = run_id or f"plan-{as_of}-{catalogue.hash[:8]}"
    path = output or settings.workspace.root / "plans" / f"{named}.parquet"
    with progress("Finding customers"):
        customers = customers_of(settings)
        contacts, spent = _before(settings, catalogue, as_of)
    if not customers.ids:
        hint = "ingest and build the states: twin run"
        raise UserError("there is no customer to decide on", [Problem("customers", "at least one", "none", hint)])
    sources = Sources(catalogue, deciding, own, of_model, contacts, spent, as_of)
    with progress("Looking at customers", float(len(customers.ids))) as advance:
        crowd = read_crowd(sources, customers, advance)
    available = budget if catalogue.budget is None else max(0, min(budget, catalogue.budget.amount - spent))
    with progress("Allocating the budget"):
        choices = choose_for(catalogue, crowd, deciding.basis, named, available)
    # No erasure ends before the file is whole: it would not find in it whom it erases.
    with _no_erasure(settings):
        _refuse_erased(settings, customers.ids)
        with progress("Writing the plan", float(len(crowd.ids))) as advance, written_whole(path) as writer:
            for table in plan_tables(catalogue, crowd, choices, deciding.basis, named):
                writer.write_table(table)
                advance(table.num_rows)
    return _summary(settings, catalogue, deciding, crowd, choices, named, path, as_of, budget, available)


@contextmanager
def _no_erasure(settings: Settings) -> Iterator[None]:
    try:
        with taking_events(settings.workspace.erasure_lock):
            yield
    except ErasureRuns:
        raise UserError("A customer is being erased. Nothing was written; make the plan again in a moment.") from None


def _refuse_erased(settings: Settings, planned: Sequence[str]) -> None:
    gone = len(set(planned) - set(customers_of(settings).ids))
    if gone:
        told = Problem("customers", "the same as when the plan was begun", f"{gone:,} fewer", "make the plan again")
        raise UserError("Customers were erased while the plan was made. Nothing was written.", [told])


def choose_for(catalogue: Catalogue, crowd: Crowd, basis: Basis, run_id: str, budget: int) -> Choices:
    """The choices for a crowd; the share of draws is that of `basis`."""
    share = exploration_share(catalogue, basis)
    ids: Sequence[str] = crowd.ids.tolist()
    draws = draws_of(catalogue.holdout_salt, [decision_id(run_id, customer) for customer in ids], ids)
    return choose_many(crowd.is_open, crowd.expected_value, crowd.holdout, crowd.costs, draws, share, budget)


def _catalogue(settings: Settings) -> Catalogue:
    catalogue = settings.checked_catalogue()
    if catalogue is None:
        raise UserError("there is nothing to offer", [Problem("actions.yaml", "a catalogue of actions", "none")])
    return catalogue


def _readers(
    settings: Settings, catalogue: Catalogue, deciding: Deciding
) -> tuple[FeatureColumns, FeatureColumns | None]:
    """One reader for both where the model was trained on the present spec."""
    model, spec = deciding.model, settings.features.hash
    if model is None or model.spec_hash == spec:
        names = dict.fromkeys([*catalogue.features, *(model.features if model else ())])
        return open_columns(settings, spec, list(names)), None
    return open_columns(settings, spec, catalogue.features), open_columns(settings, model.spec_hash, model.features)


def _before(settings: Settings, catalogue: Catalogue, as_of: int) -> tuple[dict[str, tuple[Contact, ...]], int]:
    """Contacts that may count for a cap, and what was spent in the period of the catalogue's budget."""
    if not may_have_ledger(settings):
        return {}, 0
    ledger = open_ledger(settings)
    try:
        longest = max((cap.within for cap in catalogue.caps), default=0)
        contacts = contacts_by_customer(settings, ledger.contacts(as_of - longest))
        budget = catalogue.budget
        period = None if budget is None else Period(as_of // budget.per * budget.per, budget.per)
        return contacts, 0 if period is None else ledger.spent(period)
    finally:
        ledger.close()


def _summary(
    settings: Settings, catalogue: Catalogue, deciding: Deciding, crowd: Crowd, choices: Choices, run_id: str,
    path: Path, as_of: int, budget: int, available: int,
) -> BatchSummary:  # fmt: skip
    acts = choices.choice != NOTHING
    value = float(np.nan_to_num(crowd.expected_value[np.flatnonzero(acts), choices.choice[acts]]).sum())
    counts = np.bincount(choices.choice[acts], minlength=len(catalogue.actions))
    actions = {action.id: int(count) for action, count in zip(catalogue.actions, counts, strict=True)}
    held = int(crowd.holdout.sum())
    model = deciding.model
    by_the_log = value_by_the_log(
        settings, deciding.effects, catalogue, choices.exploration_share, choices.shadow_price, int(acts.sum())
    )
    return BatchSummary(
        run_id=run_id, path=str(path), as_of=as_of, customers=len(crowd.ids), held_out=held, basis=deciding.basis,
        model=model.model if model else None, model_version=model.version if model else None, catalogue=catalogue.hash,
        currency=catalogue.currency, minor=10 ** settings.tracking_plan.currencies[catalogue.currency], budget=budget,
        available=available, spent=choices.spent, shadow_price=choices.shadow_price,
        exploration_share=choices.exploration_share,
        asked_exploration_share=exploration_share(catalogue, deciding.basis), explored=int(choices.explored.sum()),
        expected_value=value, by_the_log=by_the_log, actions={**actions, NO_ACTION: int((~acts).sum())},
    )  # fmt: skip
