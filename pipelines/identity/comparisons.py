"""What is compared of two customers, in levels, and what each level says in words.

Every comparison is written once: its levels become Splink's, and its words the evidence of a pair. Words
hold no value of a customer, so evidence may be stored and logged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.identity.names import Name, skeleton
from pipelines.identity.profiles import Profile

if TYPE_CHECKING:
    from splink import SettingsCreator

# Above this similarity (Jaro-Winkler over skeletons) two words of names are alike.
_SOUNDS_ALIKE = 0.88


@dataclass(frozen=True, slots=True)
class Level:
    """A degree of agreement: a condition in SQL over the columns of `records`, with _l and _r, and its words.

    `strong` agreement can, with more, prove that two customers are one person; what is not strong is
    common among people of one name.
    """

    condition: str
    words: str
    strong: bool = False
    agrees: bool = True
    known: bool = True


@dataclass(frozen=True, slots=True)
class Comparison:
    """Levels from the closest agreement on; a pair that reaches none disagrees. `missing` is when there is
    nothing to compare."""

    name: str
    missing: str
    levels: tuple[Level, ...]
    otherwise: str

    def words(self, gamma: int) -> Level:
        """What Splink's number of a level stands for: -1 nothing to compare, 0 disagreement, then upwards."""
        if gamma < 0:
            return Level("", "not known of both", agrees=False, known=False)
        return Level("", self.otherwise, agrees=False) if gamma == 0 else self.levels[len(self.levels) - gamma]


def _name(part: str, called: str) -> Comparison:
    # Each word stands in two skeletons: of what is written in Thai, and of what is in Latin letters, either
    # standing in for the other where it is missing.
    keys = [(f"{part}_key_{left}_l", f"{part}_key_{right}_r") for left in ("th", "en") for right in ("th", "en")]
    same = " OR ".join(f"{left} = {right}" for left, right in keys)
    most = ", ".join(f"jaro_winkler_similarity({left}, {right})" for left, right in keys)
    return Comparison(
        name=f"{part}_name",
        missing=f"{part}_key_th_l IS NULL OR {part}_key_th_r IS NULL",
        levels=(
            Level(f"{part}_th_l = {part}_th_r OR {part}_en_l = {part}_en_r", f"{called} written the same"),
            Level(same, f"{called} sounds the same"),
            Level(f"greatest({most}) >= {_SOUNDS_ALIKE}", f"{called} sounds alike"),
        ),
        otherwise=f"{called} differs",
    )


def _either_missing(column: str) -> str:
    return f"{column}_l IS NULL OR {column}_r IS NULL"


_SLIP = "damerau_levenshtein({0}_l, {0}_r) <= 1"

COMPARISONS = (
    _name("given", "given name"),
    _name("family", "family name"),
    Comparison(
        "phone",
        _either_missing("phone"),
        (
            Level("list_has_any(phones_l, phones_r)", "same phone", strong=True),
            Level(_SLIP.format("phone"), "phone but for one digit", strong=True),
        ),
        "another phone",
    ),
    Comparison(
        "email",
        _either_missing("email_local"),
        (
            # One level: people who are not the same share an address so seldom that random pairs hold none.
            Level(
                "email_local_l = email_local_r OR list_has_any(emails_l, emails_r)",
                "same e-mail, at whichever provider",
                strong=True,
            ),
            # Addresses are made of names, so this is no more than a name that is alike.
            Level(_SLIP.format("email_local"), "e-mail but for one letter"),
        ),
        "another e-mail",
    ),
    Comparison(
        "birth_date",
        _either_missing("birth_date"),
        (
            Level("birth_date_l = birth_date_r", "same birth date", strong=True),
            Level("birth_key_l = birth_key_r", "birth date with day and month exchanged", strong=True),
            Level(_SLIP.format("birth_date"), "birth date but for one digit"),
        ),
        "another birth date",
    ),
    Comparison(
        "place",
        f"({_either_missing('postcode')}) AND ({_either_missing('province')})",
        (
            Level("postcode_l = postcode_r", "same postcode"),
            Level("province_l = province_r", "same province"),
        ),
        "another province",
    ),
)
BY_NAME: Mapping[str, Comparison] = {comparison.name: comparison for comparison in COMPARISONS}

