"""Sealed values: what opens them, what does not, and which key a workspace takes."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feature_repo.configuration import ConfigurationError
from pipelines.console import UserError
from pipelines.events.journal import NewEvent
from pipelines.privacy import (
    ENVIRONMENT_KEY,
    EncryptionKeyMissing,
    Sealer,
    carries_personal,
    is_sealed,
    make_demo_key,
    new_key,
    open_event,
    seal_event,
    sealer_of,
)
from pipelines.settings import Workspace, load_settings

IDENTITY = load_settings().identity
SEALER, OTHER = Sealer(bytes(range(32))), Sealer(bytes(range(1, 33)))

kinds = st.sampled_from(["email", "phone", "json:email", ""]) | st.text(max_size=5)
values = st.text(alphabet=st.characters(), max_size=40) | st.sampled_from(["enc:1:" + "A" * 30, "enc:1:", "สมชาย"])


@given(kinds, values)
@example("email", SEALER.seal("phone", "+66812345678"))
def test_a_token_opens_to_its_value_and_tells_nothing_else(kind: str, value: str) -> None:
    token = SEALER.seal(kind, value)
    assert is_sealed(token)
    assert SEALER.open(kind, token) == value
    assert SEALER.seal(kind, value) == token, "equal values have equal tokens"
    assert SEALER.seal(kind, token) == token, "a token is sealed already"
    for sealer, other_kind in ((OTHER, kind), (SEALER, kind + "x")):
        assert sealer.seal(other_kind, value) != token
        with pytest.raises(UserError, match="cannot be opened"):
            sealer.open(other_kind, token)


@given(st.integers(0, 200), st.sampled_from("ABab01-_"))
def test_a_token_that_was_changed_does_not_open(place: int, letter: str) -> None:
    token = SEALER.seal("email", "somchai@example.com")
    place = len("enc:1:") + place % (len(token) - len("enc:1:") - 1)
    assert "somchai" not in token
    damaged = token[:place] + letter + token[place + 1 :]
    if damaged != token:
        with pytest.raises(UserError):
            SEALER.open("email", damaged)
    with pytest.raises(UserError):
        SEALER.open("email", token[:-4])


def test_a_lookup_is_equal_for_equals_only_and_needs_the_key() -> None:
    found = SEALER.lookup("email", "somchai@example.com")
    assert len(found) == 32
    assert found == SEALER.lookup("email", "somchai@example.com")
    others = {OTHER.lookup("email", "somchai@example.com"), SEALER.lookup("phone", "somchai@example.com")}
    assert len({found, SEALER.lookup("email", "somchay@example.com"), *others}) == 4


names = st.sampled_from(["email", "name", "firstName", "ip", "lineId", "total", "library", "externalIds", "type", "id"])
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.just("enc:1:" + "A" * 22),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
external = st.lists(
    st.fixed_dictionaries({"id": json_values, "type": st.sampled_from(["email", "device_id", "phone"]) | json_values})
)
properties = st.dictionaries(names, json_values, max_size=5) | st.fixed_dictionaries(
    {
        "$call": st.fixed_dictionaries(
            {"context": st.fixed_dictionaries({"traits": json_values, "externalIds": external})}
        )
    }
)
identifiers = st.dictionaries(st.sampled_from(list(IDENTITY.kinds)), json_values, max_size=4)


def event(identifiers: dict[str, Any], properties: dict[str, Any], name: str = "Customer Identified") -> NewEvent:
    return NewEvent("web", "m-1", name, 1, 1, "web", user_id="C1", identifiers=identifiers, properties=properties)


@settings(max_examples=300)
@given(identifiers, properties)
def test_an_opened_event_is_the_event(identifiers: dict[str, Any], properties: dict[str, Any]) -> None:
    raw = event(identifiers, properties)
    sealed = seal_event(raw, IDENTITY, SEALER)
    assert open_event(sealed, IDENTITY, SEALER) == raw
    assert seal_event(sealed, IDENTITY, SEALER) == sealed
    assert (sealed == raw) == (not carries_personal(raw, IDENTITY))


def test_what_names_a_person_is_sealed_wherever_it_stands() -> None:
    context = {
        "ip": "203.0.113.9",
        "library": {"name": "analytics.js"},
        "traits": {"address": {"street": "Sukhumvit 21"}, "loyaltyCard": 7012345},
        "externalIds": [{"id": "U123", "type": "line_id"}, {"id": "d-9", "type": "device_id"}],
    }
    raw = event(
        {"email": "somchai@example.com", "device_id": "d-9"},
        {"people": [{"name": "Somchai Jaidee"}], "plan": "gold", "$call": {"context": context}},
    )
    sealed = str(seal_event(raw, IDENTITY, SEALER))
    for personal in ("203.0.113.9", "Sukhumvit", "7012345", "U123", "somchai", "Jaidee"):
        assert personal not in sealed
    for kept in ("analytics.js", "d-9", "gold", "C1"):
        assert kept in sealed


def test_another_key_opens_no_event() -> None:
    sealed = seal_event(event({"email": "a@b.example"}, {}), IDENTITY, SEALER)
    with pytest.raises(UserError, match="cannot be opened"):
        open_event(sealed, IDENTITY, OTHER)


def test_a_workspace_keeps_to_the_key_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, first, second = Workspace("a", tmp_path), new_key(), new_key()
    monkeypatch.setenv(ENVIRONMENT_KEY, first)
    token = sealer_of(place).seal("email", "a@b.example")
    assert sealer_of(place).open("email", token) == "a@b.example"
    monkeypatch.setenv(ENVIRONMENT_KEY, second)
    with pytest.raises(UserError, match="another key") as refused:
        sealer_of(place)
    assert first not in str(refused.value)
    assert second not in str(refused.value)
    assert sealer_of(Workspace("b", tmp_path)).seal("email", "a@b.example") != token
    monkeypatch.delenv(ENVIRONMENT_KEY)
    place.demo_key.write_text(first)
    assert sealer_of(place).open("email", token) == "a@b.example"
    assert [file.name for file in place.root.iterdir() if "encryption" in file.name] == ["encryption.id"]


def test_no_key_and_a_bad_key_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Workspace("a", tmp_path)
    monkeypatch.delenv(ENVIRONMENT_KEY, raising=False)
    with pytest.raises(EncryptionKeyMissing, match="twin keys encryption"):
        sealer_of(place)
    short = base64.b64encode(os.urandom(16)).decode()
    for bad, got in ((short, "16 bytes"), ("not base64!", "not base64"), ("ä" * 50, "not base64")):
        monkeypatch.setenv(ENVIRONMENT_KEY, bad)
        with pytest.raises(ConfigurationError, match=got) as refused:
            sealer_of(place)
        assert bad not in str(refused.value)
    assert not place.root.exists()


def test_the_demo_makes_a_key_only_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Workspace("demo", tmp_path)
    assert not make_demo_key(place), "the environment has one"
    assert not place.root.exists()
    monkeypatch.delenv(ENVIRONMENT_KEY)
    assert make_demo_key(place)
    assert place.demo_key.stat().st_mode & 0o777 == 0o600
    token = sealer_of(place).seal("email", "a@b.example")
    assert not make_demo_key(place), "a second demo keeps it"
    assert sealer_of(place).open("email", token) == "a@b.example"


def test_of_many_processes_that_begin_at_once_with_their_own_keys_one_wins(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pipelines.privacy import sealer_of; "
        "from pipelines.settings import Workspace; sealer_of(Workspace('a', Path(sys.argv[1])))"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            env={**os.environ, ENVIRONMENT_KEY: new_key()},
            stderr=subprocess.DEVNULL,
        )
        for _ in range(3)
    ]
    assert sorted(run.wait() for run in runs) == [0, 1, 1]
