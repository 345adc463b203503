"""The twin and the timeline of a customer of a workspace, read from its log without a service."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.events.live import open_customer_log
from pipelines.events.opening import event_store, may_have_states, open_states
from pipelines.events.plan_check import iso
from pipelines.identity.catch_up import catch_up
from pipelines.identity.denial import denied, purposes_needed
from pipelines.identity.shown import named
from pipelines.identity.store import IdentityStore, open_identity
from pipelines.privacy import sealer_of
from pipelines.settings import Settings
from pipelines.twin.as_of import Past, counted, members_at, words_at
from pipelines.twin.fold import TwinFold
from pipelines.twin.masking import Mask
from pipelines.twin.rules import Section
from pipelines.twin.timeline import Place, encode, page_of
from pipelines.twin.timeline import told as told_event
from pipelines.twin.told import told, told_identities, told_words

Told = dict[str, Any]


def show(settings: Settings, customer: str, as_of: int | None, sections: Sequence[Section]) -> Told:
    """The twin at `as_of` (microseconds UTC; None: now), persons masked.

    Raises:
        UserError: nobody is so called, or nothing was known of them then; they said no; the instant is to come.
    """
    now = _now(settings)
    instant = now if as_of is None else as_of
    if instant > now:
        raise UserError("the future is not in the log", [Problem("--as-of", f"at most {iso(now)}", "one to come")])
    with event_store(settings) as store:
        identity = open_identity(settings)
        catch_up(identity, settings.workspace.lake, store.journal)
        who = named(identity, customer)
        _check_consent(settings, identity, who)
        events = open_customer_log(settings, store.journal, identity).theirs(who)
    fold = TwinFold(settings.twin, settings.features)
    twin = Past(fold, settings.features).twin(who, instant, counted(events))
    if twin is None:
        hint = "an event is known from its arrival on; `twin timeline` tells when that was"
        wanted = Problem("--as-of", "an instant at which events of the customer were known", "one before", hint)
        raise UserError("nothing of this customer was known then", [wanted])
    mask = _mask(settings)
    parts = told(twin, sections, mask)
    if "identities" in sections:
        members = members_at(identity.members(who), events, instant, identity.vocabulary)
        parts["identities"] = told_identities(members, mask)
    if "consents" in sections:
        words = words_at(events, instant, identity.vocabulary, settings.consent)
        parts["consents"] = told_words(words, settings.consent.purposes)
    revision = identity.revision(who)
    return {"customer_id": who, "as_of": iso(instant), "position": twin.position, "revision": revision, **parts}


def timeline(
    settings: Settings, customer: str, before: Place | None, limit: int, names: Collection[str] | None
) -> Told:
    """A page of the customer's events, the newest first, persons masked. Raises UserError: nobody is so called."""
    with event_store(settings) as store:
        identity = open_identity(settings)
        catch_up(identity, settings.workspace.lake, store.journal)
        who = named(identity, customer)
        page = page_of(open_customer_log(settings, store.journal, identity).theirs(who), before, limit, names)
    mask = _mask(settings)
    return {
        "customer_id": who,
        "events": [told_event(event, mask) for event in page.events],
        "before": None if page.before is None else encode(page.before),
    }


def _mask(settings: Settings) -> Mask:
    return Mask(settings.identity, lambda: sealer_of(settings.workspace), False)


def _now(settings: Settings) -> int:
    """The clock of the profile. Raises UserError where that is the newest event, and there are no states."""
    if settings.profile.clock != "data_end":
        return time.time_ns() // 1000
    newest = open_states(settings).newest(settings.features.hash) if may_have_states(settings) else None
    if newest is None:
        wanted = Problem("state", "the states of customers", "none", "twin state rebuild")
        raise UserError("now is just after the newest event, and there is none yet", [wanted])
    return newest + 1


def _check_consent(settings: Settings, identity: IdentityStore, customer_id: str) -> None:
    purpose = denied(identity, customer_id, purposes_needed(settings))
    if purpose is not None:
        wanted = Problem("customer", f"one who did not deny {purpose}", f"one who denied {purpose}")
        raise UserError(f"this customer denied the purpose {purpose}", [wanted])
