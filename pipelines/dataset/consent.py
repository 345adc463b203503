"""Whose history may not train a model."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from pipelines.decisions.ledger import SOURCE as DECISIONS
from pipelines.identity.permissions import sources_under
from pipelines.identity.publish import permissions_table
from pipelines.identity.store import open_identity
from pipelines.settings import Settings

# What features read of a customer must be the same in training and in serving. So a customer with one
# event of a source that may not train is left out whole, not that event alone. Decisions have no say: they may train
# where all else of their customer may.
_BARRED = f"""
SELECT e.customer_id FROM customer_events e
LEFT JOIN training_permissions p USING (customer_id)
LEFT JOIN training_sources s USING (source)
GROUP BY e.customer_id
HAVING NOT coalesce(
  bool_and(p.granted), bool_and(s.source IS NOT NULL) FILTER (WHERE e.source <> '{DECISIONS}'), false)
"""


def barred_from_training(connection: duckdb.DuckDBPyConnection, settings: Settings) -> list[str]:
    """Customers of the view `customer_events` who said no, or nothing while a source of theirs lacks the purpose."""
    purpose = settings.consent.uses.training
    sources = pa.array(sorted(sources_under(settings, purpose)), pa.string())
    connection.register("training_sources", pa.table({"source": sources}))
    connection.register("training_permissions", permissions_table(open_identity(settings), purpose))
    return [row[0] for row in connection.execute(_BARRED).fetchall()]
