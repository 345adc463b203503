"""Names, numbers and addresses of the customers. All invented; none of it tells how they behave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from pipelines.demo.config import DemoConfig
from pipelines.demo.names import FAMILY, GIVEN, POSTCODES, PROVINCES
from pipelines.demo.randomness import generator, tokens
from pipelines.demo.traits import Traits

_MAIL_DOMAINS = ("example.com", "example.net", "example.org")
_COOKIE_DAYS = 150
_FIRST_BIRTH, _BIRTH_DAYS = date(1950, 1, 1), 20_000
_DISTRICTS = 12


@dataclass(frozen=True, slots=True)
class Identities:
    """One entry a customer; None where there is no such thing."""

    customer: tuple[str, ...]
    name_th: tuple[str, ...]
    name_en: tuple[str, ...]
    email: tuple[str | None, ...]
    phone: tuple[str, ...]
    line: tuple[str | None, ...]
    card: tuple[str, ...]
    device: tuple[str, ...]
    province: tuple[str, ...]
    postcode: tuple[str, ...]
    birth_date: tuple[date, ...]
    # Places in GIVEN and FAMILY.
    name_index: tuple[tuple[int, int], ...]


def customer_ids(count: int) -> list[str]:
    """Customer numbers: `C000001` and on."""
    return [f"C{index + 1:06d}" for index in range(count)]


def make_identities(config: DemoConfig, traits: Traits) -> Identities:
    """Invent everyone. Phone numbers come in three ways of writing; e-mail only at example domains."""
    rng = generator(config.seed, "identities")
    count = traits.count
    given, family = rng.integers(0, len(GIVEN), count), rng.integers(0, len(FAMILY), count)
    province = rng.choice(len(PROVINCES), count, p=[share for _, share in PROVINCES])
    phones = rng.permutation(10**6)[:count]
    ways, domains = rng.integers(0, 3, count), rng.integers(0, len(_MAIL_DOMAINS), count)
    numbers = np.arange(count)
    line = tokens(config.seed, "line", numbers)
    # Streams of their own: what was added later changes nothing of what was drawn before.
    births = generator(config.seed, "birth dates").integers(0, _BIRTH_DAYS, count)
    district = generator(config.seed, "postcodes")
    provinces = tuple(PROVINCES[index][0] for index in province)
    return Identities(
        customer=tuple(customer_ids(count)),
        name_th=tuple(f"{GIVEN[g][0]} {FAMILY[f][0]}" for g, f in zip(given, family, strict=True)),
        name_en=tuple(f"{GIVEN[g][1]} {FAMILY[f][1]}" for g, f in zip(given, family, strict=True)),
        email=tuple(
            f"{GIVEN[g][1]}.{FAMILY[f][1]}{i}@{_MAIL_DOMAINS[d]}".lower() if has else None
            for i, (g, f, d, has) in enumerate(zip(given, family, domains, traits.has_email, strict=True))
        ),
        phone=tuple(_phone(int(number), int(way)) for number, way in zip(phones, ways, strict=True)),
        line=tuple(f"U{a}{a[::-1]}" if has else None for a, has in zip(line, traits.has_line, strict=True)),
        card=tuple(f"88{number:010d}" for number in (rng.permutation(10**6)[:count] + 10**9)),
        device=tuple(tokens(config.seed, "device", numbers)),
        province=provinces,
        postcode=tuple(postcode_in(name, district) for name in provinces),
        birth_date=tuple(_FIRST_BIRTH + timedelta(days=int(days)) for days in births),
        name_index=tuple((int(g), int(f)) for g, f in zip(given, family, strict=True)),
    )


def postcode_in(province: str, rng: np.random.Generator) -> str:
    """A postcode of one of the province's districts."""
    return f"{POSTCODES[province]}{10 * int(rng.integers(0, _DISTRICTS)):03d}"


def mail_domain(rng: np.random.Generator) -> str:
    """One of the example domains."""
    return _MAIL_DOMAINS[int(rng.integers(0, len(_MAIL_DOMAINS)))]


def _phone(number: int, way: int) -> str:
    text = f"0800{number:06d}"
    return (text, f"{text[:3]}-{text[3:6]}-{text[6:]}", f"+66 {text[1:3]} {text[3:6]} {text[6:]}")[way]


def cookie_numbers(customer: NDArray[np.int64], day: int) -> NDArray[np.int64]:
    """The number behind a customer's cookie on a day: a browser keeps one for about five months."""
    return customer * 1000 + (day + customer * 37 % _COOKIE_DAYS) // _COOKIE_DAYS


def stranger_numbers(count: int, day: int) -> NDArray[np.int64]:
    """Numbers behind the cookies of visitors who never become customers."""
    return -1 - (day * 10**6 + np.arange(count, dtype=np.int64))
