"""Whose every event is, and which events count: one version of it, for SQL over the lake.

The identity map lives elsewhere; what SQL needs of it is published as Parquet files, one folder a version,
so that a training run can pin one.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as parquet

OWNERS = pa.schema(
    [
        # An identifier as events hold it, and how strong its kind is (0 is the strongest).
        pa.field("kind", pa.string(), nullable=False),
        pa.field("stored", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        # Null where the identifier names nobody.
        pa.field("customer_id", pa.string()),
        # Since when it is known to be theirs, microseconds UTC.
        pa.field("joined_at", pa.int64()),
    ]
)
# What customers said about the purpose of features, and when (microseconds UTC).
PERMISSIONS = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("granted", pa.bool_(), nullable=False),
        pa.field("at", pa.int64(), nullable=False),
    ]
)
# At which version of the map a customer's events last changed other than by new ones.
REVISIONS = pa.schema(
    [pa.field("customer_id", pa.string(), nullable=False), pa.field("revision", pa.int64(), nullable=False)]
)
_TABLES = {"owners": OWNERS, "permissions": PERMISSIONS, "revisions": REVISIONS}


@dataclass(frozen=True, slots=True)
class Membership:
    """One version. A user id that `owners` lacks is its own customer; any other identifier is nobody's.

    `sources` are those whose events count unless their customer said no; events of others count only
    where the customer said yes, and from then on.
    """

    version: int
    owners: pa.Table
    permissions: pa.Table
    revisions: pa.Table
    sources: tuple[str, ...]

    def save(self, folder: Path) -> Path:
        """Write this version under `folder`, whole or not at all; one that stands there already is replaced."""
        place = folder / str(self.version)
        making = folder / f".{self.version}-{os.getpid()}"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        for name in _TABLES:
            parquet.write_table(getattr(self, name), making / f"{name}.parquet")
        (making / "about.json").write_text(json.dumps({"version": self.version, "sources": self.sources}))
        shutil.rmtree(place, ignore_errors=True)
        making.rename(place)
        return place

    def tables(self) -> dict[str, pa.Table]:
        """What `view_sql` reads beside `event_table`, by name."""
        return {
            "identifier_owners": self.owners,
            "customer_permissions": self.permissions,
            "allowed_sources": pa.table({"source": pa.array(self.sources, pa.string())}),
        }

    def view_sql(self) -> str:
        """SQL (DuckDB) that makes the view `customer_events` (see `event_table`)."""
        kinds = self.owners.column("kind").unique().to_pylist()
        return _view(sorted(kind for kind in kinds if kind != "user_id"))


def revisions_of(membership: Membership | None) -> dict[str, int]:
    """The revision of every customer who has one; that of any other is 0."""
    if membership is None:
        return {}
    columns = (membership.revisions.column(name).to_pylist() for name in ("customer_id", "revision"))
    return dict(zip(*columns, strict=True))


def versions(folder: Path) -> list[int]:
    """The versions that stand under `folder`, ascending."""
    return sorted(int(place.name) for place in folder.iterdir() if place.name.isdecimal()) if folder.exists() else []


def load(folder: Path, version: int | None = None) -> Membership | None:
    """A version (None: the newest) under `folder`; None where nothing was published.

    Raises:
        FileNotFoundError: that version is not there.
    """
    known = versions(folder)
    if version is None and not known:
        return None
    place = folder / str(known[-1] if version is None else version)
    about = json.loads((place / "about.json").read_text())
    tables = {name: parquet.read_table(place / f"{name}.parquet", schema=schema) for name, schema in _TABLES.items()}
    return Membership(about["version"], **tables, sources=tuple(about["sources"]))


def register(connection: duckdb.DuckDBPyConnection, membership: Membership) -> str:
    """Make the tables of a version readable, and give the SQL of `customer_events` over `event_table`."""
    for name, rows in membership.tables().items():
        connection.register(name, rows)
    return membership.view_sql()


def _view(kinds: list[str]) -> str:
    return f"""
CREATE OR REPLACE TEMP VIEW customer_events AS
WITH by_user_id AS (
  SELECT {_COLUMNS}, coalesce(o.customer_id, e.user_id) AS customer_id, coalesce(o.joined_at, {_EVER}) AS joined_at
  FROM event_table e LEFT JOIN identifier_owners o ON o.kind = 'user_id' AND o.stored = e.user_id
  WHERE e.user_id IS NOT NULL AND (o.stored IS NULL OR o.customer_id IS NOT NULL)
){_by_others(kinds)}, owned AS (
  SELECT * FROM by_user_id{" UNION ALL SELECT * FROM by_others" if kinds else ""}
)
SELECT e.customer_id, e.event, e.channel, e.value, e.properties, e.position, e.source, e.event_id,
       epoch_us(e.event_time) AS event_time,
       greatest(epoch_us(e.available_at), e.joined_at, CASE WHEN s.source IS NULL THEN p.at ELSE {_EVER} END)
         AS available_at
FROM owned e
LEFT JOIN allowed_sources s ON s.source = e.source
LEFT JOIN customer_permissions p ON p.customer_id = e.customer_id
WHERE coalesce(p.granted, s.source IS NOT NULL)
"""


def _by_others(kinds: list[str]) -> str:
    """Events without a user id that names somebody: theirs is the strongest of their other identifiers."""
    if not kinds:
        return ""
    return f""", nameless AS (
  SELECT e.position, unnest([{", ".join(map(_mention, kinds))}]) AS mention
  FROM event_table e
  WHERE e.user_id IS NULL OR e.user_id IN
    (SELECT stored FROM identifier_owners WHERE kind = 'user_id' AND customer_id IS NULL)
), strongest AS (
  SELECT n.position, arg_min({{'customer_id': o.customer_id, 'joined_at': o.joined_at}}, o.rank) AS owner
  FROM nameless n JOIN identifier_owners o ON o.kind = n.mention.kind AND o.stored = n.mention.stored
  WHERE o.customer_id IS NOT NULL GROUP BY n.position
), by_others AS (
  SELECT {_COLUMNS}, o.owner.customer_id AS customer_id, o.owner.joined_at AS joined_at
  FROM event_table e JOIN strongest o ON o.position = e.position
)"""


def _mention(kind: str) -> str:
    column = "e.anonymous_id" if kind == "anonymous_id" else f"json_extract_string(e.identifiers, '$.\"{kind}\"')"
    return f"{{'kind': '{kind}', 'stored': {column}}}"


_EVER = -(2**62)
_COLUMNS = "e.event, e.channel, e.value, e.properties, e.position, e.source, e.event_id, e.event_time, e.available_at"
