"""Publish a version of the identity map for SQL over the lake (see `feature_repo.membership`)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa

from feature_repo.membership import OWNERS, PERMISSIONS, REVISIONS, Membership, load, versions
from pipelines.identity.graph import FROM_THE_BEGINNING
from pipelines.identity.store import IdentityStore
from pipelines.settings.identity import USER_ID

_OWNERS = """
SELECT f.kind, f.stored, n.customer_id, n.joined_at FROM identity_forms f LEFT JOIN identity_nodes n ON n.id = f.node
WHERE (f.kind = ?1 AND (n.customer_id IS NULL OR n.customer_id <> f.stored OR n.joined_at > ?2))
   OR (f.kind <> ?1 AND n.customer_id IS NOT NULL)
"""
_PERMISSIONS = """
SELECT customer_id, granted, at FROM (
  SELECT n.customer_id, c.granted, c.at,
         row_number() OVER (PARTITION BY n.customer_id ORDER BY c.at DESC, c.granted) AS place
  FROM identity_consents c JOIN identity_nodes n ON n.id = c.node
  WHERE c.purpose = ? AND n.customer_id IS NOT NULL)
WHERE place = 1
"""


def membership_of(identity: IdentityStore, sources: Collection[str]) -> Membership:
    """The map as it is now, with `sources` as those whose events count unless their customer said no."""
    with identity.unchanging():
        version, _ = identity.head()
        owners = identity.rows(_OWNERS, (USER_ID, FROM_THE_BEGINNING))
        permissions = permissions_table(identity, identity.consent.uses.features)
        revisions = identity.rows("SELECT customer_id, revision FROM identity_customers")
    ranked = [(kind, stored, identity.config.rank(kind), who, at) for kind, stored, who, at in owners]
    return Membership(
        version,
        _table(OWNERS, ranked),
        permissions,
        _table(REVISIONS, revisions),
        tuple(sorted(sources)),
    )


def permissions_table(identity: IdentityStore, purpose: str) -> pa.Table:
    """What every customer who said something about `purpose` said last (PERMISSIONS)."""
    rows = identity.rows(_PERMISSIONS, (purpose,))
    return _table(PERMISSIONS, [(who, bool(granted), at) for who, granted, at in rows])


def publish(identity: IdentityStore, sources: Collection[str], folder: Path) -> Membership:
    """Write the map as it is now under `folder`, unless it stands there already."""
    now = membership_of(identity, sources)
    if now.version in versions(folder):
        known = load(folder, now.version)
        if known is not None and known.sources == now.sources:
            return known
        # Other sources count: that is another version, which models and states must be able to tell.
        identity.new_version()
        return publish(identity, sources, folder)
    now.save(folder)
    return now


def _table(schema: pa.Schema, rows: Sequence[tuple[object, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [() for _ in schema]
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for field, column in zip(schema, columns, strict=True)], schema=schema
    )
