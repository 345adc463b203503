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
    training_points: int = 10_000
    training_events: int = 200_000
    # Points and events of training sets that grow.
    growth: tuple[tuple[int, int], ...] = ((5_000, 100_000), (10_000, 200_000), (50_000, 1_000_000))
    growth_rounds: int = 2
    # Events of one customer, over two years and within half an hour.
    history: tuple[int, ...] = (1_000, 10_000, 100_000)
    recent_history: tuple[int, ...] = (100, 1_000, 5_000)
    # As-of points of whole training runs, and the seconds that each of their tunings has.
    train_points: tuple[int, ...] = (10_000, 100_000)
    train_budget: float = 60
    identifiers: int = 100_000
    # Customers of plans: from columns, and from a lake with all its states.
    planned: tuple[int, ...] = (100_000, 1_000_000)
    planned_whole: tuple[int, ...] = (10_000, 100_000)
    # Clients at once, their requests a round, and how many customers there are to predict of.
    clients: tuple[int, ...] = (1, 8, 64)
    requests: int = 2_000
    among: tuple[int, ...] = (100, 10_000)
    rounds: int = 7
    calls: int = 100


TINY = Size(
    customers=20,
    events_each=10,
    csv_rows=200,
    bulk_rows=200,
    training_points=20,
    training_events=1_000,
    growth=((10, 1_000),),
    history=(10, 100),
    recent_history=(10, 20),
    train_points=(2_000,),
    train_budget=1,
    identifiers=300,
    planned=(300,),
    planned_whole=(200,),
    clients=(1, 3),
    requests=10,
    among=(5, 20),
    rounds=1,
    calls=1,
)  # fmt: skip
# The sizes that figures are published of; it takes an hour and more.
FULL = Size(
    customers=20_000,
    training_points=100_000,
    training_events=2_000_000,
    growth=((10_000, 500_000), (100_000, 5_000_000), (300_000, 15_000_000), (1_000_000, 50_000_000)),
    growth_rounds=1,
    history=(1_000, 10_000, 100_000, 1_000_000),
    recent_history=(100, 1_000, 10_000),
    train_points=(10_000, 100_000, 1_000_000),
    planned_whole=(100_000, 1_000_000),
    requests=10_000,
    among=(100, 10_000, 1_000_000),
    rounds=3,
)  # fmt: skip


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
