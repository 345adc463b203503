"""One plan for many customers in a process of its own, which tells its time and its peak memory as JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from feature_repo.event_table import EVENT_SCHEMA
from feature_repo.windows import DAY
from pipelines.decide_batch import decide_all
from pipelines.decide_batch.crowd import CUSTOMERS_A_TIME, Crowd, contacts_of, joined, looked_at
from pipelines.decide_batch.features import Column
from pipelines.decide_batch.models import Deciding, deciding_of
from pipelines.decide_batch.plan import choose_for
from pipelines.decide_batch.table import plan_tables, written_whole
from pipelines.decisions.allocation import allocate
from pipelines.settings import Settings, Workspace, load_settings
from pipelines.state_build import build_state
from tests.benchmarks.processes import tell
from tests.unit.decide_batch_parts import offers, publish_effects

END = 20_000 * DAY
_ACTIONS, _EVENTS_EACH = 5, 5
_A_CONTACT = 1_200


def main(kind: str, customers: int, folder: Path) -> None:
    """Measure `kind` of plan for `customers`; what it is made from is made before."""
    settings = replace(load_settings(), workspace=Workspace("bench", folder))
    tell(_KINDS[kind](settings, customers))


def _allocate(settings: Settings, customers: int) -> Callable[[], object]:
    """The knapsack alone, over five actions."""
    generator = np.random.default_rng(3)
    values = generator.normal(0.0, 3_000.0, (customers, _ACTIONS))
    costs = np.array([300, 600, 1_200, 2_500, 5_000])
    return lambda: allocate(values, costs, customers * 300)


def _plan(settings: Settings, customers: int) -> Callable[[], object]:
    """From features as columns to the file: effects, rules, draws, allocation; a tenth can be paid for."""
    publish_effects(settings)
    return lambda: _planned(settings, customers)


def _planned(settings: Settings, customers: int) -> None:
    catalogue = offers(settings)
    deciding = deciding_of(settings, catalogue)
    parts = [_crowd(settings, deciding, begin, customers) for begin in range(0, customers, CUSTOMERS_A_TIME)]
    crowd = joined(parts, catalogue)
    choices = choose_for(catalogue, crowd, "effect", "bench", customers * _A_CONTACT // 10)
    with written_whole(settings.workspace.root / "plan.parquet") as writer:
        for table in plan_tables(catalogue, crowd, choices, "effect", "bench"):
            writer.write_table(table)


def _crowd(settings: Settings, deciding: Deciding, begin: int, customers: int) -> Crowd:
    catalogue, rows = offers(settings), min(CUSTOMERS_A_TIME, customers - begin)
    ids = tuple(f"c{number:07}" for number in range(begin, begin + rows))
    features = _columns(settings, deciding, rows, begin)
    amounts = deciding.amounts([action.id for action in catalogue.actions], features, rows)
    granted = {"marketing": np.random.default_rng(begin).random(rows) < 0.7}
    return looked_at(catalogue, ids, END, features, granted, contacts_of(iter(())), amounts, 0)


def _columns(settings: Settings, deciding: Deciding, rows: int, seed: int) -> dict[str, Column]:
    generator = np.random.default_rng(seed)
    names = dict.fromkeys([*offers(settings).features, *(deciding.model.features if deciding.model else ())])
    made: dict[str, Column] = {}
    for name in names:
        if settings.features.by_name[name].kind == "text":
            made[name] = np.full(rows, None, dtype=object)
        else:
            scale = 30_000.0 if "value" in name else 2.0
            made[name] = np.floor(generator.exponential(scale, rows))
    return made


def _prepare(settings: Settings, customers: int) -> Callable[[], object]:
    """A lake and its states: five events a customer, one of them a consent."""

    def prepared() -> None:
        _write_lake(settings.workspace, customers)
        build_state(settings)
        publish_effects(settings)

    return prepared


def _whole(settings: Settings, customers: int) -> Callable[[], object]:
    """All of `twin decide --all` over what `prepare` left in the folder."""
    return lambda: decide_all(settings, customers * _A_CONTACT // 10)


def _write_lake(workspace: Workspace, customers: int) -> None:
    query = f"""
SELECT i AS position, 'online_retail' AS source, CAST(i AS VARCHAR) AS event_id,
       CASE WHEN i < {customers} THEN 'Consent Updated' WHEN hash(i, 1) % 3 = 0 THEN 'Email Opened'
            ELSE 'Order Completed' END AS event,
       make_timestamptz({END} - CAST(hash(i, 2) % {90 * DAY} AS BIGINT) - 1) AS event_time, event_time AS available_at,
       printf('c%07d', i % {customers}) AS user_id, CAST(NULL AS VARCHAR) AS anonymous_id, '{{}}' AS identifiers,
       'web' AS channel,
       CASE WHEN event = 'Order Completed' THEN CAST(20000 + hash(i, 3) % 300000 AS BIGINT) END AS value,
       'THB' AS currency,
       CASE WHEN i < {customers} THEN '{{"purpose": "marketing", "granted": true}}'
            ELSE '{{"message_id": "m' || i || '", "units": 2, "lines": 1}}' END AS properties
FROM range({customers * _EVENTS_EACH}) AS numbers(i)
"""
    with duckdb.connect() as connection:
        reader = connection.sql(query).to_arrow_reader(200_000)
        batches = pa.RecordBatchReader.from_batches(EVENT_SCHEMA, (batch.cast(EVENT_SCHEMA) for batch in reader))
        write_deltalake(str(workspace.lake), batches, mode="append")


_KINDS: Mapping[str, Callable[[Settings, int], Callable[[], object]]] = {
    "allocate": _allocate, "plan": _plan, "prepare": _prepare, "whole": _whole,
}  # fmt: skip

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
