"""The part about reading: 60 features of 1 and of 64 customers, against stock Feast's store of the same kind."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

from feast import FeatureStore

from feature_repo.online import FeatureReader
from tests.benchmarks.features.shop import FeatureShop
from tests.benchmarks.features.spec import SERVICE
from tests.benchmarks.features.stock import beside_stock
from tests.benchmarks.measure import Figure, interleave
from tests.benchmarks.place import Place, Size

MANY = 64


def online(place: Place, size: Size) -> list[Figure]:
    """60 features in 3 views, of 1 and of 64 customers: stock Feast, Feast over our states, our columnar read."""
    figures = []
    for both in beside_stock(place, size):
        shop, ours = both.shop, both.shop.open_store(**both.online)
        agree(shop, both.stock, ours)
        reader = FeatureReader(shop.spec, both.storage, shop.names)
        figures += _compare(shop, size, both.kind, both.stock, ours, reader)
    return figures


def agree(shop: FeatureShop, stock: FeatureStore, ours: FeatureStore) -> None:
    """Raises RuntimeError if the two stores differ in any value of the first customers."""
    rows = [{"customer_id": customer} for customer in shop.people[:MANY]]
    answers = [store.get_online_features(store.get_feature_service(SERVICE), rows).to_dict() for store in (stock, ours)]
    if answers[0] != answers[1]:
        raise RuntimeError(f"stock says {answers[0]}, ours {answers[1]}")


def _compare(
    shop: FeatureShop, size: Size, kind: str, stock: FeatureStore, ours: FeatureStore, reader: FeatureReader
) -> list[Figure]:
    as_of = reader.data_end()
    if as_of is None:
        raise RuntimeError("there are no states")

    def feast(store: FeatureStore, count: int) -> Callable[[], object]:
        service = store.get_feature_service(SERVICE)
        people = cycle([[{"customer_id": customer} for customer in chunk] for chunk in chunks(shop.people, count)])
        return lambda: store.get_online_features(service, next(people)).to_dict()

    def columnar(count: int) -> Callable[[], object]:
        people = cycle(chunks(shop.people, count))
        return lambda: reader.read(next(people), as_of)

    figures: list[Figure] = []
    for count in (1, MANY):
        contenders = {
            f"{kind}: stock Feast, of {count}": feast(stock, count),
            f"{kind}: Feast over ours, of {count}": feast(ours, count),
            f"{kind}: columnar read, of {count}": columnar(count),
        }
        calls = max(2, size.calls // (1 if count == 1 else 6))
        figures += interleave("online", contenders, size.rounds, calls, "customers", count)
    return figures


def chunks(people: list[str], count: int) -> list[list[str]]:
    """Groups of exactly `count` customers, the first ones again where there are too few."""
    enough = (people * (1 + count // len(people)))[: max(count, len(people))]
    return [enough[at : at + count] for at in range(0, len(enough) - count + 1, count)]
