"""What changed about who is who, version by version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.identity.store import IdentityStore


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the map: whose events became others, and what was linked, decided and said in it.

    A customer, link or consent stands in the version that changed it last. `at` in microseconds UTC: the
    newest of its links and decisions, None where there is none.
    """

    version: int
    at: int | None
    customers: list[str]
    links: int
    consents: int
    decisions: list[dict[str, Any]]


def history(identity: IdentityStore, limit: int) -> list[Version]:
    """The newest `limit` versions that changed something, the newest first."""
    with identity.unchanging():
        numbers = identity.rows(
            """SELECT version FROM (SELECT revision AS version FROM identity_changes UNION
               SELECT version FROM identity_links UNION SELECT version FROM identity_decisions UNION
               SELECT version FROM identity_consents) ORDER BY version DESC LIMIT ?""",
            (limit,),
        )
        return [_version(identity, number) for (number,) in numbers]


def _version(identity: IdentityStore, number: int) -> Version:
    customers = identity.rows(
        "SELECT customer_id FROM identity_changes WHERE revision = ? ORDER BY customer_id", (number,)
    )
    links, newest = identity.rows("SELECT count(*), max(at) FROM identity_links WHERE version = ?", (number,))[0]
    consents = identity.rows("SELECT count(*) FROM identity_consents WHERE version = ?", (number,))[0][0]
    rows = identity.rows(
        "SELECT verdict, method, decided_by, at FROM identity_decisions WHERE version = ? ORDER BY id", (number,)
    )
    decisions = [dict(zip(("verdict", "method", "by", "at"), row, strict=True)) for row in rows]
    instants = [instant for instant in (newest, *(item["at"] for item in decisions)) if instant is not None]
    return Version(number, max(instants, default=None), [who for (who,) in customers], links, consents, decisions)