# Only pairs that have one of these in common are looked at.
BLOCKING = (
    ("given_key_th", "family_key_th"),
    ("given_key_en", "family_key_en"),
    ("birth_key", "given_first"),
    ("birth_key", "family_first"),
    ("phone_tail",),
    ("phone_head", "given_key_th"),
    ("phone_head", "given_key_en"),
    ("email_local",),
)
# Each trains what it does not hold fixed itself.
TRAINING = (("birth_date",), ("given_key_th", "family_key_th"), ("given_key_en", "family_key_en"))
# Pairs that are one person but for few: how many there are tells how common a match is.
CERTAIN = (
    ("birth_date", "given_key_th", "family_key_th"),
    ("birth_date", "given_key_en", "family_key_en"),
    ("email_local", "birth_date"),
    ("phone_tail", "phone_head", "given_key_en"),
)
# The share of all matches that these are thought to be; the result hardly moves with it.
CERTAIN_SHARE = 0.6


def records(profiles: Iterable[Profile]) -> pa.Table:
    """What is compared, one row a customer, in the order given; null where nothing is known.

    Columns (text, or a list of it): customer_id; given_th, given_en, family_th, family_en: the newest name
    in each script; {given,family}_key_{th,en}: their skeletons; {given,family}_first: how those begin;
    phone, phone_head, phone_tail, phones; email_local, emails; birth_date; birth_key: the same if day and
    month are exchanged; province, postcode.
    """
    return pa.Table.from_pylist([_record(profile) for profile in profiles], schema=_SCHEMA)


_TEXTS = (
    "customer_id", "given_th", "given_en", "family_th", "family_en", "given_key_th", "given_key_en", "family_key_th",
    "family_key_en", "given_first", "family_first", "phone", "phone_head", "phone_tail", "email_local", "birth_date",
    "birth_key", "province", "postcode",
)  # fmt: skip
_LISTS = ("phones", "emails")
_SCHEMA = pa.schema(
    [pa.field(name, pa.string()) for name in _TEXTS] + [pa.field(name, pa.list_(pa.string())) for name in _LISTS]
)


def _record(profile: Profile) -> dict[str, str | list[str] | None]:
    phone = next(iter(profile.phones), None)
    email = next(iter(profile.emails), None)
    born = profile.birth_date
    return {
        "customer_id": profile.customer_id,
        **_name_columns(profile.names),
        "phone": phone,
        "phone_head": phone[:-4] if phone else None,
        "phone_tail": phone[-4:] if phone else None,
        "email_local": email.split("@")[0] if email else None,
        "birth_date": born.isoformat() if born else None,
        "birth_key": f"{born.year}-{min(born.month, born.day)}-{max(born.month, born.day)}" if born else None,
        "province": profile.province,
        "postcode": profile.postcode,
        "phones": list(profile.phones),
        "emails": list(profile.emails),
    }


def _name_columns(names: tuple[Name, ...]) -> dict[str, str | list[str] | None]:
    thai = next((name for name in names if name.thai), None)
    latin = next((name for name in names if not name.thai), None)
    columns: dict[str, str | list[str] | None] = {}
    for part in ("given", "family"):
        words = [(getattr(name, part) or None) if name else None for name in (thai, latin)]
        keys = [skeleton(word) if word else None for word in words]
        columns |= {f"{part}_th": words[0], f"{part}_en": words[1]}
        columns |= {f"{part}_key_th": keys[0] or keys[1], f"{part}_key_en": keys[1] or keys[0]}
        columns[f"{part}_first"] = (keys[0] or keys[1] or "")[:1] or None
    return columns


def splink_settings() -> SettingsCreator:
    """The comparisons and blocking rules as Splink takes them."""
    from splink import SettingsCreator, block_on

    return SettingsCreator(
        link_type="dedupe_only",
        unique_id_column_name="customer_id",
        comparisons=[_as_splink(comparison) for comparison in COMPARISONS],
        blocking_rules_to_generate_predictions=[block_on(*rule) for rule in BLOCKING],
        retain_intermediate_calculation_columns=True,
        max_iterations=50,
    )


def _as_splink(comparison: Comparison) -> dict[str, object]:
    missing = {"sql_condition": comparison.missing, "label_for_charts": "missing", "is_null_level": True}
    levels = [{"sql_condition": level.condition, "label_for_charts": level.words} for level in comparison.levels]
    otherwise = {"sql_condition": "ELSE", "label_for_charts": comparison.otherwise}
    return {"output_column_name": comparison.name, "comparison_levels": [missing, *levels, otherwise]}
