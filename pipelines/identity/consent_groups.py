"""Customers by how a purpose is permitted: by their own word, or by the basis of the sources of their events."""

from __future__ import annotations

from collections import defaultdict

from pipelines.identity.publish import permissions_table
from pipelines.identity.store import open_identity
from pipelines.settings import Settings

SAID_YES, SAID_NO, NOT_ASKED = "granted it themselves", "refused it", "only by the basis of their sources"


def consent_groups(settings: Settings, purpose: str) -> defaultdict[str, str]:
    """The group of every customer: what they said last of `purpose`; who said nothing is in the data by its sources."""
    said = permissions_table(open_identity(settings), purpose)
    groups: defaultdict[str, str] = defaultdict(lambda: NOT_ASKED)
    words = (SAID_YES if granted else SAID_NO for granted in said["granted"].to_pylist())
    groups.update(zip(said["customer_id"].to_pylist(), words, strict=True))
    return groups
