"""Many customers by columns: row by row the same as one at a time, to the last bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.catalogue import NO_ACTION, Cap, Catalogue
from pipelines.decisions.decide import decide
from pipelines.decisions.decide_many import ManyContacts, ManySituations, candidates_of_many
from pipelines.decisions.situation import Predicted, Situation
from tests.unit.decide_parts import (
    CONSENTS,
    DAY,
    FEATURES,
    NAMES,
    NOON,
    action,
    cases,
    catalogue,
    contacts,
    drawn,
    situation,
)


@st.composite
def crowds(draw: Any) -> tuple[Catalogue, list[Situation]]:
    """A catalogue, and customers that differ in all but the instant and what was spent; every draw is explored."""
    offers, first = draw(cases())
    offers = replace(offers, exploration_share=1.0)
    amount = st.none() | st.floats(-0.2, 0.5)
    crowd = [
        replace(
            first,
            basis="effect",
            customer_id=f"c-{row}",
            features=draw(FEATURES),
            consents=draw(CONSENTS),
            contacts=draw(contacts(first.as_of)),
            predicted={item.id: Predicted(draw(amount), None) for item in offers.actions},
        )
        for row in range(draw(st.integers(0, 4)))
    ]
    return offers, crowd


def _columns(offers: Catalogue, crowd: list[Situation], as_of: int, spent: int) -> ManySituations:
    """The same customers as columns."""
    rows = len(crowd)
    features: dict[str, np.ndarray] = {}
    for name, kind in NAMES.items():
        found = [one.features.get(name) for one in crowd]
        features[name] = np.array(found, dtype=object if kind == "text" else np.float64)
    made = [(row, contact) for row, one in enumerate(crowd) for contact in one.contacts]
    amounts = [[one.predicted[item.id].effect for item in offers.actions] for one in crowd]
    return ManySituations(
        customers=np.array([one.customer_id for one in crowd], dtype=object),
        as_of=as_of,
        features=features,
        consents={
            purpose: np.array([purpose in one.consents for one in crowd], dtype=bool)
            for purpose in ("marketing", "profiling")
        },
        contacts=ManyContacts(
            np.array([row for row, _ in made], dtype=np.int64),
            np.array([contact.action for _, contact in made], dtype=object),
            np.array([contact.channel for _, contact in made], dtype=object),
            np.array([contact.at for _, contact in made], dtype=np.int64),
        ),
        amounts=np.array(amounts, dtype=np.float64).reshape(rows, len(offers.actions)),
        spent=spent,
    )


@drawn(max_examples=80)
@given(crowds())
def test_many_are_decided_as_one_is(case: tuple[Catalogue, list[Situation]]) -> None:
    offers, crowd = case
    as_of, spent = (crowd[0].as_of, crowd[0].spent) if crowd else (NOON, 0)
    found = candidates_of_many(offers, _columns(offers, crowd, as_of, spent))
    for row, one in enumerate(crowd):
        alone = decide(replace(offers, holdout_share=0.0), one)
        told = {item.action: item for item in alone.alternatives if item.action != NO_ACTION}
        assert [told[item.id].propensity > 0.0 for item in offers.actions] == found.open[row].tolist()
        for values, name in ((found.plain_value, "plain_value"), (found.expected_value, "expected_value")):
            expected = [getattr(told[item.id], name) for item in offers.actions]
            assert [None if np.isnan(value) else float(value) for value in values[row]] == expected
        assert found.stage[row] == alone.stage
        assert found.holdout[row] == decide(offers, one).holdout


def test_those_held_out_are_not_allocated() -> None:
    crowd = [situation(customer_id=f"c-{row}") for row in range(40)]
    offers = catalogue(action(), holdout_share=0.05)
    found = candidates_of_many(offers, _columns(offers, crowd, NOON, 0))
    held = np.flatnonzero(np.isnan(found.allocatable[:, 0])).tolist()
    assert held == [4, 20, 29, 32, 36]
    assert found.expected_value[:, 0].tolist() == [400.0] * 40


def test_a_wrong_shape_is_refused() -> None:
    one = catalogue(action())
    many = _columns(one, [situation()], NOON, 0)
    with pytest.raises(ValueError, match=r"expected shape \(1, 2\)"):
        candidates_of_many(catalogue(action(), action("reviews"), caps=(Cap(1, DAY),)), many)
