"""The part about identity: what an event costs while the graph of identifiers grows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from pipelines.events.journal import NewEvent, StoredEvent
from pipelines.identity.facts import Evidence, Facts, Pair
from pipelines.identity.store import IdentityStore
from pipelines.identity.vocabulary import Form
from pipelines.privacy import sealer_of
from tests.benchmarks.measure import Figure, interleave
from tests.benchmarks.place import Place, Size

# A customer has a user id and two cookies.
_EACH = 3
_LATE = 2**50
_numbers = count()


def identity(place: Place, size: Size) -> list[Figure]:
    """An event of known identifiers, and one that links a new one, in a small graph and in one that has grown."""
    grown = max(size.identifiers // _EACH, 1)
    customers = {f"{max(grown // share, 1) * _EACH:,}": max(grown // share, 1) for share in (100, 10, 1)}
    with tempfile.TemporaryDirectory(dir=place.settings.workspace.root) as folder:
        stores = {name: _grown(place, Path(folder) / str(n), n) for name, n in customers.items()}
        known = {f"known, of {name}": _known(stores[name], n) for name, n in customers.items()}
        fresh = {f"new link, of {name}": _fresh(stores[name], n) for name, n in customers.items()}
        return [
            *interleave("identity", known, size.rounds, size.calls, "events"),
            *interleave("identity", fresh, size.rounds, size.calls, "events"),
        ]


def _grown(place: Place, folder: Path, customers: int) -> IdentityStore:
    settings = place.settings
    store = IdentityStore(
        folder / "identity.db", settings.identity, settings.consent, lambda: sealer_of(settings.workspace)
    )
    facts = Facts()
    for customer in range(customers):
        user = Form("user_id", f"C{customer}")
        facts.saw(user, customer)
        for number in range(_EACH - 1):
            cookie = Form("cookie", f"{customer}-{number}")
            facts.saw(cookie, customer)
            facts.together(Pair(*sorted((user, cookie)), "event"), Evidence(customer, "web", f"e{customer}"))
    store.apply_facts(facts)
    return store


def _known(store: IdentityStore, customers: int) -> Callable[[], object]:
    which = _places(customers)
    return lambda: _applied(store, (customer := next(which)), f"{customer}-0")


def _fresh(store: IdentityStore, customers: int) -> Callable[[], object]:
    which = _places(customers)
    return lambda: _applied(store, next(which), f"new-{next(_numbers)}")


def _places(customers: int) -> Iterator[int]:
    """Customers far from each other, as visits come."""
    return (number * 7_919 % customers for number in count())


def _applied(store: IdentityStore, customer: int, cookie: str) -> None:
    number = next(_numbers)
    event = NewEvent(
        "web", f"n{number}", "Page Viewed", _LATE, _LATE, "web", f"C{customer}", identifiers={"cookie": cookie}
    )
    store.apply([StoredEvent(_LATE + number, event)])
    owner = store.owner(event)
    if owner is None or owner.customer_id != event.user_id:
        raise RuntimeError(f"the event of {event.user_id} is {owner}'s")
