"""The parts about training sets: features at points in the past, and how their cost grows."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import FeatureStore

from feature_repo.spec import FeatureSpec
from feature_repo.stores.points import POINT_SCHEMA
from feature_repo.windows import DAY
from tests.benchmarks.features.asof import FEATURES, asof_features
from tests.benchmarks.features.events import END
from tests.benchmarks.features.precomputed import precompute
from tests.benchmarks.features.shop import FeatureShop, make_shop
from tests.benchmarks.features.spec import SERVICE, write_spec
from tests.benchmarks.features.stock import stock_store
from tests.benchmarks.measure import Figure, interleave, ratios
from tests.benchmarks.place import Place, Size
from tests.benchmarks.processes import run_module, tell

EVENTS_A_CUSTOMER = 100


def training(place: Place, size: Size) -> list[Figure]:
    """60 features at points of the last year. Stock joins values computed right after each event, which do not age.

    Its tables are made beforehand in the first row, and in the round itself in the second. Then totals and
    latest values alone, against an ASOF join written by hand.
    """
    with tempfile.TemporaryDirectory(dir=place.settings.workspace.root) as folder:
        shop = make_shop(Path(folder), customers_of(size.training_events), size.training_events)
        asked = points_of(shop, size.training_points)
        store, tables = shop.open_store(), shop.folder / "stock"
        precompute(shop.spec, shop.lake, tables)
        with stock_store(tables, shop.spec, "sqlite") as stock:

            def from_scratch() -> None:
                precompute(shop.spec, shop.lake, tables)
                features(stock, asked)

            whole = {
                "stock Feast, tables given": lambda: features(stock, asked),
                "stock Feast, tables computed": from_scratch,
                "get_historical_features": lambda: features(store, asked),
            }
            found = interleave("training", whole, min(3, size.rounds), 1, "points", size.training_points)
        return found + _beside_asof(shop, store, asked, size)


def _beside_asof(shop: FeatureShop, store: FeatureStore, asked: pd.DataFrame, size: Size) -> list[Figure]:
    """Raises RuntimeError if the two differ in any value."""
    views = {feature.name: view.name for view in shop.spec.views for feature in view.features}
    refs = [f"{views[name]}:{name}" for name in FEATURES]
    instants = pa.array(asked["event_timestamp"]).cast(pa.int64())
    points = pa.table([pa.array(range(len(asked))), pa.array(asked["customer_id"]), instants], POINT_SCHEMA)

    def ours() -> pa.Table:
        return store.get_historical_features(asked, refs).to_arrow()

    table, by_hand = ours(), asof_features(shop.lake, points)
    for place, name in enumerate(FEATURES):
        if table.column(name).to_pylist() != by_hand.column(place).to_pylist():
            raise RuntimeError(f"{name} by hand is not what get_historical_features says")
    contenders = {"ASOF join by hand, 8 features": lambda: asof_features(shop.lake, points), "the same 8 of ours": ours}
    return interleave("training", contenders, min(3, size.rounds), 1, "points", size.training_points)


def growth(place: Place, size: Size) -> list[Figure]:
    """A training set of 60 features as points and events grow, a process each, with its peak memory."""
    seconds: list[list[float]] = [[] for _ in size.growth]
    peaks: list[list[float]] = [[] for _ in size.growth]
    with tempfile.TemporaryDirectory(dir=place.settings.workspace.root) as folder:
        for step, (_, events) in enumerate(size.growth):
            make_shop(Path(folder) / str(step), customers_of(events), events)
        for _ in range(min(size.growth_rounds, size.rounds)):
            for step, (points, events) in enumerate(size.growth):
                module, made = "tests.benchmarks.features.training", str(Path(folder) / str(step))
                told = run_module(module, made, str(points), str(customers_of(events)))
                seconds[step].append(1_000 * told["seconds"] / points)
                peaks[step].append(told["megabytes"])
    names = [
        f"{points:,} points, {events:,} events, {median(peak):,.0f} MB"
        for (points, events), peak in zip(size.growth, peaks, strict=True)
    ]
    return [
        Figure(
            "growth", name, tuple(taken), "points", 1_000, names[0], () if step == 0 else ratios(taken, seconds[0])
        )
        for step, (name, taken) in enumerate(zip(names, seconds, strict=True))
    ]  # fmt: skip


def customers_of(events: int) -> int:
    return max(1, events // EVENTS_A_CUSTOMER)


def points_of(shop: FeatureShop, count: int) -> pd.DataFrame:
    """`count` (customer_id, event_timestamp) at any instants of the year before END."""
    rng = np.random.default_rng(2)
    instants = pd.to_datetime(END - rng.integers(0, 365 * DAY, count), unit="us", utc=True)
    customers = np.array(shop.people, dtype=object)[rng.integers(0, shop.customers, count)]
    return pd.DataFrame({"customer_id": customers, "event_timestamp": instants.astype("datetime64[us, UTC]")})


def features(store: FeatureStore, asked: pd.DataFrame) -> pa.Table:
    return store.get_historical_features(asked, store.get_feature_service(SERVICE)).to_arrow()


def main(folder: Path, points: int, customers: int) -> None:
    """One training set of the shop in `folder`."""
    spec: FeatureSpec = write_spec(folder / "features.yaml")
    shop = FeatureShop(folder, spec, customers)
    store, asked = shop.open_store(), points_of(shop, points)
    tell(lambda: features(store, asked))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
