"""The old loyalty register of the made-up retailer: who is in it, and that only the truth tells."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.demo import DemoConfig, generate
from pipelines.demo.config import RegisterConfig
from pipelines.identity.normalise import normalise
from pipelines.identity.profiles import read_date
from pipelines.settings.identity import IdentifierKind

PHONE = IdentifierKind(normalise="phone")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(DemoConfig(customers=1000, months=2, seed=5), tmp_path_factory.mktemp("demo")).folder


@pytest.fixture(scope="module")
def members(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "register.csv").open(encoding="utf-8", newline="") as file:
        return {row["member_no"]: row for row in csv.DictReader(file, delimiter=";")}


@pytest.fixture(scope="module")
def customers(folder: Path) -> dict[str, dict[str, str]]:
    return {row["customer_no"]: row for row in pq.read_table(folder / "crm.parquet").to_pylist()}


@pytest.fixture(scope="module")
def truth(folder: Path) -> list[dict[str, str | None]]:
    return pq.read_table(folder / "truth" / "matches.parquet").to_pylist()


def _phone(row: dict[str, str]) -> str | None:
    return normalise(PHONE, row["phone"], [])


def test_every_member_has_a_truth_in_the_shares_that_were_asked_for(
    members: dict[str, dict[str, str]], customers: dict[str, dict[str, str]], truth: list[dict[str, str | None]]
) -> None:
    assert [row["member_id"] for row in truth] == list(members)
    relations = Counter(row["relation"] for row in truth)
    assert relations == {"same": 225, "family": 11, "twin": 4, "namesake": 30, "stranger": 105}
    named = [row["customer_id"] for row in truth if row["customer_id"] is not None]
    assert len(named) == len(set(named)) == 225
    assert set(named) <= set(customers)
    assert all((row["customer_id"] is None) == (row["relation"] != "same") for row in truth)


def test_most_true_pairs_share_no_identifier_and_a_part_lacks_each_field(
    members: dict[str, dict[str, str]], customers: dict[str, dict[str, str]], truth: list[dict[str, str | None]]
) -> None:
    pairs = [
        (members[str(row["member_id"])], customers[str(row["customer_id"])]) for row in truth if row["customer_id"]
    ]
    shared = sum(
        _phone(member) == _phone(customer) or member["email"] == customer["email"] for member, customer in pairs
    )
    assert 0 < shared < 0.15 * len(pairs)
    born = Counter(str(read_date(member["birth_date"])) == customer["birth_date"] for member, customer in pairs)
    assert 0.6 < born[True] / len(pairs) < 0.85
    for field in ("phone", "email", "birth_date", "postcode"):
        missing = sum(not member[field] for member, _ in pairs)
        assert 0.03 * len(pairs) < missing < 0.6 * len(pairs), field


def test_families_share_the_phone_and_twins_the_birth_date(
    members: dict[str, dict[str, str]], customers: dict[str, dict[str, str]], truth: list[dict[str, str | None]]
) -> None:
    near = [row for row in truth if row["relation"] in ("family", "twin")]
    pairs = [(members[str(row["member_id"])], customers[str(row["related_to"])], row["relation"]) for row in near]
    assert all(_phone(member) in (None, _phone(customer)) for member, customer, _ in pairs)
    assert sum(_phone(member) is not None for member, _, _ in pairs) > 5
    families = [(member, customer) for member, customer, relation in pairs if relation == "family"]
    assert all(str(read_date(member["birth_date"])) != customer["birth_date"] for member, customer in families)


def test_shares_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="customer_share and other_share"):
        RegisterConfig(customer_share=0.7, other_share=0.4)
    with pytest.raises(ValueError, match="at most together"):
        RegisterConfig(family_share=0.5, namesake_share=0.6)
