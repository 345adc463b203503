"""The part about one customer with a long history: reads, updates and the size of the state."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from feature_repo.online import FeatureReader
from feature_repo.windows import HOUR
from tests.benchmarks.features.events import SPAN, customer, write_history
from tests.benchmarks.features.shop import FeatureShop, build, make_shop
from tests.benchmarks.features.update import updating
from tests.benchmarks.measure import Figure, interleave
from tests.benchmarks.place import Place, Size


def history(place: Place, size: Size) -> list[Figure]:
    """One customer whose history grows, over two years, and within the last half hour: a read, and an update."""
    with tempfile.TemporaryDirectory(dir=place.settings.workspace.root) as folder:
        spread = {f"{n:,}": _shop(Path(folder) / f"spread-{n}", n, SPAN) for n in size.history}
        recent = {f"{n:,}": _shop(Path(folder) / f"recent-{n}", n, HOUR // 2) for n in size.recent_history}
        return [*_measured(spread, size, "events"), *_measured(recent, size, "in half an hour")]


def _shop(folder: Path, events: int, span: int) -> FeatureShop:
    shop = make_shop(folder, 1, 0)
    write_history(shop.lake, events, span)
    return shop


def _measured(shops: Mapping[str, FeatureShop], size: Size, of: str) -> list[Figure]:
    reads: dict[str, Callable[[], object]] = {}
    updates: dict[str, Callable[[], object]] = {}
    for events, shop in shops.items():
        as_of = build(shop)
        state = shop.storage().get_many(shop.spec.hash, [customer(0)])[customer(0)]
        named = f"{events} {of}, {len(state.data):,} bytes"
        reads[f"read, {named}"] = _reading(shop, as_of)
        updates[f"update, {named}"] = updating(shop, shop.storage(), as_of)
    calls = max(1, size.calls // 10)
    # Reads first: what an update puts on top would change them.
    return [
        *interleave("history", reads, size.rounds, calls, "reads"),
        *interleave("history", updates, size.rounds, calls, "events"),
    ]


def _reading(shop: FeatureShop, as_of: int) -> Callable[[], object]:
    reader = FeatureReader(shop.spec, shop.storage(), shop.names)
    return lambda: reader.read([customer(0)], as_of)
