"""What follows from a score, and what never does."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.identity.comparisons import COMPARISONS
from pipelines.identity.rules import (
    CONTRADICTED,
    GREY,
    NAMES_ALONE,
    NO_GIVEN_NAME,
    OTHER_GIVEN_NAME,
    PROBABLE,
    decide_all,
    decide_pair,
)
from pipelines.identity.scoring import Finding, ScoredPair
from pipelines.settings.identity import MatchingConfig

THRESHOLDS = MatchingConfig(link=0.99, review=0.5)
WEAK = ("given_name", "family_name", "place")


def finding(name: str, gamma: int) -> Finding:
    level = next(comparison for comparison in COMPARISONS if comparison.name == name).words(gamma)
    return Finding(level.words, 5.0 if level.agrees else -2.0, level.agrees, level.strong, level.known)


def pair(probability: float, left: str = "a", right: str = "b", **gammas: int) -> ScoredPair:
    levels = {comparison.name: -1 for comparison in COMPARISONS} | gammas
    return ScoredPair(left, right, probability, {name: finding(name, gamma) for name, gamma in levels.items()})


AGREED = {"given_name": 3, "family_name": 3, "birth_date": 3}


def test_a_probable_pair_is_linked_a_grey_one_reviewed_and_an_improbable_one_left() -> None:
    assert decide_pair(pair(0.995, **AGREED), THRESHOLDS).verdict == "link"
    assert decide_pair(pair(0.99, **AGREED), THRESHOLDS).why == PROBABLE
    grey = decide_pair(pair(0.98, **AGREED), THRESHOLDS)
    assert (grey.verdict, grey.why) == ("review", GREY)
    assert decide_pair(pair(0.5, **AGREED), THRESHOLDS).verdict == "review"
    assert decide_pair(pair(0.499, **AGREED), THRESHOLDS).verdict == "nothing"


def _levels(name: str) -> st.SearchStrategy[int]:
    most = {comparison.name: len(comparison.levels) for comparison in COMPARISONS}
    return st.integers(-1, most[name])


@given(
    probability=st.floats(0, 1),
    given_name=_levels("given_name"),
    family_name=_levels("family_name"),
    place=_levels("place"),
    email=st.integers(-1, 1),
    phone=st.integers(-1, 0),
    birth_date=st.integers(-1, 1),
)
def test_names_alone_never_link_however_probable(probability: float, **gammas: int) -> None:
    """Same name, same place, an address made of the same name, a birth date that is nearly the same."""
    outcome = decide_pair(pair(probability, **gammas), THRESHOLDS)
    assert outcome.verdict in ("review", "nothing")
    assert (outcome.verdict == "review") == (probability >= THRESHOLDS.review)


def test_names_alone_are_told_as_such() -> None:
    assert decide_pair(pair(0.9999, given_name=3, family_name=3, place=2), THRESHOLDS).why == NAMES_ALONE


@given(
    probability=st.floats(0, 1),
    given_name=st.integers(-1, 0),
    phone=_levels("phone"),
    birth_date=_levels("birth_date"),
    email=_levels("email"),
)
def test_twins_and_families_never_link_however_probable(probability: float, **gammas: int) -> None:
    outcome = decide_pair(pair(probability, family_name=3, place=2, **gammas), THRESHOLDS)
    assert outcome.verdict != "link"


def test_given_names_that_differ_and_that_are_unknown_are_told_apart() -> None:
    differs = decide_pair(pair(0.999, given_name=0, phone=2, birth_date=3), THRESHOLDS)
    unknown = decide_pair(pair(0.999, given_name=-1, phone=2, birth_date=3), THRESHOLDS)
    assert (differs.why, unknown.why) == (OTHER_GIVEN_NAME, NO_GIVEN_NAME)


def test_links_that_contradict_each_other_are_reviewed_the_weaker_one() -> None:
    """a is b and b is c, but a and c were not even worth a review."""
    outcomes = decide_all([pair(0.992, "b", "c", **AGREED), pair(0.999, "a", "b", **AGREED)], THRESHOLDS)
    assert [(outcome.pair.left, outcome.verdict, outcome.why) for outcome in outcomes] == [
        ("a", "link", PROBABLE),
        ("b", "review", CONTRADICTED),
    ]
    with_the_third = decide_all(
        [pair(0.992, "b", "c", **AGREED), pair(0.999, "a", "b", **AGREED), pair(0.6, "a", "c", **AGREED)], THRESHOLDS
    )
    assert [outcome.verdict for outcome in with_the_third] == ["link", "link", "review"]


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda ends: ends[0] < ends[1]),
        st.floats(0, 1),
        max_size=21,
    )
)
def test_whoever_is_joined_by_links_is_worth_a_review_with_each_other(scores: dict[tuple[int, int], float]) -> None:
    pairs = [pair(value, str(left), str(right), **AGREED) for (left, right), value in scores.items()]
    outcomes = decide_all(pairs, THRESHOLDS)
    assert outcomes == decide_all(reversed(pairs), THRESHOLDS), "whatever order the pairs come in"
    links = [(outcome.pair.left, outcome.pair.right) for outcome in outcomes if outcome.verdict == "link"]
    for group in _groups(links):
        for left, right in combinations(sorted(group), 2):
            assert scores[(int(left), int(right))] >= THRESHOLDS.review


def _groups(links: list[tuple[str, str]]) -> list[set[str]]:
    """Slow and obvious: merge until nothing changes."""
    groups = [set(link) for link in links]
    while True:
        both = next(((a, b) for a, b in combinations(groups, 2) if a & b), None)
        if both is None:
            return groups
        groups = [group for group in groups if group not in both] + [both[0] | both[1]]


def test_evidence_holds_words_and_weights_and_nothing_of_the_customer() -> None:
    told = decide_pair(pair(0.999, **AGREED), THRESHOLDS).evidence()
    assert told["rule"] == PROBABLE
    assert told["comparisons"]["birth_date"] == {"says": "same birth date", "weight": 5.0}
    assert told["comparisons"]["phone"] == {"says": "not known of both", "weight": -2.0}
