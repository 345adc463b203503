"""A workspace with everything the parts measure: a made-up lake, states, a small model, Feast."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import lightgbm as lgb

from feature_repo.state.build import build_states
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.settings import CHECKOUT, Settings, Workspace
from tests.benchmarks.services import SERVICE
from tests.contract.feature_lake import write_lake
from tests.unit.serving_parts import make_shop


@dataclass(frozen=True, slots=True)
class Size:
    """How much is made and measured."""

    customers: int = 2_000
    events_each: int = 100
    csv_rows: int = 300_000
    bulk_rows: int = 2_000_000
    points: int = 20_000
    identifiers: int = 100_000
    rounds: int = 7
    calls: int = 100


TINY = Size(customers=20, events_each=10, csv_rows=200, bulk_rows=200, points=8, identifiers=300, rounds=1, calls=1)


@dataclass(frozen=True, slots=True)
class Place:
    settings: Settings
    customers: tuple[str, ...]
    booster: lgb.Booster

    @property
    def features(self) -> tuple[str, ...]:
        return self.settings.features.service_features(SERVICE)


@contextmanager
def build(size: Size) -> Iterator[Place]:
    """A workspace of this checkout, as servers of other processes find it by its name; removed at the end."""
    shop = make_shop(CHECKOUT)
    workspace = Workspace(f"bench-{secrets.token_hex(4)}")
    shop.settings = replace(shop.settings, workspace=workspace)
    customers = [f"c{number}" for number in range(size.customers)]
    try:
        booster = shop.publish(version="1")
        write_lake(workspace.lake, size.customers * size.events_each, customers)
        build_states(shop.settings.features, workspace.lake, SQLiteStateStorage(workspace.state))
        yield Place(shop.settings, tuple(customers), booster)
    finally:
        shutil.rmtree(workspace.root, ignore_errors=True)
