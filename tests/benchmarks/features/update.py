"""The part about updates: one event into the online store, against `store.push` of one row."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, cycle

import pandas as pd
from feast import FeatureStore

from feature_repo.state.plan import plan_state
from feature_repo.state.storage import StateStorage, stored_state
from feature_repo.state.tiles import LoggedEvent, fold
from feature_repo.windows import SECOND
from tests.benchmarks.features.shop import FeatureShop, moment
from tests.benchmarks.features.spec import ORDER
from tests.benchmarks.features.stock import STAMP, beside_stock, push_source
from tests.benchmarks.measure import Figure, interleave
from tests.benchmarks.place import Place, Size


def update(place: Place, size: Size) -> list[Figure]:
    """One event: folded into its customer's 60 features and stored if newer; stock pushes a row of 20 given values."""
    figures = []
    for both in beside_stock(place, size):
        contenders = {
            f"{both.kind}: store.push of one row": pushing(both.shop, both.stock, both.as_of),
            f"{both.kind}: fold one event": updating(both.shop, both.storage, both.as_of),
        }
        figures += interleave("update", contenders, size.rounds, max(1, size.calls // 4), "events")
    return figures


def pushing(shop: FeatureShop, store: FeatureStore, as_of: int) -> Callable[[], object]:
    view = shop.spec.views[0]
    source = push_source(view.name)
    people, seconds = cycle(shop.people), count(1)

    def push() -> None:
        row = {feature.name: 1 if feature.kind == "integer" else 0.5 for feature in view.features}
        stamp = pd.Timestamp(moment(as_of + next(seconds) * SECOND))
        store.push(source, pd.DataFrame([{"customer_id": next(people), STAMP: stamp, **row}]))

    return push


def updating(shop: FeatureShop, storage: StateStorage, as_of: int) -> Callable[[], object]:
    plan, spec_hash = plan_state(shop.spec), shop.spec.hash
    people, numbers = cycle(shop.people), count(1)

    def put() -> None:
        number = next(numbers)
        customer, at = next(people), as_of + number * SECOND
        event = LoggedEvent(10**12 + number, ORDER, at, at, "web", 4_200, {"product_id": "p7"})
        known = storage.get_many(spec_hash, [customer])[customer]
        if storage.put_many(spec_hash, [stored_state(customer, fold(plan, known.data, [event]))]):
            raise RuntimeError(f"the state of {customer} stayed as it was")

    return put
