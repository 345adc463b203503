"""Two services on one workspace, the journal moving into the lake beside them, and clients that ask one what they told
the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from feature_repo.online import FeatureReader
from pipelines.events import lake
from pipelines.events.opening import event_store, open_states
from tests.e2e.state_place import HISTORY, Client, StatePlace, state_place
from tests.servers import needs_redis

pytestmark = pytest.mark.slow

CLIENTS, EVENTS = 3, 20
# The journal is looked at ten times a second, and moves whenever it holds that many rows.
COMPACTING = {"compact_every_seconds": 0.1, "compact_at_rows": 10}
COUNT = "order_completed_count_lifetime"
END = 4_000_000_000_000_000


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StatePlace]:
    url = needs_redis() if request.param == "redis" else ""
    with state_place(request.param, url, tmp_path_factory.mktemp("place"), **COMPACTING) as made:
        yield made


@dataclass
class Teller:
    """Tells one service of an order of a customer's, and asks the other of the customer; then the other way round."""

    number: int
    services: tuple[Client, Client]
    reader: FeatureReader
    sent: list[str] = field(default_factory=list)

    def run(self) -> None:
        mine = f"mine-{self.number}"
        for serial in range(EVENTS):
            told, asked = self.services[serial % 2], self.services[1 - serial % 2]
            newcomer = f"new-{self.number}-{serial}"
            # A customer of this client alone, one that is new, and one that all clients write.
            for customer in (mine, newcomer, HISTORY[0]):
                name = f"{customer}-{self.number}-{serial}"
                answer = told.track(name, customer)
                assert answer.status_code == 200, answer.text
                self.sent.append(name)
            for customer in (mine, newcomer, HISTORY[0]):
                predicted = asked.predict(customer)
                assert predicted.status_code == 200, predicted.text
            counts = self.reader.read([mine, newcomer], END).matrix[:, 0].tolist()
            assert counts == [serial + 1, 1]


def test_no_torn_read_no_error_and_no_stale_read_after_an_acknowledgement(place: StatePlace) -> None:
    services = (place.serve(), place.serve())
    storage, settings = open_states(place.settings), place.settings
    tellers = [
        Teller(number, services, FeatureReader(settings.features, storage, [COUNT])) for number in range(CLIENTS)
    ]
    for service in services:
        # The first event imports engines.
        service.wait_until(lambda service=service: service.track("first", "first").status_code == 200)
    before = lake.version(settings.workspace.lake)
    with ThreadPoolExecutor(CLIENTS) as pool:
        for running in [pool.submit(teller.run) for teller in tellers]:
            running.result()
    after = lake.version(settings.workspace.lake)
    assert before is not None
    assert after is not None
    assert after > before, "nothing moved meanwhile"
    with event_store(settings) as store:
        stored = Counter(name for name in store.read()["event_id"].to_pylist() if not name.startswith("history"))
    assert stored == Counter(["first", *(name for teller in tellers for name in teller.sent)])
    counts = FeatureReader(settings.features, storage, [COUNT]).read([HISTORY[0]], END).matrix
    assert counts.tolist() == [[3 + CLIENTS * EVENTS]]
    place.assert_states_are_right()
    for service in services:
        assert "Traceback" not in "".join(service.server.lines)
