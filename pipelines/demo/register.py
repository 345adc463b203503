"""The export of the old loyalty register: how its clerks wrote names, numbers and dates down."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.demo.config import DemoConfig, RegisterConfig
from pipelines.demo.files import write_csv
from pipelines.demo.identities import Identities, mail_domain, postcode_in
from pipelines.demo.names import FAMILY, GIVEN, PROVINCES
from pipelines.demo.randomness import generator
from pipelines.demo.register_people import SAME, Member, Person, digits, draw_members, new_phone, other_index
from pipelines.demo.simulation import Simulation

_LONGEST_AGO_DAYS = 1400
_TITLES = {True: ("นาย", "นาง", "นางสาว", "คุณ"), False: ("Mr. ", "Mrs. ", "Ms. ", "Khun ")}
# What else people write for the same sound.
_SPELLINGS = (
    (r"ee", ("i", "ii", "y")), (r"oo", ("u", "ou")), (r"porn", ("phorn", "phon", "pon")), (r"ph", ("p",)),
    (r"th", ("t",)), (r"t(?!h)", ("th",)), (r"w(?=[aeiou])", ("v",)), (r"j", ("ch",)), (r"ch", ("sh", "j")),
    (r"k(?!h)", ("g", "kh")), (r"kaew", ("keaw", "kaeo")), (r"ai", ("ay", "i")), (r"ng", ("g",)), (r"s", ("z",)),
)  # fmt: skip
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row as it was written."""

    name: str
    phone: str | None
    email: str | None
    birth_date: str | None
    province: str | None
    postcode: str | None


def write_register(config: DemoConfig, folder: Path, truth: Path, world: Simulation, identities: Identities) -> int:
    """`register.csv`, and `matches.parquet` in `truth`: each member's customer (null: is none), and relation.

    Everybody enrolled before the first day, so a later end of the demo changes nothing here.
    """
    members = draw_members(config.loyalty_register, identities, generator(config.seed, "register people"))
    taken = {digits(phone) for phone in identities.phone}
    rows, numbers = [], [f"L{place + 1:06d}" for place in range(len(members))]
    for place, (number, member) in enumerate(zip(numbers, members, strict=True)):
        rng = generator(config.seed, "register entry", place)
        entry = write_down(config.loyalty_register, member, taken, rng)
        enrolled = config.start - timedelta(days=int(rng.integers(1, _LONGEST_AGO_DAYS)))
        at = f"{enrolled:%d/%m/%Y} {rng.integers(10, 20):02d}:{rng.integers(0, 60):02d}"
        contact = (entry.phone, entry.email, entry.birth_date, entry.province, entry.postcode)
        rows.append((number, at, entry.name, *contact))
    header = ("member_no", "enrolled_at", "name", "phone", "email", "birth_date", "province", "postcode")
    write_csv(folder / "register.csv", header, rows, delimiter=";")
    pq.write_table(_truth(config, numbers, members, world, identities), truth / "matches.parquet")
    return len(rows)


def _truth(
    config: DemoConfig, numbers: list[str], members: list[Member], world: Simulation, identities: Identities
) -> pa.Table:
    registered = world.traits.registered < config.days
    same = [member.relation == SAME and bool(registered[member.customer]) for member in members]
    who = [identities.customer[m.customer] if is_same else None for m, is_same in zip(members, same, strict=True)]
    near = [identities.customer[m.customer] if m.customer >= 0 else None for m in members]
    return pa.table(
        {
            "member_id": numbers,
            "customer_id": pa.array(who, pa.string()),
            "relation": [member.relation for member in members],
            "related_to": pa.array(near, pa.string()),
        }
    )


def write_down(config: RegisterConfig, member: Member, taken: set[str], rng: np.random.Generator) -> Entry:
    """What a clerk wrote of a member. Only a customer's own entry is old or in other words: the others are
    as they were made, but for the same slips."""
    person, mine = member.person, member.relation == SAME
    moved = mine and rng.random() < config.moved_share
    province = PROVINCES[int(rng.integers(0, len(PROVINCES)))][0] if moved else person.province
    postcode = postcode_in(province, rng) if moved or rng.random() < 0.05 else person.postcode
    return Entry(
        name=_name(config, person, mine, rng),
        phone=_phone(config, person.phone, mine, taken, rng),
        email=_email(config, person.email, mine, rng),
        birth_date=_birth_date(config, person.birth_date, rng),
        province=province,
        postcode=None if rng.random() < config.missing_postcode_share else postcode,
    )


