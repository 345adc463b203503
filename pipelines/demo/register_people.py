"""The members of the stores' old loyalty register, before anything is mistyped: customers, and other people.

Nobody keeps a number of the customer register in it. Who of the members is which customer is drawn here,
and only the truth beside the exports says it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from pipelines.demo.config import RegisterConfig
from pipelines.demo.identities import Identities, mail_domain, postcode_in
from pipelines.demo.names import FAMILY, GIVEN, PROVINCES

SAME, FAMILY_MEMBER, TWIN, NAMESAKE, STRANGER = "same", "family", "twin", "namesake", "stranger"


@dataclass(frozen=True, slots=True)
class Person:
    """Who somebody is. `given` and `family` are indices of names; None where there is no such thing."""

    given: int
    family: int
    birth_date: date
    phone: str | None
    email: str | None
    province: str
    postcode: str


@dataclass(frozen=True, slots=True)
class Member:
    """A person of the register, how they stand to a customer, and the index of that customer (-1: to none)."""

    person: Person
    relation: str
    customer: int


def draw_members(config: RegisterConfig, identities: Identities, rng: np.random.Generator) -> list[Member]:
    """All members in the order of their numbers, which tells nothing of who they are."""
    count = len(identities.customer)
    order = rng.permutation(count)
    same = round(count * config.customer_share)
    others = round(count * config.other_share)
    family, twins, namesakes = (
        round(others * share) for share in (config.family_share, config.twin_share, config.namesake_share)
    )
    relations = [FAMILY_MEMBER] * family + [TWIN] * twins + [NAMESAKE] * namesakes
    relations += [STRANGER] * (others - len(relations))
    taken = {digits(phone) for phone in identities.phone}
    members = [Member(customer(identities, int(index)), SAME, int(index)) for index in order[:same]]
    for relation, index in zip(relations, order[same : same + others], strict=True):
        person = _relative(relation, customer(identities, int(index)), taken, rng)
        members.append(Member(person, relation, -1 if relation == STRANGER else int(index)))
    return [members[place] for place in rng.permutation(len(members))]


def customer(identities: Identities, index: int) -> Person:
    """A customer as the customer register has them."""
    given, family = identities.name_index[index]
    return Person(
        given,
        family,
        identities.birth_date[index],
        digits(identities.phone[index]),
        identities.email[index],
        identities.province[index],
        identities.postcode[index],
    )


def digits(phone: str) -> str:
    """A number as it is dialled at home."""
    return "0" + phone[4:].replace(" ", "") if phone.startswith("+66") else phone.replace("-", "")


def new_phone(taken: set[str], rng: np.random.Generator) -> str:
    """A number that nobody has; it counts as taken from now on."""
    while (number := f"0800{rng.integers(0, 10**6):06d}") in taken:
        pass
    taken.add(number)
    return number


def other_index(count: int, but: int, rng: np.random.Generator) -> int:
    """One of `count` indices, never `but`."""
    return (but + 1 + int(rng.integers(0, count - 1))) % count


def _relative(relation: str, near: Person, taken: set[str], rng: np.random.Generator) -> Person:
    """Somebody else who has something in common with `near`; a stranger has nothing."""
    other_name = other_index(len(GIVEN), near.given, rng)
    if relation == FAMILY_MEMBER:
        years = timedelta(days=int(rng.integers(500, 12_000)) * (1 if rng.random() < 0.5 else -1))
        return replace(near, given=other_name, birth_date=near.birth_date + years, email=None)
    if relation == TWIN:
        return replace(near, given=other_name, email=None)
    province = PROVINCES[int(rng.choice(len(PROVINCES), p=[share for _, share in PROVINCES]))][0]
    person = Person(
        given=int(rng.integers(0, len(GIVEN))),
        family=int(rng.integers(0, len(FAMILY))),
        birth_date=date(1950, 1, 1) + timedelta(days=int(rng.integers(0, 20_000))),
        phone=new_phone(taken, rng),
        email=None,
        province=province,
        postcode=postcode_in(province, rng),
    )
    if relation == NAMESAKE:
        person = replace(person, given=near.given, family=near.family)
    name = f"{GIVEN[person.given][1]}.{FAMILY[person.family][1]}".lower()
    return replace(person, email=f"{name}{rng.integers(4000, 9999)}@{mail_domain(rng)}")
