"""What is known of who each customer is: one row a user id, from the newest of what events say."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from typing import Any

import duckdb
import msgspec

from pipelines.events.opening import event_store
from pipelines.identity.names import Name, read_name
from pipelines.identity.normalise import normalise
from pipelines.privacy import Sealer, is_sealed, sealer_of
from pipelines.settings import Settings
from pipelines.settings.identity import USER_ID

# (kind of identifier or name of property, the value as it is stored) -> the plain value.
Opened = Callable[[str, str], str]

PROFILE_EVENTS = ("Customer Registered", "Customer Identified", "Loyalty Member Enrolled")
_NAMES = ("name", "name_th", "name_en")
_BIRTH_DATES = ("birth_date", "birthday", "date_of_birth")
_POSTCODES = ("postcode", "postal_code", "postalCode")
# Buddhist years are 543 ahead; nobody alive was born in a Christian year beyond this.
_BUDDHIST_FROM, _BUDDHIST_AHEAD = 2400, 543
_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ].*)?|(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})")


@dataclass(frozen=True, slots=True)
class Profile:
    """Who a customer is. Lists are without repetition, the newest first; None where nothing is known.

    `emails` and `phones` are normalised, values that name nobody or are shared by many left out.
    """

    customer_id: str
    names: tuple[Name, ...] = ()
    emails: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    birth_date: date | None = None
    province: str | None = None
    postcode: str | None = None


@dataclass(slots=True)
class _Seen:
    """All values of one customer in the order they are met, the newest first."""

    names: dict[Name, None] = field(default_factory=dict)
    emails: dict[str, None] = field(default_factory=dict)
    phones: dict[str, None] = field(default_factory=dict)
    birth_dates: dict[date, None] = field(default_factory=dict)
    provinces: dict[str, None] = field(default_factory=dict)
    postcodes: dict[str, None] = field(default_factory=dict)

    def profile(self, customer: str) -> Profile:
        return Profile(
            customer,
            tuple(self.names),
            tuple(self.emails),
            tuple(self.phones),
            next(iter(self.birth_dates), None),
            next(iter(self.provinces), None),
            next(iter(self.postcodes), None),
        )


def opened_of(settings: Settings) -> Opened:
    """Reads personal values of a workspace; the key is asked for at the first that is sealed.

    What it gives raises EncryptionKeyMissing, and UserError where a value was sealed with another key.
    """

    @cache
    def sealer() -> Sealer:
        return sealer_of(settings.workspace)

    def opened(kind: str, value: str) -> str:
        return str(sealer().open_json(kind, value)) if is_sealed(value) else value

    return opened


def read_profiles(settings: Settings, opened: Opened | None = None) -> list[Profile]:
    """The profiles of all user ids of the workspace of which anything is known, by user id.

    Each user id stands for itself, whatever it has been linked with: how one person's records differ is
    learned from those that are linked as well, and a pair stays the same pair over every link and its undoing.

    `opened` gives the plain text of personal values, in place of the workspace's key.

    Raises:
        JournalUnavailable: the journal cannot be read.
        EncryptionKeyMissing: there are personal values, and there is no key.
    """
    opened = opened or opened_of(settings)
    with event_store(settings) as store:
        snapshot = store.snapshot()
    seen: dict[str, _Seen] = {}
    with duckdb.connect() as connection:
        snapshot.register(connection, "events")
        for customer, identifiers, event, properties in _values(connection):
            if normalise(settings.identity.kinds[USER_ID], customer, settings.identity.blocked) is None:
                continue
            mine = seen.setdefault(customer, _Seen())
            _take_identifiers(settings, mine, _object(identifiers), opened)
            if event in PROFILE_EVENTS:
                _take_traits(mine, _object(properties), opened)
    return _without_shared(settings, [seen[customer].profile(customer) for customer in sorted(seen)])


def _without_shared(settings: Settings, profiles: list[Profile]) -> list[Profile]:
    """The profiles without mailboxes and numbers of more user ids than the configuration lets one person have."""
    emails = Counter(email for profile in profiles for email in profile.emails)
    phones = Counter(phone for profile in profiles for phone in profile.phones)
    most = {kind.normalise: kind.shared_beyond for kind in reversed(settings.identity.kinds.values())}
    return [
        replace(
            profile,
            emails=tuple(email for email in profile.emails if emails[email] <= most["email"]),
            phones=tuple(phone for phone in profile.phones if phones[phone] <= most["phone"]),
        )
        for profile in profiles
    ]


def _values(connection: duckdb.DuckDBPyConnection) -> Iterable[tuple[str, str, str, str | None]]:
    """What the view `events` says of user ids: (user id, identifiers, event, properties), the newest first.

    Identifiers and properties are JSON objects. Each combination comes once a user id; events that do not
    tell who somebody is come with their identifiers alone.
    """
    told = ", ".join(f"'{event}'" for event in PROFILE_EVENTS)
    query = f"""
        SELECT user_id, identifiers, event_name, told FROM (
            SELECT user_id, identifiers, CASE WHEN event IN ({told}) THEN event ELSE '' END AS event_name,
                   CASE WHEN event IN ({told}) THEN properties END AS told,
                   max(event_time) AS newest, max(position) AS last_position
            FROM events
            WHERE user_id IS NOT NULL AND (identifiers <> '{{}}' OR event IN ({told}))
            GROUP BY ALL)
        ORDER BY user_id, newest DESC, last_position DESC, identifiers, told"""
    result = connection.execute(query)
    while rows := result.fetchmany(10_000):
        yield from rows


def _object(text: str | None) -> dict[str, Any]:
    found = msgspec.json.decode(text) if text else {}
    return found if isinstance(found, dict) else {}


def _take_identifiers(settings: Settings, seen: _Seen, identifiers: dict[str, Any], opened: Opened) -> None:
    for name, kind in settings.identity.kinds.items():
        known = {"email": seen.emails, "phone": seen.phones}.get(kind.normalise)
        value = identifiers.get(name)
        if known is not None and isinstance(value, str):
            written = normalise(kind, opened(name, value), settings.identity.blocked)
            if written is not None:
                known.setdefault(written)


def _take_traits(seen: _Seen, traits: dict[str, Any], opened: Opened) -> None:
    def plain(name: str) -> str | None:
        value = traits.get(name)
        text = opened(name, value).strip() if isinstance(value, str) else ""
        return unicodedata.normalize("NFC", text) or None

    whole = [plain(name) for name in _NAMES]
    for first, last in (("first_name", "last_name"), ("firstName", "lastName")):
        whole.append(" ".join(filter(None, (plain(first), plain(last)))) or None)
    for text in whole:
        name = read_name(text) if text else None
        if name is not None:
            seen.names.setdefault(name)
    for key in _BIRTH_DATES:
        born = read_date(plain(key) or "")
        if born is not None:
            seen.birth_dates.setdefault(born)
    for known, keys in ((seen.provinces, ("province",)), (seen.postcodes, _POSTCODES)):
        for value in filter(None, map(plain, keys)):
            known.setdefault(value)


def read_date(text: str) -> date | None:
    """A calendar day written year first, or day first as in Thailand; years of the Buddhist era become
    Christian ones. None where it is no day."""
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day = (found[1], found[2], found[3]) if found[1] else (found[6], found[5], found[4])
    christian = int(year) - _BUDDHIST_AHEAD if int(year) >= _BUDDHIST_FROM else int(year)
    try:
        return date(christian, int(month), int(day))
    except ValueError:
        return None