def _name(config: RegisterConfig, person: Person, mine: bool, rng: np.random.Generator) -> str:
    thai = bool(rng.random() < config.thai_share)
    maiden = mine and rng.random() < config.maiden_share
    family = other_index(len(FAMILY), person.family, rng) if maiden else person.family
    script = 0 if thai else 1
    words = [GIVEN[person.given][script], FAMILY[family][script]]
    if not thai:
        words = [_respelled(word, rng) for word in words]
    if rng.random() < config.typo_share:
        place = int(rng.integers(0, 2))
        words[place] = _slip(words[place], rng)
    title = str(rng.choice(_TITLES[thai])) if rng.random() < config.title_share else ""
    return title + " ".join(words)


def _respelled(word: str, rng: np.random.Generator) -> str:
    """The word with up to two sounds in another spelling."""
    text = word.lower()
    for _ in range(int(rng.integers(0, 3))):
        fitting = [(pattern, others) for pattern, others in _SPELLINGS if re.search(pattern, text)]
        if fitting:
            pattern, others = fitting[int(rng.integers(0, len(fitting)))]
            text = re.sub(pattern, str(rng.choice(others)), text, count=1)
    return text.capitalize()


def _slip(text: str, rng: np.random.Generator) -> str:
    """One letter left out, doubled, or changed with the next one."""
    place, kind = int(rng.integers(1, len(text) - 1)), int(rng.integers(0, 3))
    middle = ("", text[place] * 2, text[place + 1] + text[place])[kind]
    return text[:place] + middle + text[place + (2 if kind == 2 else 1) :]


def _phone(
    config: RegisterConfig, phone: str | None, mine: bool, taken: set[str], rng: np.random.Generator
) -> str | None:
    draw = rng.random()
    if phone is None or draw < config.missing_phone_share:
        return None
    if not mine or draw > 1.0 - config.same_phone_share:
        return phone
    if draw < config.missing_phone_share + config.old_phone_share:
        return new_phone(taken, rng)
    place = int(rng.integers(4, 9))
    if rng.random() < 0.4 and phone[place] != phone[place + 1]:
        return phone[:place] + phone[place + 1] + phone[place] + phone[place + 2 :]
    return phone[:place] + str((int(phone[place]) + 1 + int(rng.integers(0, 9))) % 10) + phone[place + 1 :]


def _email(config: RegisterConfig, email: str | None, mine: bool, rng: np.random.Generator) -> str | None:
    draw = rng.random()
    if email is None or draw < config.missing_email_share:
        return None
    if not mine or draw > 1.0 - config.same_email_share:
        return email
    local, domain = email.split("@")
    if draw < config.missing_email_share + config.other_email_share:
        return f"{rng.choice(list(_LETTERS))}{rng.choice(list(_LETTERS))}{rng.integers(100, 9999)}@{domain}"
    if rng.random() < 0.6:
        return f"{local}@{_other_domain(domain, rng)}"
    return f"{_slip(local, rng)}@{domain}"


def _other_domain(domain: str, rng: np.random.Generator) -> str:
    while (other := mail_domain(rng)) == domain:
        pass
    return other


def _birth_date(config: RegisterConfig, born: date, rng: np.random.Generator) -> str | None:
    """Day first, in years of the Buddhist era, as a Thai form has it."""
    draw = rng.random()
    if draw < config.missing_birth_date_share:
        return None
    day, month, year = born.day, born.month, born.year + 543
    if draw > 1.0 - config.swapped_birth_date_share and day <= 12:
        day, month = month, day
    elif draw > 1.0 - config.swapped_birth_date_share - config.wrong_birth_date_share:
        year += 1 if rng.random() < 0.5 else -1
    return f"{day:02d}/{month:02d}/{year}"
