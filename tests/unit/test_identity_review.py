"""The review queue: nothing is asked twice, nothing that was decided is lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pipelines.console import UserError
from pipelines.identity.decisions import Decision
from pipelines.identity.review import ReviewQueue, pair_name
from pipelines.identity.rules import GREY, PROBABLE, Outcome
from tests.unit.test_identity_rules import AGREED, pair


class Remembered:
    """Decisions in memory; may fail at the n-th."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.told: list[Decision] = []
        self._fails_at = fails_at

    def decide(self, decision: Decision) -> frozenset[str]:
        if len(self.told) == self._fails_at:
            raise OSError("killed")
        self.told.append(decision)
        return frozenset({decision.left[1]})


def outcome(left: str, right: str, probability: float) -> Outcome:
    link = probability >= 0.99
    return Outcome(pair(probability, left, right, **AGREED), "link" if link else "review", PROBABLE if link else GREY)


@pytest.fixture
def queue(tmp_path: Path) -> ReviewQueue:
    return ReviewQueue(tmp_path / "identity.db")


def test_links_are_decided_and_the_rest_waits_the_most_probable_first(queue: ReviewQueue) -> None:
    noted = queue.note([outcome("a", "b", 0.999), outcome("c", "d", 0.6), outcome("e", "f", 0.8)], 7)
    assert (noted.linked, noted.waiting, noted.known) == (1, 2, 0)
    assert [(item.left, item.right) for item in queue.waiting()] == [("e", "f"), ("c", "d")]
    (decided,) = queue.decided()
    assert (decided.left, decided.verdict, decided.by, decided.decided_at) == ("a", "link", "match", 7)


def test_a_decided_pair_is_never_asked_again_nor_linked(queue: ReviewQueue) -> None:
    queue.note([outcome("a", "b", 0.6)], 1)
    queue.decide(pair_name("b", "a"), "apart", "somchai", "twins", 2)
    noted = queue.note([outcome("a", "b", 0.999)], 3)
    assert (noted.linked, noted.waiting, noted.known) == (0, 0, 1)
    assert queue.waiting() == []
    (decided,) = queue.decided()
    assert (decided.verdict, decided.by, decided.note, decided.probability) == ("apart", "somchai", "twins", 0.6)


def test_what_waits_follows_the_newest_run(queue: ReviewQueue) -> None:
    queue.note([outcome("a", "b", 0.6), outcome("c", "d", 0.7)], 1)
    queue.note([outcome("a", "b", 0.8)], 2)
    assert [(item.left, item.probability, item.found_at) for item in queue.waiting()] == [("a", 0.8, 2)]


def test_a_pair_is_decided_once(queue: ReviewQueue) -> None:
    queue.note([outcome("a", "b", 0.6)], 1)
    queue.decide(pair_name("a", "b"), "link", "somchai", None, 2)
    with pytest.raises(UserError, match="decided: link, by somchai"):
        queue.decide(pair_name("a", "b"), "apart", "malee", None, 3)
    with pytest.raises(UserError, match="which is none"):
        queue.decide("nothing", "apart", "malee", None, 3)
    assert queue.decided()[0].by == "somchai"


def test_the_store_of_links_is_told_everything_once(queue: ReviewQueue) -> None:
    queue.note([outcome("a", "b", 0.999), outcome("c", "d", 0.6)], 1)
    queue.decide(pair_name("c", "d"), "apart", "somchai", "brothers", 2)
    store = Remembered()
    assert queue.tell(store) == {"a", "c"}
    assert queue.tell(store) == frozenset()
    link, apart = store.told
    assert (link.verdict, link.left, link.right) == ("link", ("user_id", "a"), ("user_id", "b"))
    assert (link.method, link.by, link.at, link.probability) == ("match", "match", 1, 0.999)
    assert link.evidence["comparisons"]["birth_date"]["says"] == "same birth date"
    assert (apart.verdict, apart.method, apart.by, apart.at) == ("apart", "manual", "somchai", 2)
    assert apart.evidence["note"] == "brothers"


def test_a_crash_while_telling_loses_no_decision(queue: ReviewQueue, tmp_path: Path) -> None:
    queue.note([outcome("a", "b", 0.999), outcome("c", "d", 0.998), outcome("e", "f", 0.997)], 1)
    broken = Remembered(fails_at=1)
    with pytest.raises(OSError, match="killed"):
        queue.tell(broken)
    store = Remembered()
    ReviewQueue(tmp_path / "identity.db").tell(store)
    assert [decision.left[1] for decision in broken.told + store.told] == ["a", "c", "e"]


def test_nothing_of_a_forgotten_customer_stays(queue: ReviewQueue, tmp_path: Path) -> None:
    queue.note([outcome("a", "b", 0.999), outcome("b", "c", 0.6), outcome("d", "e", 0.6)], 1)
    assert queue.forget(["b"]) == 2
    assert [item.left for item in queue.waiting() + queue.decided()] == ["d"]


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "identity.db").write_text("no database, whatever its name says" * 10)
    with pytest.raises(sqlite3.DatabaseError):
        ReviewQueue(tmp_path / "identity.db")
